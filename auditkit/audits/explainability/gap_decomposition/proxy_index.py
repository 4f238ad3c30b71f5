"""How much a feature moves the score and how well it tells the group, in one number."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.gap_decomposition.compared_groups import Comparison
from auditkit.audits.explainability.gap_decomposition.score_parts import ScoreParts
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.class_distances import cramers_v
from auditkit.statistics.intervals import percentile_interval


@dataclass(frozen=True, slots=True)
class ProxyIndex:
    """One feature and one attribute.

    Attributes:
        share: Of the mean absolute parts of all features.
        association: With the group: Cramér's V of levels, the largest ``|2 AUC - 1|`` of a number for any
            group against the others; in ``[0, 1]``.
        value: Their product.
        interval: Of the product; ``None`` where it was undefined too often.
    """

    share: float
    association: float
    value: float
    interval: Interval | None


def proxy_indices(
    parts: ScoreParts,
    data: Dataset,
    comparison: Comparison,
    *,
    n_bootstrap: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, ProxyIndex]:
    """Of every feature by its name; empty where no feature moves the score.

    Args:
        parts: Of all rows.
        data: The same rows.
        comparison: Groups; rows of none are left out.
        n_bootstrap: Samples of persons (or rows) behind the intervals.
        confidence: Of each interval.
        rng: Draws the samples.
    """
    rows = np.flatnonzero(comparison.known)
    size = np.abs(parts.values[rows])
    weight = np.ones(len(rows)) if data.sample_weight is None else data.sample_weight[rows]
    if not (weight @ size).sum() > 0:
        return {}
    units = rows if data.person is None else data.person[rows]
    _, unit = np.unique(units, return_inverse=True)
    unit = unit.reshape(-1)
    people = int(unit.max()) + 1
    times = rng.multinomial(people, np.full(people, 1 / people), size=n_bootstrap)
    # the first sample is the rows themselves
    weights = np.concatenate([np.ones((1, len(rows))), times[:, unit]]) * weight
    totals = weights @ size
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = totals / totals.sum(axis=1, keepdims=True)
    columns = data.inputs.detach().cpu().double().numpy()[rows]
    found = {}
    for index, (name, own) in enumerate(zip(parts.names, _blocks(data, len(parts.names)), strict=True)):
        told = _association(columns[:, own], comparison.codes[rows], weights)
        products = shares[:, index] * told
        value = float(products[0])
        interval = percentile_interval(products[1:], value, confidence=confidence)
        found[name] = ProxyIndex(float(shares[0, index]), float(told[0]), value, interval)
    return found


def _blocks(data: Dataset, n_features: int) -> list[IntArray]:
    """The columns of each feature."""
    owner = np.array(data.features.owner or range(n_features), dtype=np.int64)
    return [np.flatnonzero(owner == index) for index in range(n_features)]


def _association(block: FloatArray, codes: IntArray, weights: FloatArray) -> FloatArray:
    """Of a feature with the group, for every sample; NaN where a group is absent. Shape ``(samples,)``."""
    if block.shape[1] == 1 and len(np.unique(block[:, 0])) > 2:
        return _of_number(block[:, 0], codes, weights)
    values = np.unique(block, axis=0, return_inverse=True)[1].reshape(-1)
    return _of_levels(values, codes, weights)


def _of_number(values: FloatArray, codes: IntArray, weights: FloatArray) -> FloatArray:
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values[order]) > 0]))
    told = []
    for code in range(int(codes.max()) + 1):
        own = np.add.reduceat(weights[:, order] * (codes[order] == code), starts, axis=1)
        others = np.add.reduceat(weights[:, order] * (codes[order] != code), starts, axis=1)
        below = np.cumsum(others, axis=1) - others / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            area = (own * below).sum(axis=1) / (own.sum(axis=1) * others.sum(axis=1))
        told.append(np.abs(2 * area - 1))
    return np.asarray(np.max(told, axis=0))


def _of_levels(values: IntArray, codes: IntArray, weights: FloatArray) -> FloatArray:
    k, g = int(values.max()) + 1, int(codes.max()) + 1
    cells = values * g + codes
    # tables of weights as if every row weighed one on average, so that the correction for bias fits
    scale = len(codes) / weights.sum(axis=1, keepdims=True)
    tables = [
        np.bincount(cells, weights=one, minlength=k * g).reshape(k, g).astype(np.float64)
        for one in weights * scale
    ]
    found = [cramers_v(table) for table in tables]
    return np.array([0.0 if one is None else one for one in found], dtype=np.float64)
