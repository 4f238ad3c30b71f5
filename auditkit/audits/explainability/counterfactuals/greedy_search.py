"""Counterfactuals without gradients, one feature after the other: the change that does most for its distance.

A subject that answers with labels alone shows no progress before the decision turns; of it only single
changes are tried this way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.audits.explainability.counterfactuals.features import LevelFeature, is_other
from auditkit.audits.explainability.counterfactuals.judge import LEAD
from auditkit.data.dataset import FloatArray, IntArray

MOST_MOVES = 24
"""Of one row, one after the other; several may be about one feature."""

PARTS = (0.125, 0.25, 0.5, 1.0)
"""Of the way of a number to its smallest and its largest value."""

MOST_LEVELS_TRIED = 64
"""Of one feature; the first of them."""

SMALLEST_STEP = 1e-6
"""Distance that a move is taken to cost at least; a change taken back costs less than nothing."""

_ENTRIES = 4_000_000


def single_change(search: Search, rows: IntArray) -> None:
    """Give each row the nearest single change that turns its decision."""
    for some in _blocks(search, rows):
        moves = _Moves.of(search, some, search.judge.own[some])
        turned = search.judge.is_turned(moves.lead)
        found = np.flatnonzero(turned.any(axis=1))
        nearest = np.where(turned, moves.far, np.inf)[found].argmin(axis=1) if len(found) else found
        search.best.offer(some[found], moves.values[found, nearest], moves.far[found, nearest])


def greedy_path(search: Search, rows: IntArray) -> None:
    """Change each row feature by feature until its decision turns or nothing helps."""
    for some in _blocks(search, rows):
        _follow(search, some)


def _follow(search: Search, rows: IntArray) -> None:
    values, lead = search.judge.own[rows].copy(), search.judge.lead(search.judge.own[rows], rows)
    far = np.zeros(len(rows))
    for _ in range(MOST_MOVES):
        moves = _Moves.of(search, rows, values)
        if not moves.lead.size:
            return
        # what lies beyond the turn is not needed, and given back afterwards
        gain = np.minimum(moves.lead, LEAD) - lead[:, None]
        worth = np.where(gain > 0, gain / np.maximum(moves.far - far[:, None], SMALLEST_STEP), -np.inf)
        chosen = worth.argmax(axis=1)
        every = np.arange(len(rows))
        values, far = moves.values[every, chosen], moves.far[every, chosen]
        gained, lead = gain[every, chosen] > 0, moves.lead[every, chosen]
        turned = search.judge.is_turned(lead)
        search.best.offer(rows[turned], values[turned], far[turned])
        left = np.flatnonzero(gained & ~turned)
        rows, values, lead, far = rows[left], values[left], lead[left], far[left]


def _blocks(search: Search, rows: IntArray) -> Iterator[IntArray]:
    """Rows in parts whose moves fit into memory."""
    width = search.judge.own.shape[1]
    step = max(1, _ENTRIES // max(1, width * sum(_n_moves(search, j) for j in range(width))))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _n_moves(search: Search, feature: int) -> int:
    one = search.judge.table.features[feature]
    return min(len(one.levels), MOST_LEVELS_TRIED) if isinstance(one, LevelFeature) else 2 * len(PARTS)


@dataclass(frozen=True, slots=True)
class _Moves:
    """Every single change that is tried of some rows.

    Attributes:
        values: Shape ``(n, m, f)``.
        lead: Of the wanted class, shape ``(n, m)``; minus infinity where nothing changes.
        far: Distance from the rows as they are, shape ``(n, m)``.
    """

    values: FloatArray
    lead: FloatArray
    far: FloatArray

    @classmethod
    def of(cls, search: Search, rows: IntArray, now: FloatArray) -> "_Moves":
        """Ask about every move from where the rows are ``now``."""
        tried = _moves(search, rows, now)
        row, move = np.nonzero(is_other(tried, now[:, None]).any(axis=2))
        lead = np.full(tried.shape[:2], -np.inf)
        lead[row, move] = search.judge.lead(tried[row, move], rows[row])
        return cls(tried, lead, search.distance.total(tried, search.judge.own[rows][:, None]))


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
