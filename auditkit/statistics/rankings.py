"""Where groups stand in rankings: exposure, places at the top, and order by chance.

Rows are ranked within lists, highest score first. Equal scores share their places: each of them has the mean
exposure of these places, and the part of the top that falls to them is split evenly; that is the expectation
over random orders of equals.

Source:
    Singh and Joachims (2018), Fairness of exposure in rankings, KDD; Yang and Stoyanovich (2017), Measuring
    fairness in ranked outputs, SSDBM; Geyik, Ambler and Kenthapadi (2019), Fairness-aware ranking in search
    and recommendation systems, KDD; Zehlike et al. (2017), FA*IR, CIKM.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from auditkit.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ENOUGH_LISTS = 10
"""From so many lists on, lists are what is drawn again."""

CLOSE = 1e-9
"""Slack of a probability that is compared with one computed in another order."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in the order of their list and score.

    Attributes:
        order: Index of the row at every place.
        list_of: List of the row at every place, from 0.
        starts: First place of every list, and behind the last.
        tied_from: First and
        tied_to: last place (exclusive) with the same score in the same list, per place.
    """

    order: IntArray
    list_of: IntArray
    starts: IntArray
    tied_from: IntArray
    tied_to: IntArray

    @classmethod
    def of(cls, scores: npt.ArrayLike, lists: npt.ArrayLike | None = None) -> "Ranking":
        """Rank rows by ``scores``, shape ``(n,)``, within ``lists`` of the same shape.

        Raises:
            DataError: There are no rows, or a score is not finite.
        """
        score = np.asarray(scores, dtype=np.float64)
        if not len(score) or not np.isfinite(score).all():
            raise DataError("ranking: expected rows with finite scores")
        codes = np.zeros(len(score), np.int64) if lists is None else np.asarray(lists, dtype=np.int64)
        order = np.lexsort((-score, codes))
        _, list_of = np.unique(codes[order], return_inverse=True)
        list_of = list_of.reshape(-1)
        ranked = score[order]
        is_new = np.ones(len(score), dtype=np.bool_)
        is_new[1:] = (ranked[1:] != ranked[:-1]) | (list_of[1:] != list_of[:-1])
        firsts = np.flatnonzero(is_new)
        block = np.cumsum(is_new) - 1
        ends = np.append(firsts[1:], len(score))
        starts = np.searchsorted(list_of, np.arange(list_of[-1] + 2))
        return cls(order, list_of, starts, firsts[block], ends[block])

    @property
    def sizes(self) -> IntArray:
        """Rows of every list."""
        return np.diff(self.starts)

    @property
    def has_ties(self) -> bool:
        """Whether any two rows of a list have the same score."""
        return bool((self.tied_to - self.tied_from > 1).any())

    def exposure(self) -> FloatArray:
        """Expected exposure ``1 / log2(1 + rank)`` of the row at every place."""
        total = _cumulated(int(self.sizes.max()))
        start = self.starts[self.list_of]
        first, last = self.tied_from - start, self.tied_to - start
        return np.asarray((total[last] - total[first]) / (last - first))

    def chance_of_top(self, top: IntArray) -> FloatArray:
        """Chance that the row at every place is among the first ``top[list]`` of its list."""
        start = self.starts[self.list_of]
        first, last = self.tied_from - start, self.tied_to - start
        return np.clip((top[self.list_of] - first) / (last - first), 0.0, 1.0)

    def reordered(self, rng: np.random.Generator) -> IntArray:
        """One order of the rows in which equals are shuffled."""
        keys = self.tied_from + rng.random(len(self.order))
        return np.asarray(self.order[np.argsort(keys)])


@lru_cache(maxsize=8)
def _cumulated(n: int) -> FloatArray:
    """Sum of the exposures of the first 0, 1, ..., n places."""
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(n) + 2.0))])


class PrefixDivergence:
    """Normalised discounted Kullback-Leibler divergence of prefixes from the whole list, per list.

    ``(1 / Z) sum_i v_i KL(D_i || D)`` with ``v_i = 1 / log2(i + 1)``, ``Z`` their sum, and ``D_i`` the shares
    of the groups among the first ``i``. Each call takes one pass over the rows, whatever the number of
    groups:
    from one prefix to the next only one group's count changes.

    Source:
        Geyik, Ambler and Kenthapadi (2019), section 3.2.
    """

    def __init__(self, list_of: IntArray, n_groups: int) -> None:
        self._list_of, self._n_groups = list_of, n_groups
        self._starts = np.searchsorted(list_of, np.arange(list_of[-1] + 2))
        sizes = np.diff(self._starts)
        place = np.arange(len(list_of)) - self._starts[list_of] + 1.0
        discount = 1 / np.log2(place + 1)
        normaliser = np.add.reduceat(discount, self._starts[:-1])
        self._log_place = np.log(place)
        self._weight = discount / normaliser[list_of]
        self._place, self._size = place, sizes[list_of].astype(np.float64)
        counts = np.arange(len(list_of) + 1, dtype=np.float64)
        terms = counts * np.log(np.maximum(counts, 1))
        self._steps = np.diff(terms)

    def __call__(self, groups: IntArray) -> FloatArray:
        """Of the groups in the order of the places, shape ``(n,)``: one figure per list."""
        cell = self._list_of * self._n_groups + groups
        n_cells = (int(self._list_of[-1]) + 1) * self._n_groups
        # numbers of 16 bits are sorted by radix
        by_cell = np.argsort(cell.astype(np.uint16) if n_cells < 2**16 else cell, kind="stable")
        counts = np.bincount(cell, minlength=n_cells)
        firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        earlier = np.empty(len(cell), dtype=np.int64)
        earlier[by_cell] = np.arange(len(cell)) - firsts[cell[by_cell]]
        # i KL(D_i || D) = sum_g c_g ln c_g - i ln i - sum_g c_g ln p_g, built up row by row
        gained = self._steps[earlier] - np.log(counts[cell] / self._size)
        built = np.cumsum(gained)
        before = np.concatenate([[0.0], built])[self._starts[:-1]]
        divergence = (built - before[self._list_of]) / self._place - self._log_place
        return np.add.reduceat(self._weight * np.maximum(divergence, 0.0), self._starts[:-1])


@dataclass(frozen=True, slots=True)
class PrefixTest:
    """Whether a group comes too rarely among the first places, over all prefixes at once.

    Attributes:
        p_value: Chance that places filled independently with the group's share have a prefix as unlikely.
        place: The most unlikely prefix.
        seen: Rows of the group in it.
        expected: Their expected number.
    """

    p_value: float
    place: int
    seen: int
    expected: float


def prefix_test(is_member: npt.ArrayLike, share: float) -> PrefixTest:
    """FA*IR's test of a ranking, with the exact chance of failing any prefix.

    At every prefix the lower tail of the binomial distribution tells how unlikely so few members are; the
    smallest tail is the statistic. FA*IR rejects at an overall level exactly when this p-value is at
    most that level: its corrected level is the one at which a random ranking fails with that probability.

    Args:
        is_member: Of the first places in their order, shape ``(k,)``.
        share: Of the group among all candidates, in (0, 1).

    Raises:
        DataError: No places, or a share outside (0, 1).

    Source:
        Zehlike et al. (2017), sections 4.1 and 4.2.
    """
    member = np.asarray(is_member, dtype=np.int64)
    if not len(member) or not 0 < share < 1:
        raise DataError(
            f"prefix test: got {len(member)} places and a share of {share}, expected some, and 0 < share < 1"
        )
    places = np.arange(1, len(member) + 1)
    seen = np.cumsum(member)
    tails = binom.cdf(seen, places, share)
    worst = int(tails.argmin())
    return PrefixTest(
        p_value=chance_of_failing(len(member), share, float(tails[worst])),
        place=worst + 1,
        seen=int(seen[worst]),
        expected=float(share * (worst + 1)),
    )


def chance_of_failing(k: int, share: float, level: float) -> float:
    """Chance that some prefix of ``k`` random places is as unlikely as ``level``."""
    passing = np.zeros(k + 1)
    passing[0] = 1.0
    for least in fewest_allowed(np.arange(1, k + 1), share, level):
        passing[1:] = passing[1:] * (1 - share) + passing[:-1] * share
        passing[0] *= 1 - share
        passing[:least] = 0.0
    return float(min(1.0, max(0.0, 1 - passing.sum())))


def fewest_allowed(places: IntArray, share: float, level: float) -> IntArray:
    """Smallest numbers of members among so many first places whose lower tail exceeds ``level``.

    >>> fewest_allowed(np.arange(1, 13), 0.5, 0.1).tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4]
    """
    found = np.maximum(0, binom.ppf(level, places, share).astype(np.int64) - 1)
    # not even all of them are enough where the level is 1
    while (too_low := (binom.cdf(found, places, share) <= level * (1 + CLOSE)) & (found <= places)).any():
        found = found + too_low
    return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """Sums over the rows of every group, from which the figures of exposure follow.

    Attributes:
        ranking: Of all rows.
        groups: Group of the row at every place.
        relevant: Its relevance, 0 or 1.
        n_groups: How many groups there are.
    """

    ranking: Ranking
    groups: IntArray
    relevant: FloatArray
    n_groups: int

    def of_lists(self) -> FloatArray:
        """Rows, exposure, exposure expected in a random order, relevant rows: ``(n_lists, n_groups, 4)``."""
        mean = _mean_exposure(self.ranking)[self.ranking.list_of]
        columns = (np.ones(len(self.groups)), self.ranking.exposure(), mean, self.relevant)
        cell = self.ranking.list_of * self.n_groups + self.groups
        n_cells = len(self.ranking.sizes) * self.n_groups
        found = [np.bincount(cell, weights=values, minlength=n_cells) for values in columns]
        return np.stack(found, axis=-1).astype(np.float64).reshape(len(self.ranking.sizes), self.n_groups, 4)

    def draws(self, n_draws: int, rng: np.random.Generator) -> FloatArray:
        """Bootstrap replicates of the totals over all lists, shape ``(n_draws, n_groups, 4)``.

        Ten lists or more are drawn as wholes; of fewer lists the rows are drawn, and ranked anew: copies of a
        row are equals.
        """
        n_lists = len(self.ranking.sizes)
        if n_lists >= ENOUGH_LISTS:
            times = rng.multinomial(n_lists, np.full(n_lists, 1 / n_lists), size=n_draws)
            return np.asarray(np.tensordot(times, self.of_lists(), axes=1), dtype=np.float64)
        return np.stack([self._redrawn(rng) for _ in range(n_draws)])

    def _redrawn(self, rng: np.random.Generator) -> FloatArray:
        ranking, n = self.ranking, len(self.groups)
        start, size = ranking.starts[ranking.list_of], ranking.sizes[ranking.list_of]
        cumulated = _cumulated(int(ranking.sizes.max()))
        times = np.bincount(start + (rng.random(n) * size).astype(np.int64), minlength=n)
        before = np.concatenate([[0], np.cumsum(times)])
        first, last = before[ranking.tied_from] - start, before[ranking.tied_to] - start
        own = (cumulated[last] - cumulated[first]) / np.maximum(last - first, 1) * times
        expected = _mean_exposure(ranking)[ranking.list_of] * times
        columns = (times, own, expected, self.relevant * times)
        return np.column_stack(
            [np.bincount(self.groups, weights=values, minlength=self.n_groups) for values in columns]
        )


def _mean_exposure(ranking: Ranking) -> FloatArray:
    """Of a row at a random place of each list."""
    return np.asarray(_cumulated(int(ranking.sizes.max()))[ranking.sizes] / ranking.sizes)
