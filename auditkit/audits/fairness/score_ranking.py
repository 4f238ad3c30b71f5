"""How well scores rank rows within a group, and across groups."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.score_figures import (
    NO_OTHERS,
    NO_POSITIVE,
    NO_ROWS,
    UNEVEN,
    Found,
    GroupFigures,
    too_few,
)
from auditkit.audits.fairness.score_groups import GroupScores, Scored
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.comparisons import difference_bounds

MOST_PAIRED = 30
"""More groups are not compared pair by pair: no reader could follow, and time grows as the square."""


def too_many(n_groups: int) -> Message:
    """Why figures of pairs are left out."""
    return Message(
        text="There are {k} groups; pairs of groups are compared for at most {most}.",
        values={"k": n_groups, "most": MOST_PAIRED},
    )


def auc_by_group(groups: GroupScores, confidence: float) -> GroupFigures:
    """Within each group, the chance that a positive row scores above another."""
    return GroupFigures.of("auc", "higher", groups, _auc, confidence=confidence)


def bpsn_by_group(groups: GroupScores, confidence: float) -> list[Found | Message]:
    """Positive rows of all other known groups against the group's other rows.

    Low where the scores of the group are too high.

    Source:
        Borkan et al. (2019), Nuanced metrics for measuring unintended bias, WWW Companion (background
        positive, subgroup negative).
    """
    others = _Background.of(groups)
    return [
        _area(others.without(group).high, rows.low, rows, confidence)
        for group, rows in enumerate(groups.groups)
    ]


def bnsp_by_group(groups: GroupScores, confidence: float) -> list[Found | Message]:
    """The group's positive rows against the other rows of all other known groups.

    Low where the scores of the group are too low.

    Source:
        As :func:`bpsn_by_group` (background negative, subgroup positive).
    """
    others = _Background.of(groups)
    return [
        _area(rows.high, others.without(group).low, rows, confidence)
        for group, rows in enumerate(groups.groups)
    ]


@dataclass(frozen=True, slots=True)
class CrossAreas:
    """Chance that a positive row of one group scores above another row of a second (xAUC).

    Attributes:
        groups: Which groups.
        compared: Known groups with both labels.
        value: Positive rows of group ``compared[i]`` against others of ``compared[j]``, shape ``(k, k)``.
        low: Lower ends at the confidence at which all pairs hold together.
        high: Upper ends likewise.
        confidence: Of the largest gap.

    Source:
        Kallus and Zhou (2019), The fairness of risk scores beyond classification: bipartite ranking and the
        xAUC metric, NeurIPS.
    """

    groups: GroupScores
    compared: IntArray
    value: FloatArray
    low: FloatArray
    high: FloatArray
    confidence: float

    @classmethod
    def of(cls, groups: GroupScores, confidence: float) -> "CrossAreas":
        """All ordered pairs of groups; at most :data:`MOST_PAIRED` groups."""
        compared = groups.with_both_labels
        k = len(compared)
        joint = 1 - (1 - confidence) / max(1, k * (k - 1) // 2)
        found = [
            auc_delong(groups.groups[first].high, groups.groups[second].low, confidence=joint)
            for first in compared
            for second in compared
        ]
        return cls(
            groups,
            compared,
            np.array([value for value, _ in found]).reshape(k, k),
            np.array([interval.low for _, interval in found]).reshape(k, k),
            np.array([interval.high for _, interval in found]).reshape(k, k),
            confidence,
        )

    @property
    def gaps(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """For ``i`` and ``j``: positives of i over others of j minus the reverse, with its interval.

        Both areas rest on different rows, so their variances add.
        """
        low, high = difference_bounds(
            self.value, (self.low, self.high), self.value.T, (self.low.T, self.high.T)
        )
        return self.value - self.value.T, low, high

    @property
    def clearest(self) -> tuple[int, int, bool]:
        """The pair whose gap is clearest, favoured group first, and whether chance is excluded."""
        _, low, _ = self.gaps
        off = np.where(np.eye(len(low), dtype=np.bool_), -np.inf, low)
        first, second = np.unravel_index(int(off.argmax()), off.shape)
        return int(first), int(second), bool(off.max() > 0)


def cross_areas(groups: GroupScores, confidence: float) -> CrossAreas | Message:
    """All ordered pairs of groups, or why they are left out."""
    if any(rows.weight is not None for rows in groups.groups):
        return UNEVEN
    n_groups = len(groups.with_both_labels)
    return too_many(n_groups) if n_groups > MOST_PAIRED else CrossAreas.of(groups, confidence)


def cross_gap_measurement(areas: CrossAreas | Message, groups: GroupScores) -> Measurement:
    """The largest gap between the two directions of a pair of groups."""
    if isinstance(areas, Message) or len(areas.compared) < 2:
        return Measurement(
            metric="xauc.difference",
            value=None,
            n=int(groups.sizes[groups.known].sum()),
            better="zero",
            across=groups.grouping.attributes,
            missing=areas if isinstance(areas, Message) else too_few(groups),
        )
    gap, low, high = areas.gaps
    off = ~np.eye(len(gap), dtype=np.bool_)
    first, second = np.unravel_index(int(np.where(off, gap, -np.inf).argmax()), gap.shape)
    pair = areas.compared[[first, second]]
    return Measurement(
        metric="xauc.difference",
        value=float(gap[first, second]),
        n=int(groups.sizes[pair].sum()),
        better="zero",
        across=groups.grouping.attributes,
        interval=Interval(
            low=max(0.0, float(low[off].max())),
            high=min(1.0, float(high[off].max())),
            confidence=areas.confidence,
            method="simultaneous-mover",
        ),
        note=Message(
            text="Positive rows of {first} against other rows of {second}: {forth}; the other way round: "
            "{back}.",
            values={
                "first": groups.grouping.labels[pair[0]],
                "second": groups.grouping.labels[pair[1]],
                "forth": round(float(areas.value[first, second]), 4),
                "back": round(float(areas.value[second, first]), 4),
            },
        ),
    )


def _auc(rows: Scored, confidence: float) -> Found | Message:
    return _area(rows.high, rows.low, rows, confidence)


def _area(high: FloatArray, low: FloatArray, rows: Scored, confidence: float) -> Found | Message:
    """Area of the scores; ``rows`` is the group that the figure belongs to."""
    if rows.weight is not None:
        return UNEVEN
    if not len(rows):
        return NO_ROWS
    own = rows.is_positive
    if not len(high):
        return (
            NO_POSITIVE
            if not own.any()
            else Message(text="Other groups have no rows with the positive label.")
        )
    if not len(low):
        return (
            NO_OTHERS if own.all() else Message(text="Other groups have no rows without the positive label.")
        )
    value, interval = auc_delong(high, low, confidence=confidence)
    return Found(value, len(high) + len(low), min(len(high), len(low)), interval)


@dataclass(frozen=True, slots=True)
class _Background:
    """Rows of all known groups, and the group of each."""

    rows: Scored
    group: IntArray

    @classmethod
    def of(cls, groups: GroupScores) -> "_Background":
        known = [groups.groups[group] for group in groups.known]
        none: BoolArray = np.zeros(0, dtype=np.bool_)
        rows = Scored(
            np.concatenate([np.zeros(0), *(one.log_odds for one in known)]),
            np.concatenate([none, *(one.is_positive for one in known)]),
            None,
        )
        return cls(rows, np.repeat(groups.known, groups.sizes[groups.known]))

    def without(self, group: int) -> Scored:
        """All rows but those of one group."""
        return self.rows.take(self.group != group)
