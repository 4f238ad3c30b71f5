import numpy as np
import pytest
from scipy.stats import ks_2samp

from auditkit.errors import DataError
from auditkit.statistics.bootstrap import bootstrap_rates, bootstrap_rows, multinomial_draws, weighted_draws
from auditkit.statistics.counts import METRICS, CountTable
from tests.tolerances import statistical

NAMES = ("selection_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value")


def table(seed=0, n=300, weights=None):
    rng = np.random.default_rng(seed)
    groups, true = rng.integers(0, 3, n), rng.integers(0, 2, n)
    predicted = np.where(rng.random(n) < 0.7, true, 1 - true)
    rows = groups, true, predicted
    return rows, CountTable.count(*rows, n_groups=3, n_classes=2, sample_weight=weights)


def test_draws_on_counts_have_the_law_of_resampled_rows():
    (groups, true, predicted), counted = table()
    metrics = [METRICS[name] for name in NAMES]
    fast = bootstrap_rates(counted.cells(1), metrics, n_draws=1500, rng=np.random.default_rng(1))
    rng, slow = np.random.default_rng(2), []
    for _ in range(1500):
        rows = rng.integers(0, len(groups), len(groups))
        g, t, p = groups[rows], true[rows], predicted[rows]
        inside = g == 1
        slow.append(
            [
                p[inside].mean(),
                p[inside & (t == 1)].mean(),
                p[inside & (t == 0)].mean(),
                t[inside & (p == 1)].mean(),
            ]
        )
    slow = np.array(slow)
    for index in range(len(metrics)):
        assert ks_2samp(fast[:, 1, index], slow[:, index]).pvalue > 0.01


def test_every_replicate_holds_all_rows():
    counts = np.array([[5, 0], [3, 2]])
    draws = multinomial_draws(counts, 50, np.random.default_rng(0))
    assert draws.shape == (50, 2, 2)
    assert (draws.sum(axis=(1, 2)) == 10).all()
    assert (draws[:, 0, 1] == 0).all()


def test_weighted_draws_keep_mean_and_variance():
    weight, squared = np.array([10.0, 0.0, 4.0]), np.array([30.0, 0.0, 16.0])
    draws = weighted_draws(weight, squared, 20_000, np.random.default_rng(0))
    assert draws.mean(axis=0) == pytest.approx(weight, abs=4 * np.sqrt(30 / 20_000))
    assert draws.var(axis=0) == pytest.approx(squared, rel=0.1)


def test_weighted_rates_are_drawn_around_their_value():
    weights = np.random.default_rng(4).uniform(0.5, 2, 300)
    _, counted = table(weights=weights)
    draws = bootstrap_rates(
        counted.cells(1), [METRICS["selection_rate"]], n_draws=2000, rng=np.random.default_rng(1)
    )
    cells = counted.cells(1)
    value = cells.weight[:, [0, 2]].sum(axis=1) / cells.weight.sum(axis=1)
    assert draws[:, :, 0].mean(axis=0) == pytest.approx(value, abs=statistical(2000, p=0.5) * 0.1 + 0.003)


def test_a_rate_without_denominator_is_undefined_in_the_replicate():
    counted = CountTable.count(
        np.array([0, 0, 1]), np.array([1, 0, 1]), np.array([1, 0, 1]), n_groups=2, n_classes=2
    )
    draws = bootstrap_rates(
        counted.cells(1), [METRICS["false_positive_rate"]], n_draws=20, rng=np.random.default_rng(0)
    )
    assert np.isnan(draws[:, 1, 0]).all()


def test_rows_are_resampled_in_pairs():
    rng = np.random.default_rng(0)
    first = rng.normal(size=200)
    second = first + 1.0

    def both_means(counts):
        return np.column_stack([counts @ first, counts @ second]) / 200

    draws = bootstrap_rows(both_means, 200, n_draws=400, rng=rng)
    assert draws.shape == (400, 2)
    assert draws[:, 1] - draws[:, 0] == pytest.approx(np.ones(400))
    assert draws[:, 0].std() == pytest.approx(first.std() / np.sqrt(200), rel=0.15)


def test_large_samples_are_resampled_in_pieces_with_all_draws():
    draws = bootstrap_rows(
        lambda counts: counts.sum(axis=1), 1_500_000, n_draws=5, rng=np.random.default_rng(0)
    )
    assert draws.tolist() == [1_500_000.0] * 5


@pytest.mark.parametrize(
    "draw",
    [
        lambda: multinomial_draws(np.zeros(3, dtype=int), 5, np.random.default_rng(0)),
        lambda: bootstrap_rows(lambda c: c.sum(axis=1), 0, n_draws=5, rng=np.random.default_rng(0)),
    ],
)
def test_no_rows_are_refused(draw):
    with pytest.raises(DataError, match="no rows"):
        draw()
