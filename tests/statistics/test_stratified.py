"""Two groups within strata: published figures, plain references, coverage."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from auditkit.errors import DataError
from auditkit.statistics.stratified import (
    breslow_day,
    cochran_mantel_haenszel,
    mantel_haenszel_odds_ratio,
    restricted_rates,
    stratified_difference,
)
from tests.tolerances import FLOAT, statistical

# Bickel, Hammel and O'Connell (1975), Science 187:398-404: admitted and rejected in six departments
MEN = np.array([[512, 313], [353, 207], [120, 205], [138, 279], [53, 138], [22, 351]])
WOMEN = np.array([[89, 19], [17, 8], [202, 391], [131, 244], [94, 299], [24, 317]])
ADMITTED = np.array([MEN[:, 0], WOMEN[:, 0]])
APPLIED = np.array([MEN.sum(axis=1), WOMEN.sum(axis=1)])


def test_berkeley_admissions_have_the_published_odds_ratio_and_test():
    """Figures of R's ``mantelhaen.test(UCBAdmissions)``."""
    ratio, interval = mantel_haenszel_odds_ratio(ADMITTED, APPLIED)
    assert ratio == pytest.approx(0.9046968, abs=5e-8)
    assert (interval.low, interval.high) == pytest.approx((0.7719074, 1.0603298), abs=5e-8)
    test = cochran_mantel_haenszel(ADMITTED, APPLIED)
    assert test.statistic == pytest.approx(1.4269, abs=5e-5)
    assert test.p_value == pytest.approx(0.2323, abs=5e-5)


def test_berkeley_admissions_turn_round():
    raw = ADMITTED.sum(axis=1) / APPLIED.sum(axis=1)
    within = stratified_difference(ADMITTED, APPLIED, APPLIED.sum(axis=0))
    by_hand = sum(
        (m[0] / m.sum() - w[0] / w.sum()) * (m.sum() + w.sum()) for m, w in zip(MEN, WOMEN, strict=True)
    )
    assert within.value == pytest.approx(by_hand / 4526, **FLOAT)
    assert raw[0] - raw[1] > 0.14
    assert within.interval.high < 0


def test_one_odds_ratio_is_refuted_with_a_plain_reference():
    """Expected counts by root finding, variance and correction as Tarone wrote them."""
    common, _ = mantel_haenszel_odds_ratio(ADMITTED, APPLIED)
    gaps, variances = [], []
    for (a, b), (c, d) in zip(MEN, WOMEN, strict=True):
        first, second, hits = a + b, c + d, a + c

        def off(e, first=first, second=second, hits=hits):
            return e * (second - hits + e) - common * (hits - e) * (first - e)

        e = brentq(off, max(0, hits - second) + 1e-9, min(first, hits) - 1e-9, xtol=1e-13)
        gaps.append(a - e)
        variances.append(1 / (1 / e + 1 / (hits - e) + 1 / (first - e) + 1 / (second - hits + e)))
    expected = sum(g**2 / v for g, v in zip(gaps, variances, strict=True)) - sum(gaps) ** 2 / sum(variances)
    test = breslow_day(ADMITTED, APPLIED)
    assert test.statistic == pytest.approx(expected, rel=1e-8)
    assert test.degrees == 5
    assert test.p_value < 0.003


def test_one_stratum_has_the_odds_ratio_of_its_table():
    ratio, interval = mantel_haenszel_odds_ratio([[10], [5]], [[30], [40]])
    assert ratio == pytest.approx(10 * 35 / (20 * 5), **FLOAT)
    # with one stratum the variance is Woolf's
    reach = 1.959963984540054 * math.sqrt(1 / 10 + 1 / 20 + 1 / 5 + 1 / 35)
    assert math.log(interval.high / ratio) == pytest.approx(reach, **FLOAT)


def test_restricted_rates_are_the_likeliest():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = rng.integers(1, 30, (2, 1)).astype(float)
        x = np.floor(rng.random((2, 1)) * (n + 1))
        delta = rng.uniform(-0.9, 0.9)

        def unlikely(second, x=x, n=n, delta=delta):
            total = 0.0
            for hits, size, p in ((x[0, 0], n[0, 0], second + delta), (x[1, 0], n[1, 0], second)):
                for count, chance in ((hits, p), (size - hits, 1 - p)):
                    total -= count * math.log(max(chance, 1e-300)) if count else 0.0
            return total

        ends = (max(0.0, -delta), min(1.0, 1 - delta))
        best = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12}).fun
        _, second = restricted_rates(x, n, delta)
        assert unlikely(float(second[0])) <= best + 1e-7


def test_figures_that_do_not_exist_are_none():
    assert mantel_haenszel_odds_ratio([[0], [5]], [[10], [10]]) is None
    assert cochran_mantel_haenszel([[3], [4]], [[3], [4]]) is None
    assert breslow_day([[3], [4]], [[8], [9]]) is None


@pytest.mark.parametrize("bad", [([[1], [2]], [[0], [3]]), ([[4], [2]], [[3], [3]]), ([1, 2], [3, 3])])
def test_tables_that_are_none_are_refused(bad):
    with pytest.raises(DataError, match="strata"):
        mantel_haenszel_odds_ratio(*bad)


DESIGNS = {
    "five strata": (np.full((2, 5), 60), np.array([0.3, 0.4, 0.5, 0.6, 0.7]), 0.1),
    "uneven, no gap": (np.array([[10, 40, 100, 20], [80, 20, 30, 60]]), np.array([0.1, 0.3, 0.5, 0.8]), 0.0),
    "strata of two and two": (np.full((2, 200), 2), np.tile([0.3, 0.6], 100), 0.1),
    "strata of one and five": (
        np.repeat([[1], [5]], 60, axis=1),
        np.tile([0.2, 0.5], 30),
        0.0,
    ),
    "gaps that differ": (
        np.array([[30, 60, 40], [60, 30, 20]]),
        np.array([0.3, 0.4, 0.5]),
        np.array([-0.2, 0.3, 0.1]),
    ),
    "rare": (np.array([[100, 80], [120, 40]]), np.array([0.02, 0.05]), 0.01),
}


def coverage_of_differences(n, rates, gap, runs):
    rng, covered = np.random.default_rng(1), 0
    weight = n.sum(axis=0)
    truth = float(weight @ (np.zeros(n.shape[1]) + gap)) / weight.sum()
    for _ in range(runs):
        x = np.array([rng.binomial(n[0], rates + gap), rng.binomial(n[1], rates)])
        interval = stratified_difference(x, n, weight).interval
        covered += interval.low <= truth <= interval.high
    return covered / runs


@pytest.mark.proof
@pytest.mark.parametrize("design", ["uneven, no gap", "strata of two and two"])
def test_differences_within_strata_are_covered(design):
    runs = 1000
    assert abs(coverage_of_differences(*DESIGNS[design], runs) - 0.95) < statistical(runs, p=0.05)


@pytest.mark.proof
@pytest.mark.parametrize("design", DESIGNS)
def test_differences_within_strata_are_covered_as_often_as_stated(design):
    runs = 3000
    covered = coverage_of_differences(*DESIGNS[design], runs)
    slack = statistical(runs, p=0.05, k=2)
    assert 0.93 - slack < covered < 0.97 + slack


@pytest.mark.proof
def test_differences_are_covered_where_strata_are_drawn_too():
    rng, runs, covered = np.random.default_rng(2), 2000, 0
    share, of_first = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.6, 0.4])
    first, second = np.array([0.2, 0.7, 0.9]), np.array([0.5, 0.4, 0.5])
    truth = float(share @ (first - second))
    for _ in range(runs):
        k = rng.choice(3, 300, p=share)
        is_first = rng.random(300) < of_first[k]
        hit = rng.random(300) < np.where(is_first, first[k], second[k])
        n = np.array([np.bincount(k[own], minlength=3) for own in (is_first, ~is_first)])
        x = np.array([np.bincount(k[own & hit], minlength=3) for own in (is_first, ~is_first)])
        interval = stratified_difference(x, n, n.sum(axis=0)).interval
        covered += interval.low <= truth <= interval.high
    assert 0.93 < covered / runs < 0.98


@pytest.mark.parametrize("ratio", [1.0, 2.5])
@pytest.mark.parametrize("size", [40, 3])
def test_odds_ratios_are_covered_as_often_as_stated(ratio, size):
    runs, strata = 2000, 120 // size
    rng, covered = np.random.default_rng(3), 0
    second = np.linspace(0.2, 0.6, strata)
    first = ratio * second / (1 - second + ratio * second)
    n = np.full((2, strata), size)
    for _ in range(runs):
        _, interval = mantel_haenszel_odds_ratio(
            np.array([rng.binomial(size, first), rng.binomial(size, second)]), n
        )
        covered += interval.low <= ratio <= interval.high
    assert 0.93 < covered / runs < 0.97
