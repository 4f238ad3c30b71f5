"""Counterfactuals without gradients: a row follows others that are decided as it should be."""

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

ROUND, ROUNDS = 16, 4
"""How many of the nearest are tried at once, and how often."""

_ENTRIES = 4_000_000


def neighbour_search(search: Search, rows: IntArray, others: FloatArray, decided: IntArray) -> None:
    """Give each row the values of the nearest rows of its target that its constraints permit.

    Args:
        search: What is known and wanted.
        rows: Which rows of the search.
        others: Values of rows of the same table, shape ``(m, f)``.
        decided: Their predicted classes, shape ``(m,)``.
    """
    target = search.judge.target[rows]
    for wanted in np.unique(target):
        pool = others[decided == wanted]
        if len(pool):
            _among(search, rows[target == wanted], pool)


def _among(search: Search, rows: IntArray, pool: FloatArray) -> None:
    step = max(1, _ENTRIES // pool.size)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        near = _nearest(search, some, pool)
        is_open = np.ones(len(some), dtype=np.bool_)
        for turn in range(0, near.shape[1], ROUND):
            left = np.flatnonzero(is_open)
            candidates = near[left, turn : turn + ROUND]
            if not candidates.size:
                break
            is_open[left] = ~_try(search, some[left], candidates)


def _nearest(search: Search, rows: IntArray, pool: FloatArray) -> FloatArray:
    """What each row becomes by following the nearest of the pool, shape ``(n, k, f)``, the nearest first."""
    followed = search.bounds.take(rows).project(np.broadcast_to(pool, (len(rows), *pool.shape)))
    far = search.distance.total(followed, search.judge.own[rows][:, None])
    order = np.argsort(far, axis=1, kind="stable")[:, : ROUND * ROUNDS]
    return np.take_along_axis(followed, order[:, :, None], axis=1)


def _try(search: Search, rows: IntArray, candidates: FloatArray) -> BoolArray:
    """Propose all candidates of every row; whether one of them turns the decision."""
    n, k, width = candidates.shape
    flat = candidates.reshape(n * k, width)
    lead = search.judge.lead(flat, np.repeat(rows, k)).reshape(n, k)
    turns = search.judge.is_turned(lead)
    first = turns.argmax(axis=1)
    found = turns.any(axis=1)
    values = candidates[np.arange(n), first][found]
    search.best.offer(rows[found], values, search.far(values, rows[found]))
    return np.asarray(found)
