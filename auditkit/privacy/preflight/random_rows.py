"""Rows that a module is tried on: random, with the shape and type of real ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from auditkit.data.dataset import Task, TokenSpace
from auditkit.data.sequences import next_tokens
from auditkit.randomness import global_generators_seeded, torch_rng

N_ROWS = 4
SEED = 0


@dataclass(frozen=True, slots=True)
class RandomRows:
    """``N_ROWS`` rows, what the module should answer, and as many others to put in their place."""

    inputs: Tensor
    targets: Tensor
    others: Tensor

    def changed(self, row: int) -> Tensor:
        """The rows with another in place of ``row``."""
        rows = self.inputs.clone()
        rows[row] = self.others[row]
        return rows


def random_rows(row: Tensor, n_classes: int, tokens: TokenSpace | None, task: Task) -> RandomRows:
    """Rows like ``row``, whose values are not read."""
    inputs, others = (_like(row, tokens, stream) for stream in ("rows", "other rows"))
    targets = torch.arange(N_ROWS, device=row.device) % max(2, n_classes)
    if task == "language-modelling":
        targets = next_tokens(inputs, inputs[:, 0], 0 if tokens is None else tokens.padding)
    return RandomRows(inputs, targets, others)


def _like(row: Tensor, tokens: TokenSpace | None, stream: str) -> Tensor:
    """Random rows like ``row``; of token ids the last row has padding at its end."""
    rng = torch_rng(SEED, "preflight", stream)
    shape = (N_ROWS, *row.shape)
    if row.is_floating_point():
        return torch.randn(shape, generator=rng).to(row)
    if tokens is None:
        return torch.randint(0, 2, shape, generator=rng).to(row)
    ids = torch.randint(0, len(tokens.vocabulary), shape, generator=rng)
    ids = torch.where(ids == tokens.padding, (tokens.padding + 1) % len(tokens.vocabulary), ids)
    ids[-1, 1 + shape[1] // 2 :] = tokens.padding
    return ids.to(row)


def outputs_of(module: nn.Module, inputs: Tensor, seed: int = SEED) -> Tensor:
    """Outputs with dropout and other global randomness fixed."""
    with global_generators_seeded(seed):
        outputs: Tensor = module(inputs)
    return outputs


_DROPOUTS = frozenset(
    getattr(functional, name)
    for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
) | frozenset((torch.dropout, torch.feature_dropout, torch.alpha_dropout))
_INSIDE = frozenset((functional.scaled_dot_product_attention, functional.multi_head_attention_forward))


class _Silence(TorchFunctionMode):
    """Calls every dropout with probability 0."""

    def __torch_function__(
        self, function: Any, _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = dict(options or {})
        if function in _DROPOUTS:
            return arguments[0] if arguments else options["input"]
        if function in _INSIDE and "dropout_p" in options:
            options["dropout_p"] = 0.0
        elif function is functional.multi_head_attention_forward:
            arguments = (*arguments[:10], 0.0, *arguments[11:])
        elif function is functional.scaled_dot_product_attention and len(arguments) > 4:
            arguments = (*arguments[:4], 0.0, *arguments[5:])
        return function(*arguments, **options)


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """No dropout inside: batches of another size, and other paths through a layer, draw it otherwise."""
    layers = {
        layer: layer.dropout for layer in module.modules() if isinstance(layer, nn.RNNBase) and layer.dropout
    }
    try:
        for layer in layers:
            layer.dropout = 0.0
        with _Silence():
            yield
    finally:
        for layer, dropout in layers.items():
            layer.dropout = dropout
