"""How far apart the distributions of what was foretold are between groups, and what chance alone would give.

Both figures are never negative, so that they are above 0 on any sample: each comes with the level of chance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import wasserstein_distance

from auditkit.statistics.intervals import effective_n
from auditkit.statistics.score_gaps import dkw_reach

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MOST_CUTS = 256


@dataclass(frozen=True, slots=True)
class GroupedValues:
    """Numbers in groups; arrays of shape ``(n,)``, every group has rows.

    Attributes:
        value: The numbers.
        group: From 0 to ``n_groups - 1``.
        weight: Above 0.
        person: Equal for rows of one person, from 0; every row its own code where rows stand alone.
    """

    value: FloatArray
    group: IntArray
    weight: FloatArray
    person: IntArray

    @property
    def n_groups(self) -> int:
        """How many groups."""
        return int(self.group.max()) + 1

    @property
    def persons_share_groups(self) -> bool:
        """Whether some person has rows in two groups."""
        first = np.zeros(int(self.person.max()) + 1, dtype=np.int64)
        first[self.person] = self.group
        return bool((first[self.person] != self.group).any())

    def effective(self, rows: npt.NDArray[np.bool_]) -> float:
        """Effective number of persons among some rows."""
        return effective_n(np.bincount(self.person[rows], weights=self.weight[rows]))


@dataclass(frozen=True, slots=True)
class ParityGap:
    """The largest distance between a group's distribution function and that of everyone.

    Attributes:
        value: ``max_g sup_z |F_g(z) - F(z)|``, in ``[0, 1]``.
        of_groups: The distance of each group.
        low: Lower end of its range.
        high: Upper end.
        by_chance: Its mean when groups are dealt out anew at random.
        p_value: Share of such deals, the observed one included, with as large a distance.
    """

    value: float
    of_groups: FloatArray
    low: float
    high: float
    by_chance: float
    p_value: float


def parity_gap(
    rows: GroupedValues, *, confidence: float, n_permutations: int, rng: np.random.Generator
) -> ParityGap:
    """Statistical parity of a regression, its range, and the level of chance.

    The range follows from ``F_g - F = (1 - share_g) (F_g - F_rest)`` and the inequality of Dvoretzky, Kiefer
    and Wolfowitz, for as many rows as there are effective persons. Whole persons are dealt out anew, which
    needs every person to be in one group.

    Source:
        Agarwal, Dudik and Wu (2019), Fair regression: quantitative definitions and reduction-based
        algorithms, ICML, definition 1.
    """
    order = np.argsort(rows.value, kind="stable")
    ends = np.append(np.diff(rows.value[order]) > 0, True)
    weight, person = rows.weight[order], rows.person[order]
    found = _distances(rows.group[order], weight, ends, rows.n_groups)
    group_of_person = np.zeros(int(person.max()) + 1, dtype=np.int64)
    group_of_person[rows.person] = rows.group
    drawn = np.array(
        [
            _distances(rng.permutation(group_of_person)[person], weight, ends, rows.n_groups).max()
            for _ in range(n_permutations)
        ]
    )
    reach = _reach(rows, confidence)
    value = float(found.max())
    # counted with slack: the same distance summed in another order differs in its last digits
    as_large = int((drawn >= value - 1e-12).sum())
    return ParityGap(
        value=value,
        of_groups=found,
        low=max(0.0, float((found - reach).max())),
        high=min(1.0, float((found + reach).max())),
        by_chance=float(drawn.mean()),
        p_value=(1 + as_large) / (1 + n_permutations),
    )


@dataclass(frozen=True, slots=True)
class TransportGap:
    """The largest Wasserstein distance between two groups, in the unit of the values.

    Attributes:
        value: The distance.
        pair: Which groups.
        low: Lower end of its interval, all pairs taken together.
        high: Upper end.
        by_chance: About what chance alone gives for this pair.
    """

    value: float
    pair: tuple[int, int]
    low: float
    high: float
    by_chance: float


def transport_gap(
    rows: GroupedValues, *, confidence: float, n_draws: int, rng: np.random.Generator
) -> TransportGap:
    """Mean distance over which values of one group must be moved to be distributed as those of another.

    By the triangle inequality the distance of two samples is off by at most the area between their errors;
    how large that is follows from weighting persons at random (Rubin 1981, Annals of Statistics 9:130-134).
    """
    first, second = np.triu_indices(rows.n_groups, 1)
    own = [rows.group == group for group in range(rows.n_groups)]
    value = np.array(
        [
            wasserstein_distance(
                rows.value[own[a]], rows.value[own[b]], rows.weight[own[a]], rows.weight[own[b]]
            )
            for a, b in zip(first, second, strict=True)
        ]
    )
    noise = _area_noise(rows, first, second, n_draws, rng)
    typical = noise.mean(axis=0)
    multiple = np.divide(noise, typical, out=np.zeros_like(noise), where=typical > 0).max(axis=1)
    reach = typical * float(np.quantile(multiple, confidence))
    largest = int(value.argmax())
    return TransportGap(
        value=float(value[largest]),
        pair=(int(first[largest]), int(second[largest])),
        low=max(0.0, float((value - reach).max())),
        high=float((value + reach).max()),
        by_chance=float(typical[largest]),
    )


def _distances(group: IntArray, weight: FloatArray, ends: npt.NDArray[np.bool_], n_groups: int) -> FloatArray:
    """Largest distance of each group's distribution function from that of all rows, which are in order."""
    total = np.cumsum(weight)
    everyone = total[ends] / total[-1]
    found = np.empty(n_groups)
    for index in range(n_groups):
        own = np.cumsum(np.where(group == index, weight, 0.0))
        found[index] = np.abs(own[ends] / own[-1] - everyone).max() if own[-1] > 0 else 0.0
    return found


def _reach(rows: GroupedValues, confidence: float) -> FloatArray:
    """How far each group's distance may be off, all together."""
    error = (1 - confidence) / rows.n_groups
    reach = np.ones(rows.n_groups)
    for group in range(rows.n_groups):
        own = rows.group == group
        share = float(rows.weight[own].sum() / rows.weight.sum())
        sizes = [max(1, int(rows.effective(part))) for part in (own, ~own)]
        reach[group] = (1 - share) * dkw_reach(*sizes, error=error)
    return reach


def _area_noise(
    rows: GroupedValues, first: IntArray, second: IntArray, n_draws: int, rng: np.random.Generator
) -> FloatArray:
    """Area between the errors of two distribution functions, shape ``(n_draws, n_pairs)``."""
    k = rows.n_groups
    edges = np.unique(np.quantile(rows.value, np.linspace(0, 1, MOST_CUTS + 1)))
    widths = np.diff(edges)
    bins = np.searchsorted(edges, rows.value, side="left")
    cell = rows.group * len(edges) + bins
    n_persons = int(rows.person.max()) + 1

    def curves(weight: FloatArray) -> FloatArray:
        mass = np.bincount(cell, weights=weight, minlength=k * len(edges)).reshape(k, len(edges))
        return np.asarray(np.cumsum(mass, axis=1) / mass.sum(axis=1, keepdims=True))

    truth = curves(rows.weight)
    noise = np.empty((n_draws, len(first)))
    for draw in range(n_draws):
        error = curves(rows.weight * rng.exponential(size=n_persons)[rows.person]) - truth
        noise[draw] = np.abs(error[first] - error[second])[:, :-1] @ widths
    return noise
