"""What may change in a row, and how far: in the features and units of the reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.audits.explainability.counterfactuals.features import (
    FeatureTable,
    LevelFeature,
    NumberFeature,
)
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.errors import UsageError, closest

Direction = Literal["increasing", "decreasing"]


@dataclass(frozen=True, slots=True)
class Constraints:
    """The user's wishes about features by name.

    Attributes:
        immutable: Never change; each must be an input.
        sensitive: Never change either, where they are inputs.
        monotone: Numbers that only rise, or only fall.
        ranges: Smallest and largest value that a number may be given; default those of the rows.
    """

    immutable: frozenset[str]
    sensitive: frozenset[str]
    monotone: Mapping[str, Direction]
    ranges: Mapping[str, tuple[float, float]]

    def check(self, table: FeatureTable) -> None:
        """Refuse constraints on what is no feature, or no number, all at once.

        Raises:
            UsageError: With every problem.
        """
        numbers = {feature.name for feature in table.features if isinstance(feature, NumberFeature)}
        problems = []
        for parameter, named in self._named().items():
            for name in named:
                if name not in table.names:
                    problems.append(f"{parameter}: {name!r} is no input. {closest(name, table.names)}")
                elif parameter != "immutable" and name not in numbers:
                    problems.append(f"{parameter}: {name!r} has levels, expected a number. Write immutable")
        problems += [
            f"ranges: {name!r} runs from {low:g} to {high:g}, expected the smaller value first"
            for name, (low, high) in self.ranges.items()
            if low > high
        ]
        if problems:
            raise UsageError("counterfactuals: " + "; ".join(problems))

    def _named(self) -> dict[str, list[str]]:
        return {
            "immutable": sorted(self.immutable),
            "monotone": sorted(self.monotone),
            "ranges": sorted(self.ranges),
        }

    def bounds(self, table: FeatureTable, own: FloatArray) -> "Bounds":
        """What each row may be given.

        Args:
            table: The features.
            own: Values of the rows, shape ``(n, f)``.
        """
        low, high = own.copy(), own.copy()
        movable = np.zeros(own.shape, dtype=np.bool_)
        for j, feature in enumerate(table.features):
            if feature.name in self.immutable | self.sensitive:
                continue
            # a missing value is nothing that anyone could change
            movable[:, j] = ~np.isnan(own[:, j])
            if isinstance(feature, NumberFeature):
                low[:, j], high[:, j] = self._ends(feature, own[:, j])
                movable[:, j] &= low[:, j] < high[:, j]
        return Bounds(table, own, low, high, movable)

    def _ends(self, feature: NumberFeature, own: FloatArray) -> tuple[FloatArray, FloatArray]:
        least, most = self.range_of(feature)
        if feature.decimals is not None:
            unit = 10.0**feature.decimals
            # a range may end between two values that can be written
            least = float(np.ceil(np.round(least * unit, 6)) / unit)
            most = float(np.floor(np.round(most * unit, 6)) / unit)
        falls, rises = np.full_like(own, least), np.full_like(own, most)
        direction = self.monotone.get(feature.name)
        if direction == "increasing":
            falls = np.maximum(own, falls)
        if direction == "decreasing":
            rises = np.minimum(own, rises)
        # nothing in the range is on the permitted side, or can be written: the row stays as it is
        closed = falls > rises
        return np.where(closed, own, falls), np.where(closed, own, rises)

    def range_of(self, feature: NumberFeature) -> tuple[float, float]:
        """The values that a number may be given."""
        return self.ranges.get(feature.name, (feature.low, feature.high))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What each of some rows may be given.

    A row that lies outside the range of a feature stays there, or moves into the range.

    Attributes:
        table: The features.
        own: Values of the rows now, shape ``(n, f)``.
        low: Smallest value that a number may be given; the own one is allowed besides.
        high: Largest value likewise.
        movable: Whether a feature may change at all.
    """

    table: FeatureTable
    own: FloatArray
    low: FloatArray
    high: FloatArray
    movable: BoolArray

    def take(self, rows: IntArray) -> "Bounds":
        """Some of the rows."""
        return Bounds(self.table, self.own[rows], self.low[rows], self.high[rows], self.movable[rows])

    def project(self, values: FloatArray) -> FloatArray:
        """The nearest permitted values that can be written, shape as given ``(n, f)`` or ``(n, m, f)``.

        The second form gives each row several candidates.
        """
        spread = (slice(None), None) if values.ndim == 3 else (slice(None),)
        own, movable = self.own[spread], self.movable[spread]
        # a row that is followed may lack a value: that is nothing to be given
        found = np.where(movable & ~np.isnan(values), values, own)
        for j, feature in enumerate(self.table.features):
            place = (..., j)
            if isinstance(feature, LevelFeature):
                permitted = self._offered(feature, found[place])
                found[place] = np.where(permitted, found[place], own[place])
                continue
            low, high = self.low[spread][place], self.high[spread][place]
            inside = np.clip(feature.on_grid(np.clip(found[place], low, high)), low, high)
            stays = np.abs(found[place] - own[place]) <= np.abs(found[place] - inside)
            found[place] = np.where(stays | ~movable[place], own[place], inside)
        return found

    @staticmethod
    def _offered(feature: LevelFeature, levels: FloatArray) -> BoolArray:
        known = ~np.isnan(levels)
        codes = np.where(known, levels, 0).astype(np.int64)
        return np.asarray(known & np.array(feature.offered, dtype=np.bool_)[codes])
