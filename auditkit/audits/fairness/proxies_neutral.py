"""How much of a gap between two groups hangs on one input."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.fairness.proxies_rows import AttributeRows
from auditkit.data.dataset import BoolArray, Dataset, FloatArray
from auditkit.records import Interval
from auditkit.statistics.clustered import variance_of_sum
from auditkit.statistics.intervals import clopper_pearson, critical_value
from auditkit.subjects.subject import Subject

SHUFFLES = 3
"""Each row is asked about with the value of so many other rows."""


@dataclass(frozen=True, slots=True)
class CarriedGap:
    """What of a gap goes away when an input no longer tells the groups apart.

    Attributes:
        lower: Index of the level that is selected less often.
        higher: Index of the level that is selected more often.
        gap: Their difference with the inputs as they are.
        carried: By how much it is smaller with the input shuffled among all rows.
        interval: Of ``carried``, over the rows, which are judged both ways.
        n: Rows of the two groups.
    """

    lower: int
    higher: int
    gap: float
    carried: float
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The subject, its rows, and which of them it selects.

    Attributes:
        subject: Who selects.
        data: All rows with weight.
        positive: Class that is the favourable one.
        selected: With the inputs as they are, shape ``(n,)``.
        batch_size: Rows at once.
    """

    subject: Subject
    data: Dataset
    positive: int
    selected: BoolArray
    batch_size: int


def carried_gap(
    selection: Selection,
    columns: Sequence[int],
    rows: AttributeRows,
    *,
    rng: np.random.Generator,
    confidence: float,
) -> CarriedGap:
    """Shuffle one input among all rows and judge again.

    Args:
        selection: Subject, rows and what it selects.
        columns: Input columns of the feature.
        rows: The rows whose groups are compared; the two groups that are furthest apart are taken.
        rng: Shuffles.
        confidence: Of the interval.
    """
    steps = selection.selected.astype(np.float64) - _share_selected(selection, columns, rng)
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    selected, step = selection.selected[rows.index].astype(np.float64), steps[rows.index]
    groups = [rows.codes == code for code in range(len(rows.levels))]
    rates = [float(np.average(selected[group], weights=weights[group])) for group in groups]
    higher, lower = int(np.argmax(rates)), int(len(rates) - 1 - np.argmin(rates[::-1]))
    influence = np.zeros(len(rows))
    carried = 0.0
    for group, sign in ((groups[higher], 1.0), (groups[lower], -1.0)):
        mean = float(np.average(step[group], weights=weights[group]))
        share = weights[group] / weights[group].sum()
        influence[group] += sign * share * (step[group] - mean)
        carried += sign * mean
    sizes = [_persons(rows, group) for group in (groups[higher], groups[lower])]
    interval = _interval(carried, influence, rows, sizes, confidence)
    n = int(groups[higher].sum() + groups[lower].sum())
    return CarriedGap(lower, higher, rates[higher] - rates[lower], carried, interval, n)


def _share_selected(selection: Selection, columns: Sequence[int], rng: np.random.Generator) -> FloatArray:
    """How often each row is selected with the values of other rows in ``columns``."""
    data, place = selection.data, torch.tensor(list(columns))
    total = np.zeros(len(data))
    for _ in range(SHUFFLES):
        donors = torch.from_numpy(rng.permutation(len(data)))
        inputs = data.inputs.clone()
        inputs[:, place] = data.inputs[donors][:, place]
        asked = replace(data, inputs=inputs)
        total += (
            selection.subject.predict(asked, batch_size=selection.batch_size).y_pred == selection.positive
        )
    return total / SHUFFLES


def _persons(rows: AttributeRows, group: BoolArray) -> int:
    return int(group.sum()) if rows.units is None else len(np.unique(rows.units[group]))


def _interval(
    value: float, influence: FloatArray, rows: AttributeRows, sizes: Sequence[int], confidence: float
) -> Interval:
    """Normal; where no row was judged otherwise, what so many rows leave possible."""
    variance = variance_of_sum(influence, rows.units)
    if variance > 0:
        reach, method = critical_value(confidence) * variance**0.5, "paired-normal"
    else:
        reach = sum(clopper_pearson(0, size, confidence=confidence).high for size in sizes)
        method = "clopper-pearson"
    return Interval(
        low=max(-2.0, value - reach), high=min(2.0, value + reach), confidence=confidence, method=method
    )
