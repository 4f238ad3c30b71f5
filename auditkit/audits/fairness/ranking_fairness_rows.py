"""Ranked rows and their groups."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.groupings import Grouping, reported_groups
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Message
from auditkit.statistics.rankings import GroupTotals, Ranking

UNEVEN = Message(
    text="Rows carry unequal weights; places in a ranking are defined for rows that count alike."
)
UNDECIDED = Message(text="There are more than two classes and no positive label; set positive in data.")
ONE_CLASS = Message(text="There is only one class, so nothing is ranked.")


@dataclass(frozen=True, slots=True)
class RankedGroups:
    """Rows of one grouping in the order of their ranking.

    Attributes:
        grouping: Its groups that have rows.
        ranking: Of all rows.
        groups: Group of the row at every place.
        relevant: Whether that row has the positive label, as 0 or 1.
        scores: Log-odds of the row at every place.
        sizes: Rows of every group.
    """

    grouping: Grouping
    ranking: Ranking
    groups: IntArray
    relevant: FloatArray
    scores: FloatArray
    sizes: IntArray

    @classmethod
    def of(
        cls, division: Grouping, codes: IntArray, ranking: Ranking, scores: FloatArray, relevant: FloatArray
    ) -> "RankedGroups":
        """``codes``, ``scores`` and ``relevant`` in the order of the data.

        Raises:
            DataError: There are more groups than can be compared.
        """
        sizes = np.bincount(codes, minlength=len(division.combinations)).astype(np.int64)
        reported = reported_groups(division, sizes)
        kept = reported[sizes[reported] > 0]
        place = np.zeros(len(sizes), dtype=np.int64)
        place[kept] = np.arange(len(kept))
        order = ranking.order
        return cls(
            division.take(kept),
            ranking,
            place[codes[order]],
            relevant[order],
            scores[order],
            sizes[kept],
        )

    @property
    def known(self) -> IntArray:
        """Groups in which every attribute is known."""
        return np.flatnonzero(self.grouping.known)

    @property
    def totals(self) -> GroupTotals:
        """Sums over the rows of every group."""
        return GroupTotals(self.ranking, self.groups, self.relevant, len(self.sizes))


@dataclass(frozen=True, slots=True)
class Top:
    """The first places of every list that has more rows.

    Attributes:
        name: As in the parameter.
        places: Of all these lists together.
        rows: In these lists.
        count: Expected rows of every group among the places, over random orders of equals.
        expected: Of every group in a random order of all rows.
    """

    name: str
    places: int
    rows: int
    count: FloatArray
    expected: FloatArray

    @classmethod
    def of(cls, ranked: RankedGroups, top: int | float) -> "Top | None":
        """``top`` places, or that share of each list; ``None`` where no list has more rows."""
        sizes = ranked.ranking.sizes
        places = np.full(len(sizes), top) if isinstance(top, int) else np.maximum(1, np.rint(top * sizes))
        places = np.where(places < sizes, places, 0).astype(np.int64)
        if not places.any():
            return None
        n_groups, list_of = len(ranked.sizes), ranked.ranking.list_of
        chance = ranked.ranking.chance_of_top(places)
        chance[places[list_of] == 0] = 0.0
        by_chance = (places / sizes)[list_of]
        count, expected = (
            np.bincount(ranked.groups, weights=values, minlength=n_groups) for values in (chance, by_chance)
        )
        n_rows = int(sizes[places > 0].sum())
        return cls(
            f"{top:g}", int(places.sum()), n_rows, count.astype(np.float64), expected.astype(np.float64)
        )
