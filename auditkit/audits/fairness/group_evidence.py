"""Charts and tables behind the group figures, each with its takeaway as title."""

from types import MappingProxyType

import numpy as np

from auditkit.audits.fairness.group_rates import GroupRates, empty_denominator
from auditkit.audits.fairness.groupings import Grouping
from auditkit.records import Cell, Dots, Estimate, Mark, Message, Table
from auditkit.statistics.counts import Cells

AXES = MappingProxyType(
    {
        "selection_rate": Message(text="Selection rate: share predicted positive"),
        "true_positive_rate": Message(text="True-positive rate: share of positive rows found"),
        "false_negative_rate": Message(text="False-negative rate: share of positive rows missed"),
        "false_positive_rate": Message(text="False-positive rate: share of other rows selected"),
        "true_negative_rate": Message(text="True-negative rate: share of other rows not selected"),
        "positive_predictive_value": Message(
            text="Positive predictive value: share of selections that are right"
        ),
        "false_discovery_rate": Message(text="False-discovery rate: share of selections that are wrong"),
        "negative_predictive_value": Message(
            text="Negative predictive value: share of rejections that are right"
        ),
        "false_omission_rate": Message(text="False-omission rate: share of rejections that are wrong"),
        "accuracy": Message(text="Accuracy: share predicted right"),
        "base_rate": Message(text="Base rate: share labelled positive"),
    }
)

SHOWN = MappingProxyType(
    {
        "selection_rate": Message(text="{lowest}: selected {percent} % as often as {highest}"),
        "true_positive_rate": Message(
            text="Of positive rows, {high} % of {highest} are found and {low} % of {lowest}"
        ),
        "false_negative_rate": Message(
            text="Of positive rows, {high} % of {highest} are missed and {low} % of {lowest}"
        ),
        "false_positive_rate": Message(
            text="Of other rows, {high} % of {highest} are selected and {low} % of {lowest}"
        ),
        "true_negative_rate": Message(
            text="Of other rows, {high} % of {highest} are not selected and {low} % of {lowest}"
        ),
        "positive_predictive_value": Message(
            text="A selection is right for {high} % of {highest} and {low} % of {lowest}"
        ),
        "false_discovery_rate": Message(
            text="A selection is wrong for {high} % of {highest} and {low} % of {lowest}"
        ),
        "negative_predictive_value": Message(
            text="A rejection is right for {high} % of {highest} and {low} % of {lowest}"
        ),
        "false_omission_rate": Message(
            text="A rejection is wrong for {high} % of {highest} and {low} % of {lowest}"
        ),
        "accuracy": Message(text="Predictions are right for {high} % of {highest} and {low} % of {lowest}"),
        "base_rate": Message(text="{high} % of {highest} are labelled positive, {low} % of {lowest}"),
    }
)

NOT_SHOWN = MappingProxyType(
    {
        "selection_rate": Message(text="Selection rates across {attribute}: no gap beyond chance is shown"),
        "true_positive_rate": Message(
            text="True-positive rates across {attribute}: no gap beyond chance is shown"
        ),
        "false_negative_rate": Message(
            text="False-negative rates across {attribute}: no gap beyond chance is shown"
        ),
        "false_positive_rate": Message(
            text="False-positive rates across {attribute}: no gap beyond chance is shown"
        ),
        "true_negative_rate": Message(
            text="True-negative rates across {attribute}: no gap beyond chance is shown"
        ),
        "positive_predictive_value": Message(
            text="Positive predictive values across {attribute}: no gap beyond chance is shown"
        ),
        "false_discovery_rate": Message(
            text="False-discovery rates across {attribute}: no gap beyond chance is shown"
        ),
        "negative_predictive_value": Message(
            text="Negative predictive values across {attribute}: no gap beyond chance is shown"
        ),
        "false_omission_rate": Message(
            text="False-omission rates across {attribute}: no gap beyond chance is shown"
        ),
        "accuracy": Message(text="Accuracy across {attribute}: no gap beyond chance is shown"),
        "base_rate": Message(text="Base rates across {attribute}: no gap beyond chance is shown"),
    }
)


def rate_chart(found: GroupRates, overall: float | None, *, small_group: int) -> Dots:
    """One dot with its interval per group, against the rate of all rows."""
    marks = tuple(
        Mark(
            label=label,
            estimate=_estimate(found, group),
            small=int(found.rates.n[group]) < small_group,
        )
        for group, label in enumerate(found.grouping.labels)
    )
    return Dots(
        title=_title(found),
        axis=AXES[found.metric.name],
        marks=marks,
        reference=overall,
        reference_label=None if overall is None else Message(text="all rows"),
        low=0.0,
        high=1.0,
    )


def count_table(grouping: Grouping, cells: Cells, *, has_positive: bool) -> Table:
    """Rows of every group and what became of them, unweighted."""
    n = cells.n
    sizes = n.sum(axis=1)
    smallest = int(sizes.argmin())
    title = Message(
        text="{n} rows in {k} groups of {attribute}; the smallest, {smallest}, has {rows}",
        values={
            "n": int(sizes.sum()),
            "k": len(grouping.combinations),
            "attribute": grouping.title,
            "smallest": grouping.labels[smallest],
            "rows": int(sizes[smallest]),
        },
    )
    columns = [Message(text="Group"), Message(text="Rows")]
    if has_positive:
        columns += [
            Message(text="True positives"),
            Message(text="False negatives"),
            Message(text="False positives"),
            Message(text="True negatives"),
        ]
        counted = np.column_stack([sizes, n[:, 0], n[:, 1], n[:, 2], n[:, 3] + n[:, 4]])
    else:
        columns += [Message(text="Right"), Message(text="Wrong")]
        counted = np.column_stack([sizes, n[:, 3], n[:, 4]])
    rows: list[tuple[Cell, ...]] = [
        (label, *(int(count) for count in counts))
        for label, counts in zip(grouping.labels, counted, strict=True)
    ]
    return Table(title=title, columns=tuple(columns), rows=tuple(rows))


def _estimate(found: GroupRates, group: int) -> Estimate:
    n = int(found.rates.n[group])
    interval = found.interval(group)
    if interval is None:
        return Estimate(value=None, n=n, missing=empty_denominator(found.metric, n))
    return Estimate(value=float(found.rates.value[group]), low=interval.low, high=interval.high, n=n)


def _title(found: GroupRates) -> Message:
    gap, pair = found.difference, found.clearest
    if gap is None or pair is None:
        return Message(
            text="Fewer than two groups of {attribute} can be compared",
            values={"attribute": found.grouping.title},
        )
    if gap.interval.low <= 0:
        return Message(text=NOT_SHOWN[found.metric.name].text, values={"attribute": found.grouping.title})
    lowest, highest = pair
    low_rate, high_rate = float(found.rates.value[lowest]), float(found.rates.value[highest])
    digits = 0 if round(100 * low_rate) != round(100 * high_rate) else 1
    return Message(
        text=SHOWN[found.metric.name].text,
        values={
            "lowest": found.grouping.labels[lowest],
            "low": f"{100 * low_rate:.{digits}f}",
            "highest": found.grouping.labels[highest],
            "high": f"{100 * high_rate:.{digits}f}",
            "percent": f"{100 * low_rate / high_rate:.0f}",
        },
    )
