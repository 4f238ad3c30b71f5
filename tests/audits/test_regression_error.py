"""Errors of foretold numbers against scikit-learn, hand formulas and simulations."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from auditkit.audits.audit import AuditContext
from auditkit.audits.performance.regression_error import RegressionError
from auditkit.errors import DataError
from auditkit.statistics import regression
from auditkit.statistics.intervals import mean_interval
from auditkit.statistics.regression import Foretold
from tests.audits.regression_scenes import Written, measured, value_data
from tests.tolerances import FLOAT, statistical

ORACLE = 1e-12


def drawn(n, seed, *, noise="normal"):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    errors = {"normal": rng.normal, "laplace": rng.laplace}[noise](size=n)
    return 2 * signal + errors, 1.8 * signal + 0.1


@pytest.mark.parametrize("weighted", [False, True])
def test_figures_are_those_of_scikit_learn(weighted):
    outcome, foretold = drawn(400, 0)
    weight = np.random.default_rng(1).uniform(0.2, 3, 400) if weighted else None
    found, _ = measured(RegressionError(), value_data(outcome, foretold, weight=weight))
    squared = mean_squared_error(outcome, foretold, sample_weight=weight)
    assert found["mean_absolute_error"].value == pytest.approx(
        mean_absolute_error(outcome, foretold, sample_weight=weight), abs=ORACLE
    )
    assert found["root_mean_squared_error"].value == pytest.approx(np.sqrt(squared), abs=ORACLE)
    assert found["r2"].value == pytest.approx(r2_score(outcome, foretold, sample_weight=weight), abs=ORACLE)
    assert found["bias"].value == pytest.approx(np.average(foretold - outcome, weights=weight), abs=ORACLE)


def test_a_toy_has_the_figures_of_its_closed_form():
    """Errors 1, -1, 2, 0; outcomes 0, 2, 4, 6 with variance 5."""
    found, _ = measured(RegressionError(), value_data([0, 2, 4, 6], [1, 1, 6, 6]))
    assert found["bias"].value == 0.5
    assert found["mean_absolute_error"].value == 1.0
    assert found["root_mean_squared_error"].value == pytest.approx(np.sqrt(1.5), **FLOAT)
    assert found["r2"].value == pytest.approx(1 - 1.5 / 5, **FLOAT)


def test_the_interval_of_the_mean_error_is_students():
    outcome, foretold = drawn(40, 3)
    found, _ = measured(RegressionError(), value_data(outcome, foretold))
    exact = mean_interval(foretold - outcome)
    assert found["bias"].interval.low == pytest.approx(exact.low, **FLOAT)
    assert found["bias"].interval.high == pytest.approx(exact.high, **FLOAT)


def test_rows_repeated_under_one_person_tell_no_more():
    outcome, foretold = drawn(60, 4)
    once, _ = measured(RegressionError(), value_data(outcome, foretold))
    person = np.repeat(np.arange(60), 3)
    thrice, _ = measured(
        RegressionError(), value_data(np.repeat(outcome, 3), np.repeat(foretold, 3), person=person)
    )
    for metric, one in once.items():
        assert thrice[metric].value == pytest.approx(one.value, **FLOAT)
        assert thrice[metric].interval.low == pytest.approx(one.interval.low, **FLOAT)
        assert thrice[metric].interval.high == pytest.approx(one.interval.high, **FLOAT)


def test_a_weight_counts_as_so_many_rows_of_one_person():
    outcome, foretold = drawn(60, 5)
    times = np.arange(60) % 3 + 1
    weighted, _ = measured(RegressionError(), value_data(outcome, foretold, weight=times))
    repeated, _ = measured(
        RegressionError(),
        value_data(
            np.repeat(outcome, times), np.repeat(foretold, times), person=np.repeat(np.arange(60), times)
        ),
    )
    for metric, one in weighted.items():
        assert repeated[metric].value == pytest.approx(one.value, **FLOAT)
        assert repeated[metric].interval.high == pytest.approx(one.interval.high, **FLOAT)


def test_a_single_row_has_no_figure_but_the_reason():
    found, _ = measured(RegressionError(), value_data([1.0], [2.0]))
    assert {one.value for one in found.values()} == {None}
    assert "alone does not tell" in str(found["bias"].missing)
    assert "do not vary" in str(found["r2"].missing)


def test_errors_that_do_not_vary_have_no_made_up_interval():
    found, _ = measured(RegressionError(), value_data([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]))
    assert found["bias"].value is None
    assert "It is 1 on rows" in str(found["bias"].missing)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="weight 0"):
        measured(RegressionError(), value_data([1.0, 2.0], [1.0, 2.0], weight=[0, 0]))


def test_the_chart_says_where_it_is_off():
    rng = np.random.default_rng(6)
    foretold = rng.uniform(0, 10, 1000)
    outcome = foretold - 3 * (foretold > 9) + rng.normal(size=1000)
    _, output = measured(RegressionError(), value_data(outcome, foretold))
    (chart,) = output.evidence
    assert "too much on average" in str(chart.title)
    assert float(chart.title.values["at"]) > 9
    _, output = measured(RegressionError(), value_data(foretold + rng.normal(size=1000), foretold))
    assert "no mean error beyond chance" in str(output.evidence[0].title)


def test_a_change_is_the_mean_of_paired_differences():
    outcome, foretold = drawn(200, 7)
    worse = foretold + np.random.default_rng(8).normal(size=200)

    class Worse(Written):
        def predict_values(self, data, *, batch_size):
            return worse

    output = RegressionError().compare(
        Written(), Worse("variant"), value_data(outcome, foretold), AuditContext(seed=1)
    )
    change = {one.metric: one for one in output.measurements}["mean_absolute_error.change"]
    paired = np.abs(worse - outcome) - np.abs(foretold - outcome)
    assert change.value == pytest.approx(paired.mean(), **FLOAT)
    assert change.interval.low == pytest.approx(mean_interval(paired).low, **FLOAT)


FIGURES = ("mean_error", "mean_absolute_error", "root_mean_squared_error", "r_squared")


def coverage(n, runs, *, noise, persons=1):
    """Share of samples whose 95 % interval holds the truth, per figure.

    With ``persons`` > 1 every person has so many rows that share half of the error's variance.
    """
    hits = dict.fromkeys(FIGURES, 0)
    scale = {"normal": 1.0, "laplace": 2.0}[noise]
    truth = {
        "mean_error": 0.1,
        "root_mean_squared_error": np.sqrt(scale + 0.04 + 0.01),
        "r_squared": 1 - (scale + 0.05) / (4 + scale),
    }
    big_outcome, big_foretold = drawn(1_000_000, 99, noise=noise)
    truth["mean_absolute_error"] = float(np.abs(big_foretold - big_outcome).mean())
    for run in range(runs):
        outcome, foretold = drawn(n, run, noise=noise)
        person = None
        if persons > 1:
            outcome, foretold = np.repeat(outcome, persons), np.repeat(foretold, persons)
            person = np.repeat(np.arange(n), persons)
        rows = Foretold(outcome, foretold, None, person)
        for name in FIGURES:
            low, high = getattr(regression, name)(rows).bounds(0.95)
            hits[name] += low <= truth[name] <= high
    return {name: hit / runs for name, hit in hits.items()}


def test_intervals_hold_the_truth_as_often_as_they_say():
    runs = 600
    for name, share in coverage(100, runs, noise="normal").items():
        assert abs(share - 0.95) < statistical(runs, p=0.95), name


@pytest.mark.parametrize("persons", [1, 4])
def test_intervals_hold_also_where_rows_share_persons(persons):
    runs = 300
    share = coverage(60, runs, noise="normal", persons=persons)["mean_error"]
    assert abs(share - 0.95) < statistical(runs, p=0.95)


@pytest.mark.proof
@pytest.mark.parametrize(("noise", "n"), [("normal", 50), ("normal", 500), ("laplace", 500)])
def test_intervals_hold_in_other_designs(noise, n):
    runs = 4000
    for name, share in coverage(n, runs, noise=noise).items():
        assert 0.93 <= share <= 0.97, (name, share)
