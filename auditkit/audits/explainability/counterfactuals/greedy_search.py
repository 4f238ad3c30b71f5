"""Counterfactuals without gradients, one feature after the other: the change that does most for its distance.

A subject that answers with labels alone shows no progress before the decision turns; of it only single
changes are tried this way.
"""

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.audits.explainability.counterfactuals.features import LevelFeature, is_other
from auditkit.data.dataset import FloatArray, IntArray

MOST_CHANGES = 8
"""Of one row; each is followed by the best next one."""

PARTS = (0.125, 0.25, 0.5, 1.0)
"""Of the way of a number to its smallest and its largest value."""

MOST_LEVELS_TRIED = 64
"""Of one feature; the first of them."""

_ENTRIES = 4_000_000


def greedy_search(search: Search, rows: IntArray) -> None:
    """Change each row feature by feature until its decision turns or nothing helps."""
    n_moves = sum(_n_moves(search, j) for j in range(search.judge.own.shape[1]))
    step = max(1, _ENTRIES // max(1, n_moves * search.judge.own.shape[1]))
    for start in range(0, len(rows), step):
        _change_on(search, rows[start : start + step])


def _n_moves(search: Search, feature: int) -> int:
    one = search.judge.table.features[feature]
    return min(len(one.levels), MOST_LEVELS_TRIED) if isinstance(one, LevelFeature) else 2 * len(PARTS)


def _change_on(search: Search, rows: IntArray) -> None:
    values, lead = search.judge.own[rows].copy(), search.judge.lead(search.judge.own[rows], rows)
    for _ in range(MOST_CHANGES):
        if not len(rows):
            return
        tried = _moves(search, rows, values)
        n, m = tried.shape[:2]
        if not m:
            return
        is_new = is_other(tried, values[:, None]).any(axis=2)
        row, move = np.nonzero(is_new)
        leads = np.full((n, m), -np.inf)
        leads[row, move] = search.judge.lead(tried[row, move], rows[row])
        far = search.distance.total(tried, search.judge.own[rows][:, None])
        turned = search.judge.is_turned(leads)
        nearest = np.where(turned, far, np.inf).argmin(axis=1)
        found = turned.any(axis=1)
        search.best.offer(
            rows[found], tried[found, nearest[found]], far[np.flatnonzero(found), nearest[found]]
        )
        more = far - search.distance.total(values, search.judge.own[rows])[:, None]
        with np.errstate(invalid="ignore"):
            worth = np.where(is_new, (leads - lead[:, None]) / np.maximum(more, 1e-6), -np.inf)
        chosen = worth.argmax(axis=1)
        gained = leads[np.arange(n), chosen] > lead
        left = np.flatnonzero(~found & gained)
        values, lead, rows = tried[left, chosen[left]], leads[left, chosen[left]], rows[left]


def _moves(search: Search, rows: IntArray, values: FloatArray) -> FloatArray:
    """Every single change that is tried, shape ``(n, m, f)``."""
    bounds, moves = search.bounds.take(rows), []
    for j, feature in enumerate(search.judge.table.features):
        if not bounds.movable[:, j].any():
            continue
        if isinstance(feature, LevelFeature):
            ends = [np.full(len(rows), float(level)) for level in range(_n_moves(search, j))]
        else:
            own = bounds.own[:, j]
            sides = (bounds.low[:, j], bounds.high[:, j])
            ends = [own + part * (side - own) for side in sides for part in PARTS]
        for end in ends:
            moved = values.copy()
            moved[:, j] = end
            moves.append(moved)
    if not moves:
        return np.zeros((len(rows), 0, values.shape[1]))
    return search.bounds.take(rows).project(np.stack(moves, axis=1))
