"""Composite figures against scikit-learn, their derivatives, and coverage of their intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from auditkit.statistics.composites import COMPOSITES, Composites, influence
from auditkit.statistics.counts import Cells
from auditkit.statistics.simultaneous import largest_gap, pair_confidence
from tests.tolerances import FLOAT, statistical

ORACLES = {
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "f1": sklearn.f1_score,
    "matthews_correlation": sklearn.matthews_corrcoef,
    "informedness": lambda t, p: sklearn.balanced_accuracy_score(t, p, adjusted=True),
    "treatment_ratio": lambda t, p: ((t == 1) & (p == 0)).sum() / ((t == 0) & (p == 1)).sum(),
    "average_odds": lambda t, p: (
        (sklearn.recall_score(t, p) + 1 - sklearn.recall_score(t, p, pos_label=0)) / 2
    ),
}
DESIGNS = [(0.3, 0.2, 0.15, 0.35), (0.1, 0.05, 0.1, 0.75), (0.04, 0.06, 0.1, 0.8)]


def cells_of(counts):
    """Cells from counts of true positives, false negatives, false positives and true negatives."""
    n = np.asarray(counts, dtype=np.int64).reshape(-1, 4)
    n = np.column_stack([n, np.zeros(len(n), dtype=np.int64)])
    return Cells(n, n.astype(np.float64), n.astype(np.float64))


def rows_of(tp, fn, fp, tn):
    return np.repeat([1, 1, 0, 0], [tp, fn, fp, tn]), np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])


def test_every_composite_has_an_oracle():
    assert set(ORACLES) == set(COMPOSITES)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(counts=st.tuples(*[st.integers(1, 40)] * 4), name=st.sampled_from(sorted(COMPOSITES)))
def test_values_equal_scikit_learn(counts, name):
    found = Composites.of(cells_of(counts), COMPOSITES[name])
    assert found.value[0] == pytest.approx(ORACLES[name](*rows_of(*counts)), abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(counts=st.tuples(*[st.integers(0, 12)] * 4), name=st.sampled_from(sorted(COMPOSITES)))
def test_an_interval_holds_its_value_and_stays_in_range(counts, name):
    metric = COMPOSITES[name]
    found = Composites.of(cells_of(counts), metric)
    low, high = found.bounds(0.95)
    if np.isfinite(found.value[0]):
        assert metric.low - 1e-9 <= low[0] <= found.value[0] <= high[0]
        assert metric.high is None or high[0] <= metric.high + 1e-9
        assert high[0] - low[0] > 0.01


UNDEFINED = {
    "balanced_accuracy": (3, 2, 0, 0),
    "informedness": (0, 0, 3, 2),
    "average_odds": (0, 0, 3, 2),
    "f1": (0, 0, 0, 9),
    "matthews_correlation": (3, 0, 4, 0),
    "treatment_ratio": (3, 2, 0, 2),
}


@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_nothing_by_nothing_is_undefined(name):
    for counts in (UNDEFINED[name], (0, 0, 0, 0)):
        assert np.isnan(Composites.of(cells_of(counts), COMPOSITES[name]).value[0])


@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_what_a_row_adds_is_the_derivative(name):
    weight, step = np.array([[13.0, 7.0, 5.0, 21.0, 2.0]]), 1e-5
    found = influence(COMPOSITES[name], weight)
    for cell in range(5):
        shift = np.zeros(5)
        shift[cell] = step
        slope = (COMPOSITES[name].value(weight + shift) - COMPOSITES[name].value(weight - shift)) / (2 * step)
        assert found[0, cell] == pytest.approx(slope[0], rel=1e-6, abs=1e-9)


def coverage(name, shares, n, runs, seed=0):
    """Share of intervals that hold the truth, and of samples of three equal groups that show no gap."""
    metric, rng = COMPOSITES[name], np.random.default_rng(seed)
    found = Composites.of(cells_of(rng.multinomial(n, shares, size=(runs, 3))), metric)
    truth = metric.value(np.array([[*shares, 0.0]]))[0]
    low, high = found.bounds(0.95)
    values = found.value.reshape(-1, 3)
    defined = np.isfinite(values).all(axis=1)
    held = ((low <= truth) & (truth <= high))[np.isfinite(found.value)].mean()
    joint = [end.reshape(-1, 3)[defined] for end in found.bounds(pair_confidence(3))]
    each = [end.reshape(-1, 3)[defined] for end in (low, high)]
    silent = [
        largest_gap(v, (a, b), (c, d), confidence=0.95, method="test").interval.low <= 0
        for v, a, b, c, d in zip(values[defined], *joint, *each, strict=True)
    ]
    return float(held), float(np.mean(silent))


@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_intervals_hold_and_equal_groups_are_seldom_told_apart(name):
    held, silent = coverage(name, DESIGNS[1], 200, 400)
    assert held == pytest.approx(0.95, abs=statistical(1200, p=0.05))
    assert silent == pytest.approx(0.95, abs=statistical(400, p=0.05))


@pytest.mark.proof
@pytest.mark.parametrize("name", sorted(COMPOSITES))
@pytest.mark.parametrize("shares", DESIGNS)
@pytest.mark.parametrize("n", [100, 1000])
def test_coverage_of_composites_is_93_to_97_percent(name, shares, n):
    held, silent = coverage(name, shares, n, 3000)
    assert 0.93 <= held <= 0.97
    assert silent >= 0.93


def test_weights_count_as_their_effective_number():
    n = np.array([[10, 10, 10, 10, 0]])
    doubled = Composites.of(Cells(n, 2.0 * n, 4.0 * n), COMPOSITES["f1"])
    plain = Composites.of(Cells(n, 1.0 * n, 1.0 * n), COMPOSITES["f1"])
    assert doubled.counts == pytest.approx(plain.counts, **FLOAT)
