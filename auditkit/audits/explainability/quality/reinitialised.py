"""A model whose weights are drawn anew, all of them or those nearest to the output.

Source: Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv:1810.03292.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from auditkit.randomness import global_generators_seeded
from auditkit.subjects.subject import WhiteBox

BLOCKS = 6
"""Most steps of the cascade: layers of deep models are drawn anew several at a time."""


@contextmanager
def reinitialised(subject: WhiteBox, layers: Sequence[nn.Module], seed: int) -> Iterator[None]:
    """Within the block the weights of ``layers`` are as before any training; then they are put back.

    A layer draws its weights as its class does; weights that belong to no such layer get normal ones with
    their mean and spread.

    Args:
        subject: Changed within the block only, also when it raises.
        layers: Those that hold parameters themselves, of :func:`parametrised`.
        seed: Of the draw.
    """
    tensors = [*subject.module.parameters(), *subject.module.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad(), global_generators_seeded(seed):
            for layer in layers:
                _draw(layer)
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


def parametrised(module: nn.Module) -> list[nn.Module]:
    """Layers with parameters of their own, in the order of their definition."""
    return [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]


def cascade(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """From the last layers alone to all of them, in at most :data:`BLOCKS` steps."""
    n_steps = min(BLOCKS, len(layers))
    ends = [round(len(layers) * step / n_steps) for step in range(1, n_steps + 1)]
    return [list(layers[len(layers) - end :]) for end in ends]


def _draw(layer: nn.Module) -> None:
    own = list(layer.parameters(recurse=False))
    before = [parameter.detach().clone() for parameter in own]
    reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
    if callable(reset):
        reset()
    for parameter, value in zip(own, before, strict=True):
        if parameter.is_floating_point() and not callable(reset):
            parameter.copy_(_like(value))


def _like(values: Tensor) -> Tensor:
    spread = float(values.std(correction=0)) if values.numel() else 0.0
    mean = float(values.mean()) if values.numel() else 0.0
    return torch.normal(mean, spread, values.shape).to(values)
