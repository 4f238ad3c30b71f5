"""From inputs by one preprocessing to inputs by another of the same columns, without the rows behind them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
)
from auditkit.data.told_levels import is_told
from auditkit.errors import DataError

Affine = tuple[float, float]
"""Mean and scale."""

_AS_IT_IS: Affine = (0.0, 1.0)

_NOTHING: Affine = (0.0, 0.0)
"""Whatever stands there becomes 0."""


@dataclass(frozen=True, slots=True)
class Recoding:
    """Every column taken back to its own unit and standardised anew, in double precision; differentiable.

    Of inputs that are in their own unit (mean 0, scale 1) the result is what encoding the rows would give, to
    the last bit.

    Attributes:
        order: For each column of the result the column that it is made of; ``None`` keeps all in their place.
        before: Means and scales that are undone, shape ``(2, d)``, or ``(2, 1)`` for all.
        after: Means and scales that are applied, likewise.
        filled: Columns of the result whose missing values are known by the indicator column behind them.
        fill: What stands in for those, in the result, shape ``(len(filled),)``.
    """

    order: Tensor | None
    before: Tensor
    after: Tensor
    filled: Tensor
    fill: Tensor

    @classmethod
    def between(cls, before: Preprocessing, after: Preprocessing) -> "Recoding":
        """From inputs by ``before`` to inputs by ``after``.

        A missing value of a column without an indicator is known no more; it is taken for what ``before``
        had put in its place.

        Raises:
            DataError: They are not of the same columns.
        """
        if isinstance(before, TablePreprocessing) and isinstance(after, TablePreprocessing):
            return _of_tables(before, after)
        if isinstance(before, ImagePreprocessing) and isinstance(after, ImagePreprocessing):
            return _of([(None, (before.mean, before.scale), (after.mean, after.scale))], {})
        if before == after:
            return _of([(None, _AS_IT_IS, _AS_IT_IS)], {})
        raise DataError(f"inputs of kind {before.kind!r} cannot be read as {after.kind!r}")

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs by the other preprocessing, in single precision, shape as before."""
        before, after, filled, fill = (
            tensor.to(inputs.device) for tensor in (self.before, self.after, self.filled, self.fill)
        )
        chosen = inputs if self.order is None else inputs.index_select(1, self.order.to(inputs.device))
        result = (chosen.double() * before[1] + before[0] - after[0]) / after[1]
        if len(filled):
            missing = result.index_select(1, filled + 1) > 0
            values = torch.where(missing, fill, result.index_select(1, filled))
            result = result.index_copy(1, filled, values)
        return result.float()


_Column = tuple[int | None, Affine, Affine]
"""The column that it is made of, what is undone and what is applied."""


def _of(columns: list[_Column], fills: dict[int, float]) -> Recoding:
    sources = [source for source, _, _ in columns if source is not None]
    return Recoding(
        torch.tensor(sources) if sources else None,
        torch.tensor([before for _, before, _ in columns], dtype=torch.float64).T,
        torch.tensor([after for _, _, after in columns], dtype=torch.float64).T,
        torch.tensor(list(fills), dtype=torch.int64),
        torch.tensor(list(fills.values()), dtype=torch.float64),
    )


def _of_tables(before: TablePreprocessing, after: TablePreprocessing) -> Recoding:
    if len(before.features) != len(after.features):
        raise DataError(
            f"inputs of {len(before.features)} columns cannot be read as those of {len(after.features)}"
        )
    columns: list[_Column] = []
    fills: dict[int, float] = {}
    for there, here in zip(before.features, after.features, strict=True):
        start = len(columns)  # features are as wide in both
        if isinstance(there, NumericFeature) and isinstance(here, NumericFeature):
            if there.missing_indicator:
                fills[start] = (here.fill - here.mean) / here.scale
            columns += _of_number(start, there, here)
        elif isinstance(there, CategoricalFeature) and isinstance(here, CategoricalFeature):
            columns += _of_levels(start, there, here)
        else:
            raise DataError(f"column {there.name!r} is {there.kind} and cannot be read as {here.kind}")
    return _of(columns, fills)


def _of_number(start: int, there: NumericFeature, here: NumericFeature) -> list[_Column]:
    if there.name != here.name or there.missing_indicator != here.missing_indicator:
        raise DataError(f"column {there.name!r} cannot be read as {here.name!r}")
    value: _Column = (start, (there.mean, there.scale), (here.mean, here.scale))
    return [value, (start + 1, _AS_IT_IS, _AS_IT_IS)] if there.missing_indicator else [value]


def _of_levels(start: int, there: CategoricalFeature, here: CategoricalFeature) -> list[_Column]:
    told = {level for level in here.levels if is_told(level)}
    if there.name != here.name or len(there.levels) != len(here.levels) or not told <= set(there.levels):
        raise DataError(f"the levels of column {there.name!r} are not those of {here.name!r}")
    return [
        (start + there.levels.index(level), _AS_IT_IS, _AS_IT_IS)
        if level in told
        else (start, _NOTHING, _AS_IT_IS)
        for level in here.levels
    ]
