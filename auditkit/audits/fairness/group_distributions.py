"""How far the predictions of groups differ as a whole, where there are several classes."""

import numpy as np

from auditkit.audits.fairness.group_classes import absent, across_groups
from auditkit.audits.fairness.groupings import Grouping
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.class_distances import (
    cramers_v,
    cramers_v_bounds,
    largest_total_variation,
    macro_f1,
    macro_f1_bounds,
    macro_f1_influence,
)
from auditkit.statistics.clusters import design_effects
from auditkit.statistics.counts import METRICS, CountTable, FloatArray, rates
from auditkit.statistics.simultaneous import largest_gap, pair_confidence

N_DRAWS = 4000
FEWEST_DRAWS = 200
MOST_DRAWN = 4_000_000
"""Numbers drawn in all: 32 MB."""


def distribution_measurements(
    grouping: Grouping, table: CountTable, confidence: float, rng: np.random.Generator
) -> list[Measurement]:
    """How far the classes predicted differ between groups: total variation and association."""
    names = ("predicted_classes.total_variation", "predicted_classes.cramers_v")
    weight = table.weight.sum(axis=1)
    compared = np.flatnonzero(grouping.known & (weight.sum(axis=1) > 0))
    if len(compared) < 2:
        return [absent(grouping, name, _too_few(grouping)) for name in names]
    shares = weight[compared] / weight[compared].sum(axis=1, keepdims=True)
    size = _effective_rows(table, shares, compared)
    rows = int(table.n[compared].sum())
    n_draws = max(FEWEST_DRAWS, min(N_DRAWS, MOST_DRAWN // shares.size))
    found = largest_total_variation(shares, size, confidence=confidence, n_draws=n_draws, rng=rng)
    if found is None:
        return [absent(grouping, name, _too_few(grouping)) for name in names]
    a, b = (grouping.labels[int(compared[group])] for group in found.pair)
    distance = across_groups(
        grouping,
        names[0],
        found.value,
        (found.low, found.high),
        confidence,
        n=int(table.n[compared[list(found.pair)]].sum()),
        note=Message(
            text="{first} and {second}. Samples of these sizes would show about {chance} by chance alone.",
            values={"first": a, "second": b, "chance": round(found.by_chance, 4)},
        ),
        method="multinomial error bound",
    )
    effective = shares * size[:, None]
    strength = cramers_v(effective)
    if strength is None:
        reason = Message(text="Only one class is predicted, so there is nothing to be associated with.")
        return [distance, absent(grouping, names[1], reason)]
    ends = cramers_v_bounds(effective, confidence=confidence)
    note = Message(text="Corrected for bias (Bergsma 2013).")
    return [
        distance,
        across_groups(
            grouping, names[1], strength, ends, confidence, n=rows, note=note, method="noncentral chi-square"
        ),
    ]


def macro_f1_measurements(grouping: Grouping, table: CountTable, confidence: float) -> list[Measurement]:
    """Macro-averaged F1 of every group and the gap between groups."""
    value = macro_f1(table.weight)
    counts = _effective_counts(table)
    low, high = macro_f1_bounds(counts, confidence)
    measurements = []
    for group, name in enumerate(grouping.groups):
        n, is_defined = int(table.n[group].sum()), bool(np.isfinite(value[group]))
        ends = Interval(
            low=float(min(low[group], value[group])) if is_defined else 0.0,
            high=float(max(high[group], value[group])) if is_defined else 1.0,
            confidence=confidence,
            method="delta-method",
        )
        measurements.append(
            Measurement(
                metric="macro_f1",
                value=float(value[group]) if is_defined else None,
                n=n,
                better="higher",
                group=name,
                interval=ends if is_defined else None,
                missing=None if is_defined else Message(text="The group has no rows here."),
            )
        )
    compared = np.flatnonzero(np.isfinite(value) & grouping.known)
    if len(compared) < 2:
        return [*measurements, absent(grouping, "macro_f1.difference", _too_few(grouping))]
    joint = macro_f1_bounds(counts[compared], pair_confidence(len(compared), confidence))
    gap = largest_gap(
        value[compared],
        joint,
        (low[compared], high[compared]),
        confidence=confidence,
        method="simultaneous-delta-method",
    )
    if gap is None:
        return [*measurements, absent(grouping, "macro_f1.difference", _too_few(grouping))]
    note = Message(
        text="Lowest: {lowest}. Highest: {highest}.",
        values={
            "lowest": grouping.labels[int(compared[gap.lowest])],
            "highest": grouping.labels[int(compared[gap.highest])],
        },
    )
    difference = across_groups(
        grouping,
        "macro_f1.difference",
        gap.value,
        (gap.interval.low, gap.interval.high),
        confidence,
        n=int(table.n[compared].sum()),
        note=note,
        method=gap.interval.method,
    )
    return [*measurements, difference]


def _effective_rows(table: CountTable, shares: FloatArray, compared: np.ndarray) -> FloatArray:
    """One number of rows per group: design effects of the classes are averaged (Rao and Scott 1981)."""
    sizes = np.column_stack(
        [
            rates(table.cells(index), METRICS["selection_rate"]).effective_n[compared]
            for index in range(shares.shape[1])
        ]
    )
    spread = shares * (1 - shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = spread.sum(axis=1) / (spread / sizes).sum(axis=1)
    return np.asarray(np.where(spread.sum(axis=1) > 0, mean, sizes.min(axis=1)), dtype=np.float64)


def _effective_counts(table: CountTable) -> FloatArray:
    """Counts scaled to the effective number of rows of every group."""
    n_groups, k = table.n.shape[:2]
    total, squared = table.weight.sum(axis=(1, 2)), table.weight_squared.sum(axis=(1, 2))
    scale = np.divide(total, squared, out=np.zeros_like(total), where=squared > 0)
    if table.persons is not None:
        flat = (n_groups, k * k)
        scale = scale / design_effects(
            table.persons,
            table.n.reshape(flat),
            table.weight_squared.reshape(flat),
            macro_f1_influence(table.weight).reshape(flat),
            np.ones(flat),
        )
    return np.asarray(table.weight * scale[:, None, None], dtype=np.float64)


def _too_few(grouping: Grouping) -> Message:
    return Message(
        text="Fewer than two known groups of {attribute} have rows.", values={"attribute": grouping.title}
    )
