"""Making counterfactuals smaller: features back to what they were, numbers closer to it, digits fewer."""

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.audits.explainability.counterfactuals.features import NumberFeature, is_other
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

HALVINGS = 12
"""Of the way between a number that turns the decision and one that does not."""

MOST_PAIRS = 64
"""Features of one row that are tried alone in one pass: those that moved least."""

MOST_SHRUNK = 32
"""Numbers of one row that are moved closer one after the other: those that moved most."""

TIDY = 0.005
"""Share by which a change may grow so that it can be written with fewer digits."""


def refine(search: Search, rows: IntArray) -> None:
    """Make the best known counterfactual of each row smaller; rows without one are left alone."""
    rows = rows[search.best.known[rows]]
    if not len(rows):
        return
    if search.distance.norm == "L1":
        # before numbers move closer: at the very edge of the decision nothing can be spared any more
        _drop_together(search, rows)
        _drop_single(search, rows)
    _shrink_together(search, rows)
    _drop_single(search, rows)
    _shrink_single(search, rows)
    _tidy(search, rows)


def _take(search: Search, rows: IntArray, values: FloatArray, turned: BoolArray) -> None:
    kept = rows[turned]
    search.best.offer(kept, values[turned], search.far(values[turned], kept))


def _changes(search: Search, rows: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Values, own values and where they differ."""
    values, own = search.best.values[rows], search.judge.own[rows]
    return values, own, np.asarray(is_other(values, own))


def _drop_together(search: Search, rows: IntArray) -> None:
    """As many of the smallest changes back as can go together, found by bisection."""
    values, own, changed = _changes(search, rows)
    cost = np.where(changed, search.distance.by_feature(values, own), np.inf)
    rank = np.argsort(np.argsort(cost, axis=1, kind="stable"), axis=1, kind="stable")
    most = changed.sum(axis=1)
    kept, lost = np.zeros(len(rows), dtype=np.int64), most.copy()
    while bool((lost - kept > 1).any()):
        open_rows = np.flatnonzero(lost - kept > 1)
        middle = (kept + lost)[open_rows] // 2
        tried = np.where(rank[open_rows] < middle[:, None], own[open_rows], values[open_rows])
        turned = search.judge.turns(tried, rows[open_rows])
        _take(search, rows[open_rows], tried, turned)
        kept[open_rows] = np.where(turned, middle, kept[open_rows])
        lost[open_rows] = np.where(turned, lost[open_rows], middle)


def _drop_single(search: Search, rows: IntArray) -> None:
    """Again and again the largest change back that can be spared, until none can."""
    left = rows
    while len(left):
        values, own, changed = _changes(search, left)
        cost = search.distance.by_feature(values, own)
        order = np.argsort(np.where(changed, cost, np.inf), axis=1, kind="stable")[:, :MOST_PAIRS]
        row, place = np.nonzero(np.take_along_axis(changed, order, axis=1))
        feature = order[row, place]
        tried = values[row].copy()
        tried[np.arange(len(row)), feature] = own[row, feature]
        turned = search.judge.turns(tried, left[row])
        saved = np.full((len(left), values.shape[1]), -np.inf)
        saved[row[turned], feature[turned]] = cost[row[turned], feature[turned]]
        spared = np.flatnonzero(np.isfinite(saved.max(axis=1)))
        again = values[spared].copy()
        chosen = saved[spared].argmax(axis=1)
        again[np.arange(len(spared)), chosen] = own[spared, chosen]
        _take(search, left[spared], again, np.ones(len(spared), dtype=np.bool_))
        left = left[spared]


def _shrink_together(search: Search, rows: IntArray) -> None:
    """All numbers closer by one factor."""
    numbers = search.judge.table.is_number
    _, _, changed = _changes(search, rows)
    moved = np.zeros_like(changed)
    moved[:, numbers] = changed[:, numbers]
    _halve(search, rows, moved)


def _shrink_single(search: Search, rows: IntArray) -> None:
    """One number after the other closer, the one that moved most first."""
    numbers = search.judge.table.is_number
    values, own, changed = _changes(search, rows)
    cost = np.where(changed, search.distance.by_feature(values, own), 0.0)[:, numbers]
    order = np.argsort(-cost, axis=1, kind="stable")
    for place in range(min(order.shape[1], MOST_SHRUNK)):
        chosen = numbers[order[:, place]]
        some = np.flatnonzero(cost[np.arange(len(rows)), order[:, place]] > 0)
        if not len(some):
            break
        moved = np.zeros((len(some), values.shape[1]), dtype=np.bool_)
        moved[np.arange(len(some)), chosen[some]] = True
        _halve(search, rows[some], moved)


def _halve(search: Search, rows: IntArray, moved: BoolArray) -> None:
    """Bisect between the own values of the moved features, and what they are now."""
    values, own = search.best.values[rows], search.judge.own[rows]
    bounds = search.bounds.take(rows)
    near, far = np.zeros(len(rows)), np.ones(len(rows))
    before = values
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        way = own + middle[:, None] * (values - own)
        tried = bounds.project(np.where(moved, way, values))
        new = np.flatnonzero(is_other(tried, before).any(axis=1))
        if not len(new):
            break
        turned = np.zeros(len(rows), dtype=np.bool_)
        turned[new] = search.judge.turns(tried[new], rows[new])
        same_as_best = ~is_other(tried, search.best.values[rows]).any(axis=1)
        turned |= same_as_best
        _take(search, rows, tried, turned)
        far = np.where(turned, middle, far)
        near = np.where(turned, near, middle)
        before = tried


def _tidy(search: Search, rows: IntArray) -> None:
    """Continuous numbers with as few digits as the change allows, rounded away from what they were."""
    values, own, changed = _changes(search, rows)
    bounds = search.bounds.take(rows)
    tried = values.copy()
    for j, feature in enumerate(search.judge.table.features):
        if isinstance(feature, NumberFeature) and feature.decimals is None:
            some = np.flatnonzero(changed[:, j])
            rounded = _rounded_away(values[some, j], own[some, j])
            inside = (bounds.low[some, j] <= rounded) & (rounded <= bounds.high[some, j])
            tried[some, j] = np.where(inside, rounded, values[some, j])
    new = np.flatnonzero(is_other(tried, values).any(axis=1))
    if not len(new):
        return
    turned = new[search.judge.turns(tried[new], rows[new])]
    search.best.values[rows[turned]] = tried[turned]
    search.best.distance[rows[turned]] = search.far(tried[turned], rows[turned])


def _rounded_away(values: FloatArray, own: FloatArray) -> FloatArray:
    change = values - own
    decimals = -np.floor(np.log10(TIDY * np.abs(change)))
    grid = 10.0**-decimals
    steps = np.where(change > 0, np.ceil(values / grid), np.floor(values / grid))
    return np.asarray(np.round(steps * grid, 12))
