"""Errors of every group, and the largest gap between groups for each figure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from auditkit.audits.fairness.groupings import Grouping, group_codes
from auditkit.audits.foretold import figure_measurement, shown
from auditkit.data.dataset import Dataset, IntArray
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.intervals import critical_value
from auditkit.statistics.regression import (
    Figure,
    Foretold,
    mean_absolute_error,
    mean_error,
    mean_prediction,
    r_squared,
    root_mean_squared_error,
)
from auditkit.statistics.simultaneous import Disparity, largest_gap, pair_confidence

POWER = 0.8

METRICS: dict[str, tuple[Callable[[Foretold], Figure | None], Better]] = {
    "bias": (mean_error, "zero"),
    "mean_absolute_error": (mean_absolute_error, "lower"),
    "root_mean_squared_error": (root_mean_squared_error, "lower"),
    "r2": (r_squared, "higher"),
    "mean_prediction": (mean_prediction, "neither"),
}

RATIOS = ("mean_absolute_error", "root_mean_squared_error", "mean_prediction")
"""Figures that may be compared by quotient; the others can be 0 or below."""


@dataclass(frozen=True, slots=True)
class GroupErrors:
    """The rows of every group.

    Attributes:
        grouping: Which groups.
        groups: Their rows.
        members: Indices of these rows among those kept.
    """

    grouping: Grouping
    groups: tuple[Foretold, ...]
    members: tuple[IntArray, ...]

    @classmethod
    def of(cls, grouping: Grouping, rows: Foretold, data: Dataset, kept: IntArray) -> "GroupErrors":
        """Part ``rows`` by group; an attribute keeps levels without rows, a crossing keeps what occurs."""
        codes = group_codes(grouping, data)[kept]
        members = [np.flatnonzero(codes == group) for group in range(len(grouping.combinations))]
        if len(grouping.attributes) > 1:
            shown_groups = np.array([g for g, own in enumerate(members) if len(own)], dtype=np.int64)
            grouping, members = grouping.take(shown_groups), [members[group] for group in shown_groups]
        return cls(grouping, tuple(rows.take(own) for own in members), tuple(members))

    @property
    def known(self) -> list[int]:
        """Groups with rows in which every attribute is known."""
        return [group for group in np.flatnonzero(self.grouping.known).tolist() if len(self.groups[group])]

    @property
    def n_known(self) -> int:
        """Rows in them."""
        return sum(len(self.groups[group]) for group in self.known)


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One figure in every group.

    Attributes:
        metric: Its name.
        better: Which direction of a group's figure is good.
        errors: The groups.
        found: The figure of each; ``None`` where there is none.
        compared: Known groups whose figure has an interval.
        confidence: Of all intervals.
    """

    metric: str
    better: Better
    errors: GroupErrors
    found: tuple[Figure | None, ...]
    compared: tuple[int, ...]
    confidence: float

    @classmethod
    def of(cls, metric: str, errors: GroupErrors, confidence: float) -> "GroupFigures":
        """``metric`` of every group with rows."""
        compute, better = METRICS[metric]
        found = tuple(compute(rows) if len(rows) else None for rows in errors.groups)
        # as wide an interval as is asked for below; it must exist for every group that is compared
        strict = pair_confidence(len(errors.known), confidence) if len(errors.known) > 1 else confidence
        compared = tuple(
            group
            for group in errors.known
            if (one := found[group]) is not None and one.bounds(strict) is not None
        )
        return cls(metric, better, errors, found, compared, confidence)

    def ends(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Intervals of the groups compared, shape ``(n_compared,)`` each."""
        pairs = [one.bounds(confidence) for group in self.compared if (one := self.found[group]) is not None]
        known = np.array([pair for pair in pairs if pair is not None], dtype=np.float64).reshape(-1, 2)
        return known[:, 0], known[:, 1]

    @property
    def values(self) -> np.ndarray:
        """Figures of the groups compared."""
        figures = [self.found[group] for group in self.compared]
        return np.array([figure.value for figure in figures if figure is not None], dtype=np.float64)

    @property
    def joint(self) -> float:
        """Confidence of each interval under which all pairs hold together."""
        return pair_confidence(len(self.compared), self.confidence)

    def gap(self) -> Disparity | None:
        """Highest minus lowest; ``None`` where fewer than two groups can be compared."""
        if len(self.compared) < 2:
            return None
        return largest_gap(
            self.values,
            self.ends(self.joint),
            self.ends(self.confidence),
            confidence=self.confidence,
            method="simultaneous-t",
        )

    def ratio(self) -> Disparity | None:
        """Lowest divided by highest; ``None`` where a figure may be 0 or below, or there are too few."""
        if len(self.compared) < 2:
            return None
        joint, each = self.ends(self.joint), self.ends(self.confidence)
        if joint[0].min() <= 0 or self.values.min() <= 0:
            return None
        gap = largest_gap(
            np.log(self.values),
            (np.log(joint[0]), np.log(joint[1])),
            (np.log(each[0]), np.log(each[1])),
            confidence=self.confidence,
            method="simultaneous-t-ratio",
        )
        if gap is None:
            return None
        low, high = float(np.exp(-gap.interval.high)), float(np.exp(-gap.interval.low))
        interval = Interval(low=low, high=high, confidence=self.confidence, method="simultaneous-t-ratio")
        return Disparity(float(np.exp(-gap.value)), interval, gap.lowest, gap.highest, gap.clearest)

    def measurements(self, small_group: int) -> list[Measurement]:
        """The figure of every group, the largest difference and, where it has one, the smallest ratio."""
        found = [
            figure_measurement(
                self.metric,
                self.better,
                rows,
                figure,
                confidence=self.confidence,
                group=name,
                note=_few(rows, small_group),
            )
            for name, rows, figure in zip(
                self.errors.grouping.groups, self.errors.groups, self.found, strict=True
            )
        ]
        found.append(self._compared("difference", "zero", self.gap()))
        if self.metric in RATIOS:
            found.append(self._compared("ratio", "one", self.ratio()))
        return found

    def _compared(self, suffix: str, better: Better, gap: Disparity | None) -> Measurement:
        grouping = self.errors.grouping
        return Measurement(
            metric=f"{self.metric}.{suffix}",
            value=None if gap is None else gap.value,
            n=self.errors.n_known,
            better=better,
            across=grouping.attributes,
            interval=None if gap is None else gap.interval,
            missing=self._why_not() if gap is None else None,
            detectable=None if gap is None or suffix == "ratio" else self._detectable(gap),
            note=None if gap is None else self._pair(gap.lowest, gap.highest),
        )

    def _pair(self, lowest: int, highest: int) -> Message:
        labels = self.errors.grouping.labels
        return Message(
            text="Lowest: {lowest}, {low}. Highest: {highest}, {high}.",
            values={
                "lowest": labels[self.compared[lowest]],
                "low": shown(float(self.values[lowest])),
                "highest": labels[self.compared[highest]],
                "high": shown(float(self.values[highest])),
            },
        )

    def _why_not(self) -> Message:
        if len(self.compared) > 1:
            return Message(text="A figure of a group may be 0 or below, so a ratio has no meaning.")
        return Message(
            text="Fewer than two known groups of {attribute} have rows for which the figure is defined.",
            values={"attribute": self.errors.grouping.title},
        )

    def _detectable(self, gap: Disparity) -> float:
        """The difference of this pair that would be found with 80 % power."""
        low, high = self.ends(self.joint)
        halves = [(high[index] - low[index]) / 2 for index in (gap.lowest, gap.highest)]
        return float(np.hypot(*halves)) * (1 + float(norm.ppf(POWER)) / critical_value(self.joint))


def largest_loss(errors: GroupFigures) -> Measurement:
    """The largest mean absolute error of a known group, with an interval for whichever group it is.

    Source:
        Agarwal, Dudik and Wu (2019), Fair regression, ICML, definition 2 (bounded group loss).
    """
    metric, n = "bounded_group_loss", errors.errors.n_known
    across = errors.errors.grouping.attributes
    if not errors.compared:
        text = "No known group of {attribute} has rows for which the figure is defined."
        reason = Message(text=text, values={"attribute": errors.errors.grouping.title})
        return Measurement(metric=metric, value=None, n=n, better="lower", across=across, missing=reason)
    strict = 1 - (1 - errors.confidence) / len(errors.compared)
    low, high = errors.ends(strict)
    worst = int(errors.values.argmax())
    return Measurement(
        metric=metric,
        value=float(errors.values[worst]),
        n=n,
        better="lower",
        across=across,
        interval=Interval(
            low=float(low.max()),
            high=float(high.max()),
            confidence=errors.confidence,
            method="simultaneous-t",
        ),
        note=Message(
            text="The mean absolute error is largest for {group}.",
            values={"group": errors.errors.grouping.labels[errors.compared[worst]]},
        ),
    )


def _few(rows: Foretold, small_group: int) -> Message | None:
    if rows.n_persons >= small_group:
        return None
    return Message(text="Rests on few rows ({n}).", values={"n": len(rows)})
