"""Rankings: hand-computed places, published tables, enumeration of all orders."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from auditkit.errors import DataError
from auditkit.statistics.rankings import (
    GroupTotals,
    PrefixDivergence,
    Ranking,
    chance_of_failing,
    fewest_allowed,
    prefix_test,
)
from tests.tolerances import FLOAT


def gain(rank):
    return 1 / math.log2(1 + rank)


def test_exposure_falls_with_rank():
    ranking = Ranking.of([0.1, 0.9, 0.5])
    assert ranking.order.tolist() == [1, 2, 0]
    assert ranking.exposure() == pytest.approx([1.0, gain(2), 0.5], **FLOAT)
    assert not ranking.has_ties


def test_equals_share_their_places():
    ranking = Ranking.of([3.0, 2.0, 2.0, 2.0, 1.0])
    shared = (gain(2) + gain(3) + gain(4)) / 3
    assert ranking.exposure() == pytest.approx([1.0, shared, shared, shared, gain(5)], **FLOAT)
    assert ranking.chance_of_top(np.array([2])) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0], **FLOAT)


def test_rows_are_ranked_within_their_lists():
    ranking = Ranking.of([1.0, 5.0, 2.0, 4.0], [7, 3, 7, 3])
    assert ranking.order.tolist() == [1, 3, 2, 0]
    assert ranking.starts.tolist() == [0, 2, 4]
    assert ranking.exposure() == pytest.approx([1.0, gain(2), 1.0, gain(2)], **FLOAT)


def test_scores_that_are_none_are_refused():
    with pytest.raises(DataError, match="finite"):
        Ranking.of([1.0, np.nan])


def divergence_by_definition(groups):
    whole = {g: groups.count(g) / len(groups) for g in set(groups)}
    total = weight = 0.0
    for i in range(1, len(groups) + 1):
        shares = {g: groups[:i].count(g) / i for g in set(groups[:i])}
        total += gain(i) * sum(p * math.log(p / whole[g]) for g, p in shares.items())
        weight += gain(i)
    return total / weight


@pytest.mark.parametrize("seed", range(4))
def test_the_divergence_of_prefixes_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, 3, size).tolist() for size in (17, 1, 30)]
    list_of = np.repeat([0, 1, 2], [17, 1, 30])
    found = PrefixDivergence(list_of, 3)(np.concatenate(lists))
    assert found == pytest.approx([divergence_by_definition(one) for one in lists], **FLOAT)


def test_the_fewest_members_allowed_are_those_of_the_published_table():
    """Zehlike et al. (2017), table 2, at the level 0.1."""
    table = {
        0.1: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        0.2: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        0.3: [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2],
        0.4: [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3],
        0.5: [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4],
        0.6: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
        0.7: [0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6],
    }
    places = np.arange(1, 13)
    assert {share: fewest_allowed(places, share, 0.1).tolist() for share in table} == table


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("order", [[0, 0, 0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1, 1], [1] * 8])
def test_the_prefix_test_equals_all_orders_enumerated(order, share):
    k = len(order)

    def rarest(members):
        return binom.cdf(np.cumsum(members), np.arange(1, k + 1), share).min()

    limit = rarest(order) * (1 + 1e-9)
    expected = sum(
        share ** sum(one) * (1 - share) ** (k - sum(one))
        for one in itertools.product([0, 1], repeat=k)
        if rarest(one) <= limit
    )
    assert prefix_test(order, share).p_value == pytest.approx(expected, **FLOAT)


def test_testing_every_prefix_fails_more_often_than_one_test():
    assert chance_of_failing(100, 0.5, 0.1) > 0.2


def test_a_random_ranking_fails_the_prefix_test_no_more_often_than_stated():
    rng = np.random.default_rng(0)
    failed = np.mean([prefix_test(rng.random(40) < 0.4, 0.4).p_value <= 0.05 for _ in range(1000)])
    assert 0.02 < failed <= 0.05 + 0.02


def test_totals_add_up():
    rng = np.random.default_rng(1)
    ranking = Ranking.of(rng.normal(size=50), rng.integers(0, 3, 50))
    totals = GroupTotals(ranking, rng.integers(0, 2, 50), np.ones(50), 2).of_lists()
    rows, seen, expected, relevant = totals.sum(axis=(0, 1))
    assert (rows, relevant) == (50, 50)
    assert seen == pytest.approx(expected, **FLOAT)


@pytest.mark.parametrize("n_lists", [1, 12])
def test_replicates_are_centred_on_the_sample(n_lists):
    rng = np.random.default_rng(2)
    lists, groups = np.arange(600) % n_lists, rng.integers(0, 2, 600)
    ranking = Ranking.of(rng.normal(size=600) + groups, lists)
    totals = GroupTotals(ranking, groups[ranking.order], np.ones(600), 2)
    draws = totals.draws(300, rng)
    ratio = draws[:, 1, 1] / draws[:, 1, 2]
    actual = totals.of_lists().sum(axis=0)
    assert abs(ratio.mean() - actual[1, 1] / actual[1, 2]) < 4 * ratio.std() / math.sqrt(300) + 0.005
