"""Sums of per-example gradients, each clipped to a norm.

Norms and sums come from one forward and one backward pass (book-keeping, see :mod:`per_example`). Which rows
are in a step, the noise, the divisor, and what happens to an example whose gradient is not finite are not
decided by the engine.

Source: Abadi et al. (2016), arXiv:1607.00133 (DP-SGD).
"""

import torch
from torch import nn

from auditkit.privacy.per_example.book_keeping import Recorder, losses_of, squared_norms

# The norm comes from another formula than the gradient it bounds. Both are single precision; this keeps the
# clipped gradient within the norm despite their rounding.
ROUNDING_SLACK = 1e-5


class ClippedGradients:
    """Clipped gradient sums of one module; use as a context manager.

    Args:
        module: In training mode. Only parameters with ``requires_grad`` take part.
        max_grad_norm: The norm C that no example's contribution exceeds.
        physical_batch_size: Rows worked on at once; does not change the sum beyond rounding.
    """

    def __init__(self, module: nn.Module, max_grad_norm: float, *, physical_batch_size: int = 512) -> None:
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._max_grad_norm = max_grad_norm
        self._physical_batch_size = physical_batch_size
        self._recorder = Recorder(module)

    def __enter__(self) -> "ClippedGradients":
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.calls.clear()

    def clipped_sum(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
        """Sum over rows of gradients scaled to norm at most C; zeros for no rows.

        A row whose loss or gradient is not finite contributes zero. That decision depends on the row alone,
        so one row still moves the sum by no more than C.

        Returns:
            One tensor per trainable parameter, in the order of ``parameters``.

        Raises:
            UnsuitableLayerError: A layer is called in a way that does not tell rows apart.
        """
        total = [torch.zeros_like(parameter) for parameter in self.parameters]
        for start in range(0, len(inputs), self._physical_batch_size):
            rows = slice(start, start + self._physical_batch_size)
            self._add(total, inputs[rows], targets[rows])
        return total

    def norms(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The gradient norm of each row, shape ``(n,)``, before clipping. Private: never to be released."""
        with self._recorder.recording() as recorder:
            losses = losses_of(recorder.module, inputs, targets)
            parts = recorder.parts(losses)
            with torch.no_grad():
                return squared_norms(list(parts.values()), len(inputs), losses).sqrt()

    def _add(self, total: list[torch.Tensor], inputs: torch.Tensor, targets: torch.Tensor) -> None:
        while len(inputs):
            with self._recorder.recording() as recorder:
                losses = losses_of(recorder.module, inputs, targets)
                parts = recorder.parts(losses)
                with torch.no_grad():
                    norms = squared_norms(list(parts.values()), len(inputs), losses).sqrt()
                    finite = torch.isfinite(norms) & torch.isfinite(losses)
                    if bool(finite.all()):
                        weights = self._coefficients(norms)
                        for kept, parameter in zip(total, self.parameters, strict=True):
                            if parameter in parts:
                                kept.add_(parts[parameter].weighted_sum(weights))
                        return
            # Weights of zero would not do: zero times infinity poisons the sum.
            inputs, targets = inputs[finite], targets[finite]

    def _coefficients(self, norms: torch.Tensor) -> torch.Tensor:
        bound = self._max_grad_norm * (1 - ROUNDING_SLACK)
        return (bound / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(max=1.0)
