"""Calibration and mean scores of every group, side by side."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.fairness.score_evidence import estimate_of
from auditkit.audits.fairness.score_figures import Found, GroupFigures
from auditkit.audits.fairness.score_groups import GroupScores
from auditkit.records import Cell, Estimate, Message, Table
from auditkit.statistics.calibration import CalibrationError
from auditkit.statistics.intervals import critical_value


def calibration_table(
    groups: GroupScores,
    errors: Sequence[CalibrationError | Message],
    shifts: Sequence[Found | Message],
    factors: Sequence[Found | Message],
    means: tuple[GroupFigures, GroupFigures],
) -> Table:
    """One row per group; ``means`` are those of positive rows and of others."""
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            len(groups.groups[group]),
            _error(errors[group], len(groups.groups[group])),
            estimate_of(shifts[group], len(groups.groups[group])),
            estimate_of(factors[group], len(groups.groups[group])),
            *(mean.estimate(group) for mean in means),
        )
        for group, label in enumerate(groups.grouping.labels)
    ]
    return Table(
        title=_title(groups, shifts),
        caption=Message(
            text="An intercept above 0 means that probabilities are too low, a slope below 1 that they "
            "are too extreme."
        ),
        columns=(
            Message(text="Group"),
            Message(text="Rows"),
            Message(text="Calibration error beyond chance"),
            Message(text="Calibration intercept"),
            Message(text="Calibration slope"),
            Message(text="Mean score of positive rows"),
            Message(text="Mean score of other rows"),
        ),
        rows=tuple(rows),
    )


def _error(error: CalibrationError | Message, n: int) -> Estimate:
    if isinstance(error, Message):
        return Estimate(value=None, n=n, missing=error)
    interval = error.excess_interval
    return Estimate(value=error.excess, low=interval.low, high=interval.high, n=n)


def _title(groups: GroupScores, shifts: Sequence[Found | Message]) -> Message:
    """The group whose shift is clearest; intervals are lengthened, as it was picked from all."""
    clear = [(_distance(shifts, group), group) for group in groups.known.tolist()]
    distance, group = max(clear, default=(0.0, 0))
    found = shifts[group] if clear else None
    if distance <= 0 or not isinstance(found, Found):
        return Message(
            text="Probabilities within groups of {attribute}: no shift up or down is shown beyond chance",
            values={"attribute": groups.grouping.title},
        )
    label = {"group": groups.grouping.labels[group]}
    if found.value > 0:
        return Message(
            text="For {group}, the positive label comes true more often than probabilities say", values=label
        )
    return Message(
        text="For {group}, the positive label comes true less often than probabilities say", values=label
    )


def _distance(shifts: Sequence[Found | Message], group: int) -> float:
    """How far the lengthened interval of a group's shift stays from 0; negative where it holds 0."""
    found = shifts[group]
    if isinstance(found, Message) or found.interval is None:
        return -np.inf
    confidence = found.interval.confidence
    longer = critical_value(1 - (1 - confidence) / len(shifts)) / critical_value(confidence)
    reach = (found.interval.high - found.interval.low) / 2 * longer
    return abs(found.value) - reach
