"""Calibration: planted overconfidence is found, true probabilities are left in peace."""

import numpy as np
import pytest

from auditkit.audits.audit import AuditContext
from auditkit.audits.performance.calibration import Calibration
from auditkit.errors import DataError
from tests.fakes import TableSubject, scoring, table_card, table_data
from tests.tolerances import FLOAT, statistical

CLASSES = ("a", "b", "c")


def figures(output):
    return {m.metric: m for m in output.measurements}


def binary(n, *, exaggeration, seed=0):
    """A subject whose log-odds are ``exaggeration`` times the true ones."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 1.5, n)
    y_true = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    return scoring(1 / (1 + np.exp(-exaggeration * log_odds))), table_data(y_true)


def multiclass(n, *, temperature, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, size=(n, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y_true = (rng.random(n)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    stated = logits / temperature
    stated -= np.log(np.exp(stated).sum(axis=1, keepdims=True))
    return TableSubject(table_card(CLASSES), stated), table_data(y_true, classes=CLASSES, positive=None)


def measured(subject, data, seed=1, **parameters):
    return Calibration(**parameters).measure(subject, data, AuditContext(seed=seed))


def test_planted_exaggeration_is_shown_and_true_probabilities_are_not():
    planted = figures(measured(*binary(3000, exaggeration=2.0)))
    honest = figures(measured(*binary(3000, exaggeration=1.0)))
    assert planted["expected_calibration_error.excess"].interval.low > 0
    assert planted["expected_calibration_error"].value > 0.05
    assert honest["expected_calibration_error.excess"].interval.low <= 0
    assert honest["expected_calibration_error"].interval.low == 0


def test_planted_overconfidence_of_many_classes_is_shown():
    planted = figures(measured(*multiclass(3000, temperature=0.5)))
    honest = figures(measured(*multiclass(3000, temperature=1.0)))
    assert planted["calibration_in_the_large"].interval.low > 0
    assert planted["expected_calibration_error.excess"].interval.low > 0
    assert honest["expected_calibration_error.excess"].interval.low <= 0


def test_honest_subjects_are_seldom_accused():
    runs = 80
    accused = sum(
        figures(measured(*binary(300, exaggeration=1.0, seed=seed), seed=seed))[
            "expected_calibration_error.excess"
        ].interval.low
        > 0
        for seed in range(runs)
    )
    assert accused / runs < 0.025 + statistical(runs, p=0.025)


def test_excess_is_the_error_above_its_floor():
    found = figures(measured(*binary(500, exaggeration=1.5)))
    error, floor, excess = (found[f"expected_calibration_error{s}"] for s in ("", ".floor", ".excess"))
    assert excess.value == pytest.approx(error.value - floor.value, **FLOAT)
    assert (error.n, error.better, floor.provenance) == (500, "lower", "derived")


def test_the_same_seed_gives_the_same_figures_and_batches_change_none():
    subject, data = binary(400, exaggeration=1.3)
    one = Calibration().measure(subject, data, AuditContext(seed=5, batch_size=64))
    two = Calibration().measure(subject, data, AuditContext(seed=5, batch_size=512))
    assert one == two


def test_the_error_does_not_depend_on_the_order_of_rows():
    subject, data = binary(400, exaggeration=1.3)
    order = np.random.default_rng(0).permutation(400)
    one, two = figures(measured(subject, data)), figures(measured(subject, data.take(order)))
    name = "expected_calibration_error"
    assert one[name].value == pytest.approx(two[name].value, **FLOAT)


def test_fewer_bins_are_made_when_scores_are_equal():
    output = measured(
        scoring([0.25] * 40 + [0.75] * 40), table_data([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30)
    )
    curve = next(e for e in output.evidence if e.kind == "curve")
    assert curve.series[0].x == pytest.approx((0.25, 0.75), **FLOAT)
    assert curve.series[0].y == (0.25, 0.75)
    assert figures(output)["expected_calibration_error"].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("subject_data", "title"),
    [
        (binary(3000, exaggeration=1.0), "No difference"),
        (binary(3000, exaggeration=2.5), "Right on average"),
        (multiclass(3000, temperature=0.5), "Confidence exceeds accuracy"),
        (multiclass(3000, temperature=2.0), "Confidence falls short"),
        ((scoring([0.8] * 200), table_data([0, 1] * 100)), "points more often than it occurs"),
        ((scoring([0.2] * 200), table_data([0, 1] * 100)), "points less often than it occurs"),
    ],
)
def test_the_chart_says_what_it_shows(subject_data, title):
    curve = next(e for e in measured(*subject_data).evidence if e.kind == "curve")
    assert title in str(curve.title)
    assert curve.diagonal


def test_a_single_row_is_measured_without_claims():
    subject, data = binary(1, exaggeration=1.0)
    found = figures(measured(subject, data))
    assert found["expected_calibration_error"].interval.low == 0
    assert found["calibration_in_the_large"].interval is None
    change = figures(Calibration().compare(subject, subject, data, AuditContext(seed=1)))
    assert change["expected_calibration_error.change"].interval is None


def test_a_worse_variant_is_told_from_the_baseline_in_pairs():
    baseline, data = binary(2000, exaggeration=1.0)
    variant, _ = binary(2000, exaggeration=2.0)
    audit, context = Calibration(), AuditContext(seed=1)
    before, after = (figures(audit.measure(s, data, context)) for s in (baseline, variant))
    changes = figures(audit.compare(baseline, variant, data, context))
    for name in ("expected_calibration_error", "brier"):
        change = changes[f"{name}.change"]
        assert change.value == pytest.approx(after[name].value - before[name].value, **FLOAT)
        assert change.interval.low > 0


def test_weighted_rows_equal_repeated_rows():
    subject, data = binary(60, exaggeration=1.0)
    weights = np.tile([1.0, 2.0, 3.0], 20)
    weighted = table_data(data.y_true, sample_weight=weights)
    repeated = data.take(np.repeat(np.arange(60), weights.astype(int)))
    one, two = (figures(measured(subject, d)) for d in (weighted, repeated))
    for name in ("brier", "calibration_in_the_large"):
        assert one[name].value == pytest.approx(two[name].value, **FLOAT)


def test_the_brier_score_of_many_classes_sums_over_them():
    subject, data = multiclass(50, temperature=1.0)
    hit = np.eye(3)[data.y_true]
    expected = ((np.exp(subject.log_probabilities) - hit) ** 2).sum(axis=1).mean()
    assert figures(measured(subject, data))["brier"].value == pytest.approx(expected, **FLOAT)


def test_one_bin_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Calibration(bins=1)


def test_rows_without_any_weight_are_refused_with_the_remedy():
    data = table_data([0, 1], sample_weight=[0.0, 0.0])
    with pytest.raises(DataError, match="Check the weight column"):
        measured(scoring([0.2, 0.8]), data)
