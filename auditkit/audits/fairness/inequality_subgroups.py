"""How much weight a subgroup's rate has, and how far crossed groups lie from what their parts would give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.groupings import Grouping
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.comparisons import newcombe_bounds
from auditkit.statistics.counts import Cells, RateMetric, rates
from auditkit.statistics.intervals import Bounds, clopper_pearson_bounds, critical_value, wilson_bounds

MOST_CELLS = 1000
"""Crossed groups compared with their margins; more have no rows each worth a figure."""


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest of several figures.

    Attributes:
        value: Its size, without sign.
        interval: That holds although the largest was picked.
        label: Of which group.
        signed: The figure with its sign.
        n: Rows of the group in the denominator.
    """

    value: float
    interval: Interval
    label: str
    signed: float
    n: int


def subgroup_unfairness(
    divisions: Sequence[tuple[Grouping, Cells]], metric: RateMetric, confidence: float
) -> Largest | None:
    """Largest ``P(subgroup, in the denominator) * |rate of all - rate of subgroup|`` over known subgroups.

    Args:
        divisions: Groupings that divide the same rows, each with the cells of all its groups.
        metric: Which rate.
        confidence: Of the interval.

    Returns:
        ``None`` where no subgroup has rows beside others in the denominator.

    Source:
        Kearns, Neel, Roth and Wu (2018), Preventing fairness gerrymandering, ICML, definitions 2.1 and 2.2.
    """
    parts = [_beside_rest(grouping, cells, metric) for grouping, cells in divisions]
    labels = [label for names, *_ in parts for label in names]
    if not labels:
        return None
    successes, n, factor, relative, rows = (
        np.concatenate([part[index] for part in parts], axis=-1) for index in range(1, 6)
    )
    gaps = successes[0] / n[0] - successes[1] / n[1]

    def bounds(level: float) -> Bounds:
        low, high = newcombe_bounds(successes[0], n[0], successes[1], n[1], confidence=level)
        # the factor is estimated too; its relative error adds to that of the gap
        spread = np.abs(gaps) * relative * critical_value(level)
        return gaps - np.hypot(gaps - low, spread), gaps + np.hypot(high - gaps, spread)

    return _largest(gaps, factor, bounds, labels=labels, rows=rows, confidence=confidence)


def excess_over_margins(
    grouping: Grouping, cells: Cells, metric: RateMetric, confidence: float
) -> Largest | None:
    """Largest distance of a crossed group's rate from what its attributes give when their effects add up.

    That is the sum of the rates of its levels, each over all rows with that level, less the overall rate as
    often as attributes were counted twice.

    Returns:
        ``None`` with fewer than two known crossed groups, or more than can be compared.
    """
    found = rates(cells, metric)
    kept = np.flatnonzero(found.defined)
    weight = (cells.weight @ np.array(metric.denominator))[kept]
    targets = np.flatnonzero(grouping.known[kept])
    if len(targets) < 2 or len(targets) > MOST_CELLS:
        return None
    coefficients = _coefficients([grouping.combinations[group] for group in kept], weight, targets)
    rate, n = found.value[kept], found.effective_n[kept]
    hits = np.minimum(found.successes[kept], n)
    values = coefficients @ rate

    def bounds(level: float) -> Bounds:
        exact = level == confidence
        low, high = (clopper_pearson_bounds if exact else wilson_bounds)(hits, n, confidence=level)
        below, above = (rate - low) ** 2, (high - rate) ** 2
        up, down = np.maximum(coefficients, 0) ** 2, np.minimum(coefficients, 0) ** 2
        return values - np.sqrt(up @ below + down @ above), values + np.sqrt(up @ above + down @ below)

    names = grouping.labels
    labels = [names[kept[target]] for target in targets]
    return _largest(
        values,
        np.ones(len(values)),
        bounds,
        labels=labels,
        rows=found.n[kept][targets],
        confidence=confidence,
    )


def _largest(
    values: FloatArray,
    factor: FloatArray,
    bounds: Callable[[float], Bounds],
    *,
    labels: Sequence[str],
    rows: IntArray,
    confidence: float,
) -> Largest:
    """The lower end allows for the picking among all, from above nothing is picked."""
    sizes = np.abs(values) * factor
    low, high = bounds(1 - (1 - confidence) / len(values))
    least, most = bounds(confidence)
    top = int(sizes.argmax())
    interval = Interval(
        low=max(0.0, float((factor * np.maximum(low, -high)).max())),
        high=float((factor * np.maximum(most, -least)).max()),
        confidence=confidence,
        method="simultaneous-newcombe",
    )
    return Largest(float(sizes[top]), interval, labels[top], float(values[top] * factor[top]), int(rows[top]))


def _beside_rest(
    grouping: Grouping, cells: Cells, metric: RateMetric
) -> tuple[list[str], FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Every known subgroup and all other rows, in the denominator.

    Labels; successes and sizes, shape ``(2, n)``; what turns the gap to the rest into the figure, and its
    relative standard error; rows.
    """
    everyone = cells.overall()
    rest = Cells(
        everyone.n - cells.n, everyone.weight - cells.weight, everyone.weight_squared - cells.weight_squared
    )
    own, others = rates(cells, metric), rates(rest, metric)
    is_compared = own.defined & others.defined & grouping.known & (own.n > 0) & (others.n > 0)
    kept = np.flatnonzero(is_compared)
    denominator = np.array(metric.denominator)
    weight = (cells.weight @ denominator)[kept]
    inside, total = float(everyone.weight[0] @ denominator), float(everyone.weight.sum())
    n = np.array([own.effective_n[kept], others.effective_n[kept]])
    successes = np.minimum(np.array([own.successes[kept], others.successes[kept]]), n)
    share = weight / inside if inside else weight
    part, size = inside / total if total else 0.0, n.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(
            (1 - 2 * share) ** 2 / (share * (1 - share) * size) + (1 - part) / np.maximum(size, 1)
        )
    names = grouping.labels
    labels = [names[group] for group in kept]
    return labels, successes, n, part * share * (1 - share), np.nan_to_num(relative), own.n[kept]


def _coefficients(
    combinations: Sequence[tuple[str, ...]], weight: FloatArray, targets: IntArray
) -> FloatArray:
    """What each group's rate counts for in the excess of each target, shape ``(n_targets, n_groups)``."""
    levels = np.array(combinations, dtype=object)
    n_attributes = levels.shape[1]
    matrix = np.tile((n_attributes - 1) * weight / weight.sum(), (len(targets), 1))
    for row, target in enumerate(targets):
        matrix[row, target] += 1
        for attribute in range(n_attributes):
            same = levels[:, attribute] == levels[target, attribute]
            matrix[row] -= np.where(same, weight, 0.0) / weight[same].sum()
    return matrix
