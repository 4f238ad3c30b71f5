"""How much the ranking within groups changes between two subjects that scored the same rows."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.score_figures import (
    NO_OTHERS,
    NO_POSITIVE,
    NO_ROWS,
    UNEVEN,
    Found,
    figure_measurement,
    too_few,
)
from auditkit.audits.fairness.score_groups import GroupScores, Scored, rows_of_groups
from auditkit.audits.fairness.score_ranking import auc_by_group
from auditkit.data.dataset import IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.auc import auc_change_delong
from auditkit.statistics.comparisons import difference_bounds
from auditkit.statistics.simultaneous import pair_confidence


@dataclass(frozen=True, slots=True)
class PairedScores:
    """The same rows of every group, scored before and after, each pair in the same order."""

    before: tuple[Scored, ...]
    after: tuple[Scored, ...]

    @classmethod
    def of(cls, groups: GroupScores, before: Scored, after: Scored, codes: IntArray) -> "PairedScores":
        """Part both scorings of the same rows by group."""
        members = rows_of_groups(codes, int(max(codes.max(initial=0), groups.codes.max(initial=0))) + 1)
        chosen = [members[code] for code in groups.codes]
        return cls(tuple(before.take(rows) for rows in chosen), tuple(after.take(rows) for rows in chosen))

    def change(self, group: int, confidence: float) -> Found | Message:
        """Change of the group's AUC, after minus before."""
        old, new = self.before[group], self.after[group]
        if not len(old):
            return NO_ROWS
        if old.weight is not None:
            return UNEVEN
        if not len(old.high):
            return NO_POSITIVE
        if not len(old.low):
            return NO_OTHERS
        value, interval = auc_change_delong((old.high, old.low), (new.high, new.low), confidence=confidence)
        return Found(value, len(old), min(len(old.high), len(old.low)), interval)


def auc_changes(
    groups: GroupScores, paired: PairedScores, *, small_group: int, confidence: float
) -> list[Measurement]:
    """The change of the AUC in every group."""
    return [
        figure_measurement(
            "auc.change",
            "higher",
            paired.change(index, confidence),
            group=group,
            n=len(paired.before[index]),
            small_group=small_group,
        )
        for index, group in enumerate(groups.grouping.groups)
    ]


def auc_gap_change(groups: GroupScores, paired: PairedScores, *, confidence: float) -> Measurement:
    """The change of the gap between the two groups whose AUCs differed most clearly before.

    They were picked on the same rows, hence the interval is taken at the confidence at which the changes of
    all pairs hold together.

    Args:
        groups: Of the first subject.
        paired: The rows of the same groups.
        confidence: Of the interval.
    """
    areas = auc_by_group(groups, confidence)
    pair = areas.clearest
    found: list[Found] = []
    if pair is not None:
        joint = pair_confidence(len(areas.compared), confidence)
        found = [one for group in pair if isinstance(one := paired.change(group, joint), Found)]
    bounds = [
        (np.array(one.interval.low), np.array(one.interval.high)) for one in found if one.interval is not None
    ]
    if pair is None or len(bounds) < 2:
        return _missing(groups)
    lowest, highest = found
    value = highest.value - lowest.value
    low, high = difference_bounds(highest.value, bounds[1], lowest.value, bounds[0])
    gap = areas.value_of(pair[1]) - areas.value_of(pair[0])
    return Measurement(
        metric="auc.difference.change",
        value=value,
        n=lowest.n + highest.n,
        better="lower",
        across=groups.grouping.attributes,
        interval=Interval(
            low=min(float(low), value),
            high=max(float(high), value),
            confidence=confidence,
            method="simultaneous-delong-paired",
        ),
        note=Message(
            text="{highest} minus {lowest}: {before} before, {after} after.",
            values={
                "highest": groups.grouping.labels[pair[1]],
                "lowest": groups.grouping.labels[pair[0]],
                "before": round(gap, 4),
                "after": round(gap + value, 4),
            },
        ),
    )


def _missing(groups: GroupScores) -> Measurement:
    is_weighted = any(rows.weight is not None for rows in groups.groups)
    return Measurement(
        metric="auc.difference.change",
        value=None,
        n=int(groups.sizes[groups.known].sum()),
        better="lower",
        across=groups.grouping.attributes,
        missing=UNEVEN if is_weighted else too_few(groups),
    )
