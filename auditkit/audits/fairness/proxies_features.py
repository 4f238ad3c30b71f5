"""Which single inputs tell a sensitive feature."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.proxies_rows import AttributeRows
from auditkit.data.dataset import FloatArray, GroupColumn, IntArray
from auditkit.statistics.intervals import effective_n
from auditkit.statistics.mutual_information import log_p_of_independence, step_down, uncertainty_removed

AT_ONCE = 8_000_000
"""Numbers of permuted levels that are counted together: 32 MB."""

MOST_LEVELS = 200
"""Of a feature; the rarer ones are counted as one."""


@dataclass(frozen=True, slots=True)
class FeatureInformation:
    """What one input tells.

    Attributes:
        name: Of the feature.
        removed: Share of the uncertainty about the level that knowing the feature removes, in ``[0, 1]``.
        p: Chance of so clear a dependence in any feature, were none there.
        is_shown: Whether ``p`` is small enough.
    """

    name: str
    removed: float
    p: float
    is_shown: bool


def feature_information(
    columns: Mapping[str, GroupColumn],
    rows: AttributeRows,
    *,
    n_permutations: int,
    rng: np.random.Generator,
    confidence: float,
) -> tuple[FeatureInformation, ...]:
    """Every feature that varies, the most telling first.

    Args:
        columns: Levels of the features, for all rows of the data.
        rows: The rows to count.
        n_permutations: Of the sensitive levels, the same ones for every feature.
        rng: Draws them.
        confidence: One minus the chance of showing any feature that tells nothing.
    """
    counted = {name: _levels_of(column.codes[rows.index]) for name, column in columns.items()}
    names = [name for name, codes in counted.items() if codes.max() > 0]
    if not names:
        return ()
    features = [counted[name] for name in names]
    k = len(rows.levels)
    observed = np.array([log_p_of_independence(_table(codes, rows.codes, k)) for codes in features])
    adjusted = step_down(observed, _permuted(features, rows, n_permutations, rng))
    size = len(rows) if rows.weights is None else effective_n(rows.weights)
    found = []
    for name, codes, p in zip(names, features, adjusted, strict=True):
        table = _table(codes, rows.codes, k, rows.weights)
        removed = uncertainty_removed(table, n=float(size))
        found.append(FeatureInformation(name, removed, float(p), bool(p <= 1 - confidence + 1e-12)))
    return tuple(sorted(found, key=lambda one: (-one.removed, one.p)))


def _levels_of(codes: IntArray) -> IntArray:
    """Codes of the levels that occur, the most frequent first."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank[inverse.reshape(-1)], MOST_LEVELS - 1)


def _table(codes: IntArray, levels: IntArray, k: int, weights: FloatArray | None = None) -> FloatArray:
    rows = int(codes.max()) + 1
    found = np.bincount(codes * k + levels, weights=weights, minlength=rows * k)
    return found.reshape(rows, k).astype(np.float64)


def _permuted(
    features: list[IntArray], rows: AttributeRows, number: int, rng: np.random.Generator
) -> FloatArray:
    """Log-p-values of every feature in every permutation, counted as products of indicators."""
    k = len(rows.levels)
    draws = iter(rows.permuted(number, rng))
    per_block = max(1, AT_ONCE // (len(rows) * k))
    parts = []
    for start in range(0, number, per_block):
        block = [next(draws) for _ in range(min(per_block, number - start))]
        levels = np.column_stack([codes[:, None] == np.arange(k) for codes in block]).astype(np.float32)
        found = []
        for codes in features:
            inside = (np.arange(int(codes.max()) + 1)[:, None] == codes).astype(np.float32)
            tables = (inside @ levels).reshape(len(inside), len(block), k).transpose(1, 0, 2)
            found.append(log_p_of_independence(tables))
        parts.append(np.column_stack(found))
    return np.concatenate(parts)
