"""Sums of per-example gradients, each clipped to a norm. The only place where Opacus' engine is used.

Opacus finds the norm of every example's gradient without forming the gradients (ghost clipping for linear
and embedding layers, per-layer instantiation elsewhere). What it is not trusted with stays ours: which rows
are in a step, the noise, the divisor, and what happens to an example whose gradient is not finite.

Sources: Li et al. (2022), arXiv:2110.05679 (ghost clipping); Abadi et al. (2016), arXiv:1607.00133 (DP-SGD).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from torch import nn

from auditkit.models.losses import per_row_loss

# The norm comes from another formula than the gradient it bounds. Both are single precision; this keeps the
# clipped gradient within the norm despite their rounding.
ROUNDING_SLACK = 1e-5


class ClippedGradients:
    """Clipped gradient sums of one module; use as a context manager, which removes every hook again.

    Args:
        module: In training mode. Only parameters with ``requires_grad`` take part.
        max_grad_norm: The norm C that no example's contribution exceeds.
        physical_batch_size: Rows worked on at once; does not change the sum beyond rounding.

    Raises:
        NotImplementedError: Opacus cannot handle the module (a buffer in a trainable layer).
    """

    def __init__(self, module: nn.Module, max_grad_norm: float, *, physical_batch_size: int = 512) -> None:
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._max_grad_norm = max_grad_norm
        self._physical_batch_size = physical_batch_size
        self._module = module
        self._engine = GradSampleModuleFastGradientClipping(
            module, batch_first=True, loss_reduction="sum", max_grad_norm=max_grad_norm
        )

    def __enter__(self) -> "ClippedGradients":
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.cleanup()
        self._clear()
        for layer in self._module.modules():
            # Opacus leaves its store of layer inputs behind; a pickled model must not carry rows with it.
            for leftover in ("activations", "max_batch_len"):
                layer.__dict__.pop(leftover, None)

    def clipped_sum(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
        """Sum over rows of gradients scaled to norm at most C; zeros for no rows.

        A row whose loss or gradient is not finite contributes zero. That decision depends on the row alone,
        so one row still moves the sum by no more than C.

        Returns:
            One tensor per trainable parameter, in the order of ``parameters``.
        """
        total = [torch.zeros_like(parameter) for parameter in self.parameters]
        for start in range(0, len(inputs), self._physical_batch_size):
            rows = slice(start, start + self._physical_batch_size)
            for part, gradient in zip(total, self._chunk(inputs[rows], targets[rows]), strict=True):
                part.add_(gradient)
        return total

    def norms(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The gradient norm of each row, shape ``(n,)``, before clipping. Private: never to be released."""
        with _known_warnings_silenced():
            torch.autograd.backward(per_row_loss(self._engine(inputs), targets).sum())
        self._clear()
        return self._norms()

    def _chunk(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
        while len(inputs):
            with _known_warnings_silenced():
                loss = per_row_loss(self._engine(inputs), targets)
                torch.autograd.backward(loss.sum(), retain_graph=True)
                norms = self._norms()
                finite = torch.isfinite(norms) & torch.isfinite(loss.detach())
                self._clear()
                if bool(finite.all()):
                    return self._weighted_gradient(loss, self._coefficients(norms))
            # Weights of zero would not do: zero times infinity poisons the sum.
            inputs, targets = inputs[finite], targets[finite]
        return [torch.zeros_like(parameter) for parameter in self.parameters]

    def _weighted_gradient(self, loss: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        self._engine.disable_hooks()
        gradients = torch.autograd.grad((weights * loss).sum(), self.parameters)
        self._engine.enable_hooks()
        return list(gradients)

    def _coefficients(self, norms: torch.Tensor) -> torch.Tensor:
        bound = self._max_grad_norm * (1 - ROUNDING_SLACK)
        return (bound / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)

    def _norms(self) -> torch.Tensor:
        norms: torch.Tensor = self._engine.get_norm_sample()
        return norms.detach()

    def _clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


@contextmanager
def _known_warnings_silenced() -> Iterator[None]:
    """A hook of torch notes that it sees no input gradient on the first layer; it needs none there."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Full backward hook is firing when gradients", category=UserWarning
        )
        yield
