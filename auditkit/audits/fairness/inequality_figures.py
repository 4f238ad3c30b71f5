"""Measurements of how unevenly benefits and outcomes are spread."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.groupings import Grouping
from auditkit.audits.fairness.inequality_subgroups import Largest
from auditkit.data.dataset import FloatArray
from auditkit.records import Better, Interval, Measurement, Message, Unit
from auditkit.statistics.counts import Cells, CountTable
from auditkit.statistics.inequality import (
    BENEFITS,
    between_groups,
    differential_fairness,
    generalized_entropy,
    index_intervals,
    theil_index,
)
from auditkit.statistics.simultaneous import Disparity

UNDECIDED = Message(text="There are more than two classes and no positive label; set positive in data.")
NO_BENEFIT = Message(text="No row has a benefit above 0, and 0 / 0 is undefined.")
TOO_FEW_GROUPS = Message(text="Fewer than two known groups have rows that carry weight.")

MOST_GROUPS_COMPARED = 1000
"""More groups than this make too many pairs for memory and for any reader."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where figures belong: a grouping and the rows of its groups together."""

    grouping: Grouping
    n: int

    def absent(self, metric: str, better: Better, reason: Message, unit: Unit = "1") -> Measurement:
        """A figure that does not exist."""
        return Measurement(
            metric=metric,
            value=None,
            unit=unit,
            n=self.n,
            better=better,
            across=self.grouping.attributes,
            missing=reason,
        )

    def figure(
        self,
        metric: str,
        better: Better,
        value: float,
        interval: Interval,
        *,
        unit: Unit = "1",
        n: int | None = None,
        note: Message | None = None,
    ) -> Measurement:
        """A figure across the groups."""
        return Measurement(
            metric=metric,
            value=value,
            unit=unit,
            n=self.n if n is None else n,
            better=better,
            across=self.grouping.attributes,
            interval=interval,
            note=note,
        )


def benefit_counts(cells: Cells) -> FloatArray:
    """Effective rows with benefit 0, 1 and 2 in every group, shape ``(n_groups, 3)``."""
    return _effective(
        np.column_stack([cells.weight[:, 1], cells.weight[:, [0, 3, 4]].sum(axis=1), cells.weight[:, 2]]),
        cells.weight_squared.sum(axis=1),
    )


def outcome_counts(table: CountTable, *, of_labels: bool) -> FloatArray:
    """Effective rows per group and class that was predicted (or is the label), shape ``(n_groups, k)``."""
    axis = 2 if of_labels else 1
    return _effective(table.weight.sum(axis=axis), table.weight_squared.sum(axis=(1, 2)))


def _effective(weight: FloatArray, squared: FloatArray) -> FloatArray:
    total = weight.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(total > 0, weight * total / squared[:, None], 0.0))


def index_measurements(
    cells: Cells | None, n: int, confidence: float, rng: np.random.Generator
) -> list[Measurement]:
    """Both indices over all rows; ``cells`` is ``None`` without a positive label."""
    names = ("generalized_entropy", "theil_index")
    counts = None if cells is None else benefit_counts(cells.overall())[0]
    if counts is None or not counts @ BENEFITS > 0:
        reason = UNDECIDED if counts is None else NO_BENEFIT
        return [Measurement(metric=name, value=None, n=n, better="lower", missing=reason) for name in names]
    intervals = index_intervals(counts, confidence=confidence, rng=rng)
    values = (float(generalized_entropy(counts)), float(theil_index(counts)))
    return [
        Measurement(metric=name, value=max(0.0, value), n=n, better="lower", interval=_from_zero(interval))
        for name, value, interval in zip(names, values, intervals, strict=True)
    ]


def _from_zero(interval: Interval | None) -> Interval | None:
    """Rounding must not push an index of 0 below itself."""
    return None if interval is None else interval.model_copy(update={"low": max(0.0, interval.low)})


def between_measurements(
    place: Place, counts: FloatArray | None, overall: Measurement, confidence: float
) -> list[Measurement]:
    """The part of the inequality that lies between groups, and its share."""
    names = ("generalized_entropy_between", "between_group_share")
    reason = _why_not_between(counts)
    if reason is not None or counts is None:
        return [place.absent(name, "lower", reason or UNDECIDED) for name in names]
    # each at half the error, so that their quotient holds
    value, interval = between_groups(counts, confidence=confidence)
    measured = [place.figure(names[0], "lower", value, interval)]
    _, wider = between_groups(counts, confidence=(1 + confidence) / 2)
    if not overall.value or overall.interval is None:
        return [*measured, place.absent(names[1], "lower", Message(text="There is no inequality to divide."))]
    share = min(1.0, value / overall.value)
    low = wider.low / overall.interval.high if overall.interval.high else 0.0
    high = wider.high / overall.interval.low if overall.interval.low else 1.0
    shared = Interval(
        low=min(share, low),
        high=max(share, min(1.0, high)),
        confidence=confidence,
        method="noncentral-chi-square, bonferroni",
    )
    return [*measured, place.figure(names[1], "lower", share, shared)]


def _why_not_between(counts: FloatArray | None) -> Message | None:
    if counts is None:
        return UNDECIDED
    if len(counts) < 2:
        return TOO_FEW_GROUPS
    return None if (counts @ BENEFITS).sum() > 0 else NO_BENEFIT


def differential_measurements(
    place: Place, predicted: FloatArray, labelled: FloatArray, labels: tuple[str, ...], confidence: float
) -> list[Measurement]:
    """Differential fairness of predictions, of labels, and what the subject adds."""
    names = ("differential_fairness", "differential_fairness_of_labels", "bias_amplification")
    reason = None if len(predicted) > 1 else TOO_FEW_GROUPS
    if len(predicted) > MOST_GROUPS_COMPARED:
        reason = Message(
            text="{groups} groups are more than the {most} that are compared.",
            values={"groups": len(predicted), "most": MOST_GROUPS_COMPARED},
        )
    if reason is None and predicted.shape[1] < 2:
        reason = Message(text="There is only one class.")
    if reason is not None:
        return [place.absent(name, "lower", reason, "nat") for name in names]
    halved = (1 + confidence) / 2
    found = [differential_fairness(counts, confidence=confidence) for counts in (predicted, labelled)]
    halves = [differential_fairness(counts, confidence=halved) for counts in (predicted, labelled)]
    gaps = [one for one in (*found, *halves) if one is not None]
    of_predictions, of_labels, half_predictions, half_labels = gaps
    return [
        *(
            place.figure(name, "lower", gap.value, gap.interval, unit="nat", note=_pair_note(gap, labels))
            for name, gap in zip(names, (of_predictions, of_labels), strict=False)
        ),
        place.figure(
            names[2],
            "lower",
            of_predictions.value - of_labels.value,
            Interval(
                low=half_predictions.interval.low - half_labels.interval.high,
                high=half_predictions.interval.high - half_labels.interval.low,
                confidence=confidence,
                method="simultaneous-log-ratio, bonferroni",
            ),
            unit="nat",
            note=Message(
                text="Positive: outcomes of groups differ more in the predictions than in the labels."
            ),
        ),
    ]


def _pair_note(gap: Disparity, labels: tuple[str, ...]) -> Message:
    return Message(
        text="Furthest apart: {lower} and {higher}; one gets an outcome {factor} times as often. Rates are "
        "smoothed by one row spread over the outcomes.",
        values={
            "lower": labels[gap.lowest],
            "higher": labels[gap.highest],
            "factor": f"{np.exp(gap.value):.2f}",
        },
    )


def largest_measurement(place: Place, metric: str, better: Better, largest: Largest | Message) -> Measurement:
    """The largest figure of all subgroups, or why there is none."""
    if isinstance(largest, Message):
        return place.absent(metric, better, largest)
    return place.figure(
        metric,
        better,
        largest.value,
        largest.interval,
        n=largest.n,
        note=Message(
            text="Largest for {group}: {signed} points.",
            values={"group": largest.label, "signed": f"{100 * largest.signed:+.2f}"},
        ),
    )
