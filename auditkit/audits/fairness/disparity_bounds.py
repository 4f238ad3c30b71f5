"""Could rows of unknown group, or wrong labels, change what the gaps between groups say?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.group_counts import AuditOfCounts, GroupCounts
from auditkit.audits.fairness.group_rates import GroupRates
from auditkit.audits.fairness.groupings import Grouping, groupings
from auditkit.data.dataset import Dataset
from auditkit.records import Cell, Dots, Estimate, Evidence, Interval, Mark, Measurement, Message, Table
from auditkit.statistics.counts import METRICS, Cells, RateMetric, positive_class
from auditkit.statistics.label_flips import Flips, fewest_flips
from auditkit.statistics.simultaneous import pair_confidence
from auditkit.statistics.unknown_groups import GapBounds, gap_bounds
from auditkit.subjects.subject import Subject

DEFAULT_METRICS = (
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "positive_predictive_value",
    "accuracy",
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of one gap."""

    rates: GroupRates
    bounds: GapBounds | None
    flips: Flips | None


class DisparityBounds(AuditOfCounts):
    """Worst cases of every gap: over the groups of rows without one, and over labels that may be wrong.

    A reader may conclude that the gap of these rows lies between the two bounds whatever the missing groups
    are, and that with fewer wrong labels of one kind than stated the gap would still be shown.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="disparity-bounds",
        version=1,
        area="fairness",
        question="Could rows of unknown group, or wrong labels, change what the gaps say?",
        requires=frozenset({"predictions", "sensitive_features"}),
        reads_counts=True,
        limits=(
            "Bounds are about these rows; the error of sampling comes on top of them.",
            "The bounds allow every assignment of unknown rows to groups, also unlikely ones.",
            "Labels are flipped of one kind in one of two groups; other wrong labels could do more or less.",
        ),
        sources=(
            "Manski (1990), Nonparametric bounds on treatment effects, American Economic Review 80:319-323",
            "Newcombe (1998), Statistics in Medicine 17:873-890",
        ),
    )

    metrics: tuple[str, ...] = DEFAULT_METRICS

    def conclude(
        self, total: GroupCounts, subject: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Bounds and flips of every gap, with a chart per attribute."""
        positive = positive_class(len(data.classes), data.positive_index)
        metrics = [METRICS[name] for name in self.metrics]
        measurable = [metric for metric in metrics if positive is not None or not metric.needs_positive]
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        for grouping in groupings(data, intersections=self.intersections):
            cells = total.tables[grouping.attributes].cells(positive)
            found = [self._of(grouping, cells, metric, len(data.classes)) for metric in measurable]
            for one in found:
                measurements += [*_bound_measurements(one, cells), _flip_measurement(one, cells)]
            evidence += _evidence(grouping, cells, found)
        return AuditOutput(measurements, evidence, _notes(data, positive))

    def _of(self, grouping: Grouping, cells: Cells, metric: RateMetric, n_classes: int) -> _Found:
        rates = GroupRates.of(grouping, cells, metric, self.confidence)
        numerator, denominator = np.array(metric.numerator), np.array(metric.denominator)
        known, unknown = cells.weight[grouping.known], cells.weight[~grouping.known].sum(axis=0)
        bounds = gap_bounds(
            known @ numerator, known @ denominator, float(unknown @ numerator), float(unknown @ denominator)
        )
        pair, gap = rates.clearest, rates.difference
        is_shown = gap is not None and gap.interval.low > 0
        if pair is None or not is_shown or n_classes != 2 or not _flippable(metric, cells):
            return _Found(rates, bounds, None)
        lower, higher = pair
        confidence = pair_confidence(len(rates.compared), self.confidence)
        flips = fewest_flips(cells.n[higher], cells.n[lower], metric, confidence=confidence)
        return _Found(rates, bounds, flips)


def _flippable(metric: RateMetric, cells: Cells) -> bool:
    """Whether labels decide the rate, and every row weighs the same and is about another person."""
    is_plain = bool(np.array_equal(cells.n, cells.weight)) and cells.persons is None
    return metric.name != "selection_rate" and is_plain


def _bound_measurements(found: _Found, cells: Cells) -> list[Measurement]:
    rates, bounds = found.rates, found.bounds
    denominator = np.array(rates.metric.denominator)
    n = int((cells.n @ denominator).sum())
    across = rates.grouping.attributes
    ends = ("smallest", "largest")
    if bounds is None:
        reason = Message(
            text="Fewer than two known groups of {attribute} have rows for which the rate is defined.",
            values={"attribute": rates.grouping.title},
        )
        return [_missing(f"{rates.metric.name}.difference.{end}", n, across, reason) for end in ends]
    note = _assignment_note(found, int((cells.n[~rates.grouping.known] @ denominator).sum()))
    return [
        Measurement(
            metric=f"{rates.metric.name}.difference.{end}",
            value=value,
            n=n,
            better="zero",
            kind="lower_bound" if end == "smallest" else "upper_bound",
            provenance="derived",
            across=across,
            interval=Interval.exact(value),
            note=note,
        )
        for end, value in zip(ends, (bounds.smallest, bounds.largest), strict=True)
    ]


def _assignment_note(found: _Found, unknown: int) -> Message:
    grouping, bounds = found.rates.grouping, found.bounds
    if not unknown or bounds is None:
        return Message(
            text="Every row it rests on has a known {attribute}.", values={"attribute": grouping.title}
        )
    labels = [label for label, known in zip(grouping.labels, grouping.known, strict=True) if known]
    return Message(
        text="{n} rows have no known {attribute}. The gap is largest where they raise {highest} and lower "
        "{lowest}.",
        values={
            "n": unknown,
            "attribute": grouping.title,
            "highest": labels[bounds.highest],
            "lowest": labels[bounds.lowest],
        },
    )


def _flip_measurement(found: _Found, cells: Cells) -> Measurement:
    rates = found.rates
    name, across = f"{rates.metric.name}.difference.flips", rates.grouping.attributes
    n = int((cells.n @ np.array(rates.metric.denominator))[rates.compared].sum())
    if found.flips is None:
        return _missing(name, n, across, _why_no_flips(found, cells), unit="count")
    return Measurement(
        metric=name,
        value=float(found.flips.count),
        unit="count",
        n=n,
        better="higher",
        kind="upper_bound",
        provenance="derived",
        across=across,
        interval=Interval.exact(float(found.flips.count)),
        note=_flip_note(rates, found.flips),
    )


def _flip_note(rates: GroupRates, flips: Flips) -> Message:
    pair = rates.clearest or (0, 0)
    group = rates.grouping.labels[pair[1] if flips.side == "higher" else pair[0]]
    templates = {
        (True, True): Message(text="Positive labels of rows of {group} that are predicted positive."),
        (True, False): Message(text="Positive labels of rows of {group} that are not predicted positive."),
        (False, True): Message(text="Other labels of rows of {group} that are predicted positive."),
        (False, False): Message(text="Other labels of rows of {group} that are not predicted positive."),
    }
    template = templates[flips.was_positive, flips.predicted_positive]
    return template.model_copy(update={"values": {"group": group}})


def _why_no_flips(found: _Found, cells: Cells) -> Message:
    gap, metric = found.rates.difference, found.rates.metric
    if metric.name == "selection_rate":
        return Message(text="The rate does not depend on labels.")
    if gap is None or gap.interval.low <= 0:
        return Message(text="No gap beyond chance is shown, so none has to be explained by wrong labels.")
    if cells.persons is not None:
        return Message(text="Persons are told apart; labels are counted row by row.")
    if not _flippable(metric, cells):
        return Message(text="Rows are weighted; labels are counted one by one.")
    return Message(text="No number of wrong labels of one kind in one of two groups closes the gap.")


def _missing(
    name: str, n: int, across: tuple[str, ...], reason: Message, *, unit: Literal["1", "count"] = "1"
) -> Measurement:
    return Measurement(metric=name, value=None, unit=unit, n=n, better="zero", across=across, missing=reason)


def _evidence(grouping: Grouping, cells: Cells, found: Sequence[_Found]) -> list[Evidence]:
    evidence: list[Evidence] = []
    unknown = int(cells.n[~grouping.known].sum())
    marks = tuple(_mark(one, unknown=bool(unknown)) for one in found if one.bounds is not None)
    if unknown and marks:
        title = Message(
            text="{n} rows of unknown {attribute} leave this much room for each gap",
            values={"n": unknown, "attribute": grouping.title},
        )
        axis = Message(text="Highest minus lowest rate; line: all assignments of unknown rows")
        evidence.append(Dots(title=title, axis=axis, marks=marks, reference=0.0, low=0.0))
    rows = [_flip_row(one) for one in found if one.flips is not None]
    if rows:
        columns = (
            Message(text="rate"),
            Message(text="gap"),
            Message(text="wrong labels that would close it"),
            Message(text="which"),
        )
        title = Message(
            text="How many labels would have to be wrong for a gap across {attribute} to vanish",
            values={"attribute": grouping.title},
        )
        evidence.append(Table(title=title, columns=columns, rows=tuple(rows)))
    return evidence


def _mark(found: _Found, *, unknown: bool) -> Mark:
    bounds, gap = found.bounds, found.rates.difference
    low, high = (bounds.smallest, bounds.largest) if bounds is not None and unknown else (None, None)
    value = None if gap is None else gap.value
    missing = None if gap is not None else Message(text="Fewer than two groups have a rate.")
    n = int(found.rates.rates.n[found.rates.compared].sum())
    return Mark(
        label=found.rates.metric.name,
        estimate=Estimate(value=value, low=low, high=high, n=n, missing=missing),
    )


def _flip_row(found: _Found) -> tuple[Cell, ...]:
    gap, flips = found.rates.difference, found.flips
    if gap is None or flips is None:
        raise ValueError("a row without a gap")
    estimate = Estimate(value=gap.value, low=gap.interval.low, high=gap.interval.high)
    return (
        found.rates.metric.name,
        estimate,
        flips.count,
        _flip_note(found.rates, flips),
    )


def _notes(data: Dataset, positive: int | None) -> list[Message]:
    if positive is None:
        return [
            Message(text="There are more than two classes and no positive label: only accuracy is compared.")
        ]
    return []
