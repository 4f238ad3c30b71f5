"""The chart and the table behind figures of inequality."""

import numpy as np
from scipy.stats import t

from auditkit.audits.fairness.groupings import Grouping
from auditkit.data.dataset import FloatArray
from auditkit.records import Cell, Dots, Estimate, Mark, Message, Table
from auditkit.statistics.counts import Cells
from auditkit.statistics.inequality import BENEFITS

MOST_SHOWN = 60
"""Groups drawn: the largest ones."""


def benefit_chart(
    grouping: Grouping, counts: FloatArray, rows: FloatArray, *, small_group: int, confidence: float
) -> Dots:
    """Mean benefit of every group with rows; 1 is what the labels say."""
    n = counts.sum(axis=1)
    shown = np.sort(np.argsort(-n, kind="stable")[:MOST_SHOWN])
    shown = shown[n[shown] > 0]
    estimates = {int(group): _mean_benefit(counts[group], confidence) for group in shown}
    values = {group: one.value for group, one in estimates.items() if one.value is not None}
    lowest, highest = min(values, key=lambda g: values[g]), max(values, key=lambda g: values[g])
    return Dots(
        title=Message(
            text="Mean benefit: {low} for {lowest}, {high} for {highest}; the labels give 1",
            values={
                "lowest": grouping.labels[lowest],
                "low": f"{values[lowest]:.2f}",
                "highest": grouping.labels[highest],
                "high": f"{values[highest]:.2f}",
            },
        ),
        caption=Message(
            text="The benefit is 0 where a favourable label is refused, 2 where one is given without, else 1."
        ),
        axis=Message(text="Mean benefit"),
        marks=tuple(
            Mark(label=grouping.labels[group], estimate=one, small=bool(rows[group] < small_group))
            for group, one in estimates.items()
        ),
        reference=1.0,
        reference_label=Message(text="as labelled"),
        low=0.0,
        high=2.0,
    )


def _mean_benefit(counts: FloatArray, confidence: float) -> Estimate:
    n = float(counts.sum())
    mean = float(counts @ BENEFITS / n)
    if n < 2:
        return Estimate(value=mean, n=int(n))
    variance = max(0.0, float(counts @ BENEFITS**2 / n) - mean**2) * n / (n - 1)
    # half a row of each benefit more says something where no error was seen
    padded = counts + 0.5
    floor = float(padded @ BENEFITS**2 / padded.sum() - (padded @ BENEFITS / padded.sum()) ** 2)
    reach = float(t.ppf((1 + confidence) / 2, n - 1)) * (max(variance, floor) / n) ** 0.5
    return Estimate(value=mean, low=max(0.0, mean - reach), high=min(2.0, mean + reach), n=int(n))


def benefit_table(grouping: Grouping, cells: Cells) -> Table:
    """Rows of every group by benefit, unweighted."""
    n = cells.n
    sizes = n.sum(axis=1)
    names = grouping.labels
    refused, granted = int(n[:, 1].sum()), int(n[:, 2].sum())
    rows: list[tuple[Cell, ...]] = [
        (
            names[group],
            int(sizes[group]),
            int(n[group, 1]),
            int(sizes[group] - n[group, 1:3].sum()),
            int(n[group, 2]),
        )
        for group in np.argsort(-sizes, kind="stable")[:MOST_SHOWN]
    ]
    return Table(
        title=Message(
            text="{refused} of {n} rows are refused a favourable label, {granted} are granted one without",
            values={"refused": refused, "n": int(sizes.sum()), "granted": granted},
        ),
        columns=(
            Message(text="Group"),
            Message(text="Rows"),
            Message(text="Benefit 0"),
            Message(text="Benefit 1"),
            Message(text="Benefit 2"),
        ),
        rows=tuple(rows),
    )
