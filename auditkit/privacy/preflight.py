"""What must hold of a module before the first private step; each unmet condition is refused by name.

The guarantee of DP-SGD rests on every row's gradient depending on that row alone. Types are checked where
they are known, and the module itself is tried on random rows where they are not: nothing of the data is
used but the shape and type of a row.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from auditkit.data.dataset import Task, TokenSpace
from auditkit.data.sequences import next_tokens
from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.per_example.book_keeping import UnsuitableLayerError
from auditkit.privacy.per_example.recurrent import why_not
from auditkit.randomness import global_generators_seeded, torch_rng

N_ROWS = 4
GRADIENT_TOLERANCE = 1e-3
MIXING_TOLERANCE = 1e-6
_SEED = 0


def refuse_unsuitable(
    module: nn.Module,
    row: torch.Tensor,
    n_classes: int,
    *,
    tokens: TokenSpace | None = None,
    task: Task = "classification",
) -> None:
    """Refuse ``module`` unless DP-SGD on it keeps its promise.

    Args:
        module: In training mode; left as it was found.
        row: Any tensor with the shape, type and device of one row of inputs; its values are not read.
        n_classes: Number of output classes.
        tokens: What the ids mean where a row is token ids; without it ids are 0 and 1.
        task: With language modelling every token is to be foretold.

    Raises:
        UsageError: Layers that mix rows or that per-example gradients do not exist for, each named with the
            remedy; an output that depends on other rows; a state that a forward pass changes; per-example
            gradients that differ from those of a plain backward pass.
    """
    problems = [f"layer {name!r} ({type(layer).__name__}): {text}" for name, layer, text in _layers(module)]
    if problems:
        raise UsageError("This model cannot be retrained with DP-SGD:\n" + "\n".join(problems))
    inputs, others = (_random_rows(row, tokens, stream) for stream in ("rows", "other rows"))
    targets = torch.arange(N_ROWS, device=row.device) % max(2, n_classes)
    if task == "language-modelling":
        padding = 0 if tokens is None else tokens.padding
        targets = next_tokens(inputs, inputs[:, 0], padding)
    _refuse_mixed_rows(module, inputs, others)
    with _same_dropout(module):
        _refuse_wrong_gradients(module, inputs, targets)


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Layers known to be unsuitable by their type, with what to do instead."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            yield (
                name,
                layer,
                "it normalises each row by the others in its batch. Use GroupNorm or LayerNorm.",
            )
        elif isinstance(layer, nn.Embedding) and layer.max_norm is not None:
            yield name, layer, "max_norm rewrites the weights in each pass. Leave max_norm out."
        elif isinstance(layer, nn.RNNBase):
            reason = why_not(layer)
            if reason is not None:
                yield name, layer, f"{reason}."
        elif any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            validate = ModuleValidator.VALIDATORS.get(type(layer), lambda _: [])
            for found in validate(layer):
                yield name, layer, f"{_remedy(layer)} ({type(found).__name__} of Opacus)"


def _remedy(layer: nn.Module) -> str:
    if isinstance(layer, nn.MultiheadAttention):
        return (
            "its weights are used without a layer of their own, so no per-example gradients are seen. "
            "Build it from nn.Linear parts, as the bert and gpt of auditkit do."
        )
    return "it keeps statistics of the rows it saw. Use track_running_stats=False, GroupNorm or LayerNorm."


def _random_rows(row: torch.Tensor, tokens: TokenSpace | None, stream: str) -> torch.Tensor:
    """Random rows like ``row``; of token ids the last row has padding at its end."""
    rng = torch_rng(_SEED, "preflight", stream)
    shape = (N_ROWS, *row.shape)
    if row.is_floating_point():
        return torch.randn(shape, generator=rng).to(row)
    if tokens is None:
        return torch.randint(0, 2, shape, generator=rng).to(row)
    ids = torch.randint(0, len(tokens.vocabulary), shape, generator=rng)
    ids = torch.where(ids == tokens.padding, (tokens.padding + 1) % len(tokens.vocabulary), ids)
    ids[-1, 1 + shape[1] // 2 :] = tokens.padding
    return ids.to(row)


@contextmanager
def _same_dropout(module: nn.Module) -> Iterator[None]:
    """Recurrent layers without dropout inside: fused and unrolled they draw it in another order."""
    layers = {
        layer: layer.dropout for layer in module.modules() if isinstance(layer, nn.RNNBase) and layer.dropout
    }
    try:
        for layer in layers:
            layer.dropout = 0.0
        yield
    finally:
        for layer, dropout in layers.items():
            layer.dropout = dropout


def _outputs(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Outputs with dropout and other global randomness fixed."""
    with global_generators_seeded(_SEED):
        outputs: torch.Tensor = module(inputs)
    return outputs


def _refuse_mixed_rows(module: nn.Module, inputs: torch.Tensor, others: torch.Tensor) -> None:
    """Change one row and look whether the outputs of the others move, or the state of the module."""
    changed = inputs.clone()
    changed[0] = others[0]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        moved = (_outputs(module, inputs) - _outputs(module, changed))[1:].abs().max()
        scale = _outputs(module, inputs).abs().max()
    state = module.state_dict()
    rewritten = [name for name, tensor in before.items() if not torch.equal(tensor, state[name])]
    module.load_state_dict(before)
    if rewritten:
        raise UsageError(
            "This model cannot be retrained with DP-SGD: a forward pass changes "
            f"{', '.join(map(repr, rewritten))}, which no noise protects. Use layers without running state."
        )
    if not float(moved) <= MIXING_TOLERANCE * max(1.0, float(scale)):
        raise UsageError(
            "This model cannot be retrained with DP-SGD: the output of a row changes when another row of its "
            f"batch does (by {float(moved):.3g}). Remove what computes across the batch dimension."
        )


def _refuse_wrong_gradients(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Compare the per-example gradient norms of the engine with those of plain backward passes."""
    try:
        expected = _plain_norms(module, inputs, targets)
        with ClippedGradients(module, max_grad_norm=1.0) as clipped, global_generators_seeded(_SEED):
            found = clipped.norms(inputs, targets).double()
    except (AttributeError, IndexError, RuntimeError, TypeError, UnsuitableLayerError) as error:
        raise UsageError(
            "This model cannot be retrained with DP-SGD: no per-example gradients for it "
            f"({type(error).__name__}: {error}). Every trainable parameter must belong to a layer that "
            "the forward pass calls with one row per entry of the first dimension, none folded into another."
        ) from error
    if found.shape != expected.shape or not torch.allclose(
        found, expected, rtol=GRADIENT_TOLERANCE, atol=GRADIENT_TOLERANCE
    ):
        raise UsageError(
            "This model cannot be retrained with DP-SGD: its per-example gradients cannot be bounded "
            f"(norms {found.tolist()}, expected {expected.tolist()}). A layer is probably called with rows "
            "folded into another dimension; keep one row per entry of the first dimension."
        )


def _plain_norms(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with global_generators_seeded(_SEED):
        losses = per_row_loss(module(inputs), targets)
    squares = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        squares.append(sum((g.double() ** 2).sum() for g in gradients))
    return torch.stack([torch.as_tensor(square) for square in squares]).sqrt()
