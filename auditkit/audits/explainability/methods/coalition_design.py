"""Which coalitions a regression for Shapley values asks for, and how much each counts."""

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Final

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray, IntArray

LISTED: Final = 2_000
"""Coalitions of one size that are listed to draw different ones; among more, one is hardly drawn twice."""

LEAST_PER_PLAYER: Final = 4
"""Coalitions per player below which their equations may leave the values of some players open."""


@dataclass(frozen=True, slots=True)
class Design:
    """Coalitions between none and all players.

    Attributes:
        coalitions: Shape ``(s, p)``; each stands beside its complement.
        weights: Shape ``(s,)``, sum 1.
        is_complete: Whether these are all coalitions there are, so that nothing is estimated.
    """

    coalitions: BoolArray
    weights: FloatArray
    is_complete: bool


def coalition_design(n_players: int, budget: int, rng: np.random.Generator) -> Design:
    """All coalitions where ``2 ** n_players`` is within the budget, else the weightiest and a sample.

    Coalitions of size k together weigh ``(p - 1) / (k (p - k))``. Sizes whose part of the budget pays for all
    of their coalitions are taken whole, from the smallest and largest on; the rest of the budget is spread
    over the other sizes by weight, without chance; only who is in a coalition is drawn, together with its
    complement, which cancels all effects that are odd in the number of players.

    Args:
        n_players: The number p, at least 2.
        budget: Most coalitions with the empty and the whole one; 4 for each player where that is more.
        rng: Draws who is in.

    Source:
        Lundberg and Lee (2017), arXiv:1705.07874, theorem 2; Covert and Lee (2021), arXiv:2012.01536,
        section 3.3 (pairs).
    """
    left = max(budget, LEAST_PER_PLAYER * n_players) - 2
    sizes = list(range(1, n_players // 2 + 1))
    weight = {size: _sides(size, n_players) * (n_players - 1) / (size * (n_players - size)) for size in sizes}
    members, weights = [], []
    while sizes:
        open_weight = sum(weight[size] for size in sizes)
        size = next(
            (one for one in sizes if _count(one, n_players) * open_weight <= left * weight[one]), None
        )
        if size is None and sum(_count(one, n_players) for one in sizes) > left:
            break
        size = sizes[0] if size is None else size
        members.append(_all_of(size, n_players))
        weights.append(np.full(len(members[-1]), weight[size] / len(members[-1])))
        left -= _count(size, n_players)
        sizes.remove(size)
    is_complete = not sizes
    if sizes:
        drawn = _drawn(n_players, {size: weight[size] for size in sizes}, max(1, left // 2), rng)
        members.append(drawn)
        weights.append(np.full(len(drawn), sum(weight[size] for size in sizes) / len(drawn)))
    first, share = np.concatenate(members), np.concatenate(weights)
    return _with_complements(first, share, is_complete=is_complete)


def all_coalitions(n_players: int) -> BoolArray:
    """Every coalition, shape ``(2 ** p, p)``, the empty one first and the whole one last."""
    codes = np.arange(2**n_players)
    return np.asarray((codes[:, None] >> np.arange(n_players)) & 1, dtype=np.bool_)


def _with_complements(first: BoolArray, share: FloatArray, *, is_complete: bool) -> Design:
    coalitions = np.concatenate([first, ~first])
    weights = np.concatenate([share, share])
    return Design(coalitions, weights / weights.sum(), is_complete)


def _sides(size: int, n_players: int) -> int:
    """Whether a size and that of its complements are two sizes or one."""
    return 1 if 2 * size == n_players else 2


def _count(size: int, n_players: int) -> int:
    """Coalitions of this size and their complements."""
    return _sides(size, n_players) * comb(n_players, size)


def _all_of(size: int, n_players: int) -> BoolArray:
    """One coalition of every pair of complements, shape ``(s, p)``."""
    chosen = np.array(list(combinations(range(n_players), size)), dtype=np.int64)
    if 2 * size == n_players:
        chosen = chosen[chosen[:, 0] == 0]  # the others are their complements
    return _of_members(chosen, n_players)


def _of_members(chosen: IntArray, n_players: int) -> BoolArray:
    coalitions = np.zeros((len(chosen), n_players), dtype=np.bool_)
    np.put_along_axis(coalitions, chosen, values=True, axis=1)
    return coalitions


def _drawn(n_players: int, weight: dict[int, float], n_pairs: int, rng: np.random.Generator) -> BoolArray:
    """Sizes at equal steps through their weights, members at random."""
    sizes, shares = np.array(list(weight)), np.cumsum(list(weight.values()))
    steps = (np.arange(n_pairs) + rng.random()) / n_pairs
    n_of = np.bincount(np.searchsorted(shares / shares[-1], steps).clip(max=len(sizes) - 1))
    return np.concatenate(
        [_some_of(int(size), n_players, int(n), rng) for size, n in zip(sizes, n_of, strict=False) if n]
    )


def _some_of(size: int, n_players: int, n: int, rng: np.random.Generator) -> BoolArray:
    if comb(n_players, size) <= LISTED:
        listed = _all_of(size, n_players)
        # a size with fewer coalitions than steps is gone through more than once
        turns = [rng.permutation(len(listed)) for _ in range(-(-n // len(listed)))]
        return listed[np.concatenate(turns)[:n]]
    order = rng.random((n, n_players)).argsort(axis=1)
    return _of_members(order[:, :size], n_players)
