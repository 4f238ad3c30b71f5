"""Sums of per-unit gradients, each clipped to a norm.

Norms and sums come from one forward and one backward pass (book-keeping, see :mod:`per_example`). Which rows
are in a step, the noise, the divisor, and what happens to a unit whose gradient is not finite are not
decided by the engine.

Sums are accumulated in single precision, as matrix products are. The guarantee is about exact sums: what
rounding adds to the difference that one unit makes is about 1e-7 of the sum, not of the unit.

Source: Abadi et al. (2016), arXiv:1607.00133 (DP-SGD); several rows per unit: De et al. (2022),
arXiv:2204.13650 (augmentations of a row), McMahan et al. (2018), arXiv:1710.06963 (rows of a person).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from auditkit.errors import UsageError
from auditkit.privacy.per_example.book_keeping import Recorder

# The norm comes from another formula than the gradient it bounds. Both are single precision; this keeps the
# clipped gradient within the norm despite their rounding.
ROUNDING_SLACK = 1e-5

Clipping = Literal["flat", "automatic"]
"""Whether short gradients keep their length, or all are brought to about the same.

Automatic: divided by their norm plus a hundredth of the bound (Bu et al. 2023, arXiv:2206.07136, AUTO-S).
"""

STABILITY = 0.01
"""What automatic clipping adds to every norm, as a share of the bound."""

_Rows = tuple[Tensor, Tensor, Tensor | None]
"""Inputs, targets and weights."""


class ClippedSums(Protocol):
    """Anything that adds up what units contribute, each clipped to a norm."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """In whose shapes the sums are."""
        ...

    def add_clipped_sum(
        self,
        total: Sequence[Tensor],
        inputs: Tensor,
        targets: Tensor,
        row_weights: Tensor | None = None,
        *,
        factor: float = 1.0,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """See :meth:`ClippedGradients.add_clipped_sum`."""
        ...


class ClippedGradients:
    """Clipped gradient sums of one module; use as a context manager.

    Args:
        module: In training mode. Only parameters with ``requires_grad`` take part.
        max_grad_norm: The norm C that no unit's contribution exceeds.
        physical_batch_size: Rows worked on at once; does not change the sum beyond rounding.
        rows_per_unit: K rows in sequence are one unit, whose gradient is clipped as a whole: augmented copies
            of a row, or the rows of a person. Inputs then have ``units * K`` rows; a unit with fewer rows is
            filled up with any finite rows of weight 0.
        clipping: How gradients are scaled; no unit exceeds ``max_grad_norm`` either way.

    Attributes:
        rows_at_once: ``physical_batch_size`` in whole units, less where memory ended.
    """

    def __init__(
        self,
        module: nn.Module,
        max_grad_norm: float,
        *,
        physical_batch_size: int = 512,
        rows_per_unit: int = 1,
        clipping: Clipping = "flat",
    ) -> None:
        self.module = module
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.rows_per_unit = rows_per_unit
        self._max_grad_norm = max_grad_norm
        self._clipping = clipping
        self.rows_at_once = max(1, physical_batch_size // rows_per_unit) * rows_per_unit
        self._recorder = Recorder(module, rows_per_unit)

    def __enter__(self) -> "ClippedGradients":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def clipped_sum(self, inputs: Tensor, targets: Tensor, row_weights: Tensor | None = None) -> list[Tensor]:
        """Sum over units of gradients scaled to norm at most C; zeros for no rows.

        A unit whose loss or gradient is not finite contributes zero. That decision depends on the unit alone,
        so one unit still moves the sum by no more than C.

        Args:
            inputs: Rows, those of a unit in sequence.
            targets: Of the rows.
            row_weights: Of the rows, shape ``(rows,)``: a unit's loss is the sum of its rows' losses times
                these. ``None`` takes the mean over the unit's rows.

        Returns:
            One tensor per trainable parameter, in the order of ``parameters``.

        Raises:
            UnsuitableLayerError: A layer is called in a way that does not tell rows apart.
            UsageError: The number of rows is no multiple of ``rows_per_unit``.
        """
        total = [torch.zeros_like(p, memory_format=torch.contiguous_format) for p in self.parameters]
        self.add_clipped_sum(total, inputs, targets, row_weights)
        return total

    def add_clipped_sum(
        self,
        total: Sequence[Tensor],
        inputs: Tensor,
        targets: Tensor,
        row_weights: Tensor | None = None,
        *,
        factor: float = 1.0,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Add ``factor`` times :meth:`clipped_sum` to ``total`` in place.

        Args:
            total: Contiguous tensors in the shapes of ``parameters``, of at least single precision.
            inputs: See :meth:`clipped_sum`.
            targets: See :meth:`clipped_sum`.
            row_weights: See :meth:`clipped_sum`.
            factor: Times which every contribution is taken.
            before: Called once before anything is added, or at the end; ``total`` may not be ready sooner.
        """
        self._expect_units(inputs)
        ready = before
        for start in range(0, len(inputs), self.rows_at_once):
            rows = (inputs, targets, row_weights)
            if len(inputs) > self.rows_at_once:
                rows = _part(rows, slice(start, start + self.rows_at_once))
            if self._add(total, rows, factor, ready):
                ready = _nothing
        ready()

    def norms(self, inputs: Tensor, targets: Tensor, row_weights: Tensor | None = None) -> Tensor:
        """The gradient norm of each unit, shape ``(n,)``, before clipping. Private: never to be released."""
        self._expect_units(inputs)
        gradients = self._recorder.gradients(inputs, targets, row_weights)
        with torch.no_grad():
            return gradients.squared_norms()[0].sqrt()

    def halve(self) -> bool:
        """Work on half as many rows at once from now on; false, and no change, where that is one unit."""
        units = self.rows_at_once // self.rows_per_unit
        self.rows_at_once = max(1, units // 2) * self.rows_per_unit
        return units > 1

    def _expect_units(self, inputs: Tensor) -> None:
        n_rows, per_unit = len(inputs), self.rows_per_unit
        if n_rows % per_unit:
            raise UsageError(f"clipped gradients: {n_rows} rows are no multiple of {per_unit} per unit")

    def _add(self, total: Sequence[Tensor], rows: _Rows, factor: float, ready: Callable[[], object]) -> bool:
        """Whether anything was added, after calling ``ready``."""
        while len(rows[0]):
            gradients = self._recorder.gradients(*rows)
            with torch.no_grad():
                losses, (squared, hidden) = gradients.losses, gradients.squared_norms()
                # In double precision no sum of finite numbers overflows.
                if math.isfinite((squared + losses).sum(dtype=torch.float64)):
                    ready()
                    bounds = squared if hidden is None else squared + hidden
                    gradients.add_to(total, self._coefficients(bounds, factor))
                    return True
                finite = torch.isfinite(squared) & torch.isfinite(losses)
            # Weights of zero would not do: zero times infinity poisons the sum.
            kept = finite.repeat_interleave(self.rows_per_unit)
            rows = _part(rows, kept)
        return False

    def _coefficients(self, squared_norms: Tensor, factor: float) -> Tensor:
        bound = self._max_grad_norm * (1 - ROUNDING_SLACK)
        if self._clipping == "automatic":
            return bound * factor / (squared_norms.sqrt() + STABILITY * self._max_grad_norm)
        tiny = torch.finfo(squared_norms.dtype).tiny
        return squared_norms.clamp(min=tiny).rsqrt_().mul_(bound * factor).clamp_(max=factor)


def _part(rows: _Rows, which: slice | Tensor) -> _Rows:
    inputs, targets, weights = rows
    return inputs[which], targets[which], None if weights is None else weights[which]


def _nothing() -> None:
    """What is left to do where all is ready."""
