"""Recourse by group: who has a counterfactual, and how far away it is."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.figures import (
    DISTANCE,
    mean_and_interval,
    mean_over,
    validity,
)
from auditkit.audits.explainability.counterfactuals.found import Found
from auditkit.data.dataset import UNKNOWN, BoolArray
from auditkit.records import Measurement, Message
from auditkit.statistics.simultaneous import Disparity, largest_gap, pair_confidence

MOST_GROUPS = 100
"""Of one attribute; more are most likely names or numbers of single rows."""


@dataclass(frozen=True, slots=True)
class Recourse:
    """The groups of one sensitive feature.

    Attributes:
        attribute: Its name.
        measurements: Validity and distance of every group, and the gap of distances.
        gap: The gap, where two groups can be compared.
        compared: Levels that ``gap`` counts.
    """

    attribute: str
    measurements: tuple[Measurement, ...]
    gap: Disparity | None
    compared: tuple[str, ...]


def recourse(found: Found, attribute: str, confidence: float) -> Recourse:
    """Figures of every group of ``attribute``, and how far their mean distances lie apart."""
    column = found.data.sensitive_features[attribute]
    if len(column.levels) > MOST_GROUPS:
        reason = Message(
            text="{attribute} has {n} groups; at most {most} are compared.",
            values={"attribute": attribute, "n": len(column.levels), "most": MOST_GROUPS},
        )
        return Recourse(attribute, (_missing_gap(found, attribute, reason),), None, ())
    members = {level: np.asarray(column.codes == code) for code, level in enumerate(column.levels)}
    measured: list[Measurement] = []
    for level, rows in members.items():
        group = {attribute: level}
        measured.append(validity(found, rows, group, confidence))
        measured.append(
            mean_over(found, DISTANCE, found.distance, rows=rows, group=group, confidence=confidence)
        )
    known = {level: rows for level, rows in members.items() if level != UNKNOWN}
    compared = tuple(level for level, rows in known.items() if _has_spread(found, rows, confidence))
    gap = _gap(found, [known[level] for level in compared], confidence)
    without = [level for level, rows in known.items() if rows.any() and not (found.has & rows).any()]
    if gap is None:
        measured.append(_missing_gap(found, attribute, _too_few(attribute, without)))
    else:
        measured.append(_measured_gap(found, attribute, gap, _pair(gap, compared, without)))
    return Recourse(attribute, tuple(measured), gap, compared)


def _has_spread(found: Found, rows: BoolArray, confidence: float) -> bool:
    kept = found.has & rows
    return bool(kept.any()) and mean_and_interval(found, found.distance, kept, confidence)[1] is not None


def _gap(found: Found, groups: list[BoolArray], confidence: float) -> Disparity | None:
    if len(groups) < 2:
        return None
    joint = pair_confidence(len(groups), confidence)

    def ends(level: float) -> tuple[np.ndarray, np.ndarray]:
        intervals = [mean_and_interval(found, found.distance, found.has & rows, level)[1] for rows in groups]
        kept = [interval for interval in intervals if interval is not None]
        return np.array([one.low for one in kept]), np.array([one.high for one in kept])

    means = [float(found.distance[found.has & rows].mean()) for rows in groups]
    return largest_gap(means, ends(joint), ends(confidence), confidence=confidence, method="simultaneous-t")


def _missing_gap(found: Found, attribute: str, reason: Message) -> Measurement:
    return Measurement(
        metric=f"{DISTANCE}.difference",
        value=None,
        n=int(found.has.sum()),
        better="zero",
        across=(attribute,),
        missing=reason,
    )


def _measured_gap(found: Found, attribute: str, gap: Disparity, note: Message) -> Measurement:
    return Measurement(
        metric=f"{DISTANCE}.difference",
        value=gap.value,
        n=int(found.has.sum()),
        better="zero",
        across=(attribute,),
        interval=gap.interval,
        note=note,
    )


def _too_few(attribute: str, without: list[str]) -> Message:
    values: dict[str, str | int | float] = {"attribute": attribute}
    if without:
        return Message(
            text="Fewer than two known groups of {attribute} have two counterfactuals or more; none at all: "
            "{without}.",
            values={**values, "without": ", ".join(without)},
        )
    text = "Fewer than two known groups of {attribute} have two counterfactuals or more."
    return Message(text=text, values=values)


def _pair(gap: Disparity, compared: tuple[str, ...], without: list[str]) -> Message:
    values: dict[str, str | int | float] = {
        "lowest": compared[gap.lowest],
        "highest": compared[gap.highest],
    }
    if without:
        return Message(
            text="Nearest: {lowest}. Farthest: {highest}. No counterfactual at all: {without}.",
            values={**values, "without": ", ".join(without)},
        )
    return Message(text="Nearest: {lowest}. Farthest: {highest}.", values=values)
