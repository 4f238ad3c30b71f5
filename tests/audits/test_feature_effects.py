"""Partial dependence, its spread and accumulated effects against models whose curves are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import partial_dependence as peer_partial_dependence

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.global_view.asked import Asked
from auditkit.audits.explainability.global_view.effect_curves import (
    Score,
    accumulated_effects,
    conditional_curves,
    edges_of,
    grid_of,
    heterogeneity,
    partial_dependence,
)
from auditkit.audits.explainability.global_view.effect_range import curve_range
from auditkit.audits.explainability.global_view.feature_effects import FeatureEffects
from auditkit.audits.explainability.global_view.table_features import table_features
from auditkit.data.dataset import FeatureSpace
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.errors import UsageError
from auditkit.testing import linear_subject, tiny_dataset, tiny_subject
from tests.audits.whole_model_scenes import Deciding, by_feature, foretelling, labelled, linear, numbers
from tests.tolerances import FLOAT, FLOAT32

CONTEXT = AuditContext(seed=5)
VALUE = Score(None, "probability")


def gaussian(n=200, d=3, rho=0.0, seed=0):
    covariance = np.full((d, d), rho) + (1 - rho) * np.eye(d)
    return np.random.default_rng(seed).multivariate_normal(np.zeros(d), covariance, size=n)


def asked_of(subject, inputs, **more):
    data = numbers(inputs, inputs[:, 0] + np.arange(len(inputs)), **more)
    return Asked.about(subject, data, batch_size=64), table_features(
        data, getattr(subject, "preprocessing", None)
    )


# --- curves ----------------------------------------------------------------------------------------


def test_partial_dependence_of_an_additive_model_is_its_component():
    inputs = gaussian(rho=0.7)
    subject = foretelling(lambda x: 2 * x[:, 0] + x[:, 1] ** 2 + torch.sin(x[:, 2]), 3)
    asked, features = asked_of(subject, inputs)
    for feature, component in zip(features, (lambda x: 2 * x, lambda x: x**2, np.sin), strict=True):
        grid = grid_of(feature, inputs, 9)
        curves = conditional_curves(asked, VALUE, feature, grid)
        found = partial_dependence(curves, grid).curve
        assert found - found[0] == pytest.approx(component(grid) - component(grid)[0], **FLOAT)
        assert heterogeneity(curves)[0] == pytest.approx(0.0, abs=1e-12)


class Peer(RegressorMixin, BaseEstimator):
    """A subject as scikit-learn calls one."""

    def __init__(self, subject, data):
        self.subject, self.data, self.fitted_ = subject, data, True

    def fit(self, X, y):  # noqa: N803 - names of scikit-learn
        return self

    def predict(self, X):  # noqa: N803
        rows = replace(self.data.take(np.zeros(len(X), dtype=np.int64)), inputs=torch.from_numpy(X))
        return self.subject.predict_values(rows, batch_size=64)


def test_curves_of_single_rows_are_those_of_scikit_learn():
    inputs = gaussian(40)
    subject = foretelling(lambda x: x[:, 0] * x[:, 1] + torch.exp(x[:, 2]), 3)
    asked, features = asked_of(subject, inputs)
    grid = grid_of(features[1], inputs, 7)
    theirs = peer_partial_dependence(
        Peer(subject, asked.rows), inputs, [1], kind="both", custom_values={1: grid}, method="brute"
    )
    ours = conditional_curves(asked, VALUE, features[1], grid)
    assert ours == pytest.approx(theirs["individual"][0], **FLOAT)
    assert ours.mean(axis=0) == pytest.approx(theirs["average"][0], **FLOAT)


def test_accumulated_effects_of_a_linear_model_rise_by_its_slope_exactly():
    inputs = gaussian(rho=0.9)
    asked, features = asked_of(linear([1.5, -0.25, 0.0]), inputs)
    for feature, slope in zip(features, (1.5, -0.25, 0.0), strict=True):
        found = accumulated_effects(asked, VALUE, feature, 12)
        assert np.diff(found.curve) / np.diff(found.points) == pytest.approx(slope, rel=1e-9, abs=1e-12)


def test_accumulated_effects_follow_the_data_where_partial_dependence_leaves_them():
    """x0 * x1 with x1 = x0: local effects add up to x0 ** 2 / 2, partial dependence is flat at 0."""
    x = np.linspace(-1, 1, 401)
    inputs = np.column_stack([x, x])
    asked, features = asked_of(foretelling(lambda rows: rows[:, 0] * rows[:, 1], 2), inputs)
    local = accumulated_effects(asked, VALUE, features[0], 40)
    expected = local.points**2 / 2
    assert local.curve - local.curve.mean() == pytest.approx(expected - expected.mean(), abs=1 / 20**2)
    grid = grid_of(features[0], inputs, 21)
    flat = partial_dependence(conditional_curves(asked, VALUE, features[0], grid), grid)
    assert flat.curve == pytest.approx(0.0, abs=1e-12)


def test_accumulated_effects_have_mean_0_over_the_rows():
    inputs = gaussian(300)
    asked, features = asked_of(foretelling(lambda x: torch.exp(x[:, 0]), 3), inputs)
    found = accumulated_effects(asked, VALUE, features[0], 10)
    at_rows = np.interp(inputs[found.rows, 0], found.points, found.curve)
    assert at_rows.mean() == pytest.approx(0.0, abs=0.02)


def test_spread_between_rows_is_the_closed_form_of_a_product():
    """The curve of a row is g * x1: its slope varies as x1 does."""
    inputs = gaussian(150)
    asked, features = asked_of(foretelling(lambda x: x[:, 0] * x[:, 1], 3), inputs)
    grid = grid_of(features[0], inputs, 9)
    found, squares = heterogeneity(conditional_curves(asked, VALUE, features[0], grid))
    assert found == pytest.approx(inputs[:, 1].std(ddof=1) * grid.std(), **FLOAT)
    assert squares.mean() == pytest.approx(found**2, **FLOAT)


def test_log_odds_of_a_logistic_model_are_linear():
    data = tiny_dataset(100)
    weights = np.array([2.0, -1.0, 0.0, 0.0, 0.0])
    output = FeatureEffects(scale="log_odds").measure(linear_subject(weights), data, CONTEXT)
    found = by_feature(output)
    for name, weight in (("age", 2.0), ("income", -1.0), ("debt", 0.0)):
        column = data.inputs[:, 0 if name == "age" else 1 if name == "income" else 2].numpy()
        low, high = np.quantile(column, [0.025, 0.975], method="inverted_cdf")
        for metric in ("partial_dependence_range", "accumulated_effects_range"):
            figure = found[metric, name]
            assert figure.value == pytest.approx(abs(weight) * (high - low), rel=1e-4, abs=1e-5)
            assert figure.unit == "nat"


# --- units -----------------------------------------------------------------------------------------


STEPS = TablePreprocessing(
    target="label",
    classes=("no", "yes"),
    features=(
        NumericFeature(name="age", mean=40.0, scale=10.0, fill=38.0, missing_indicator=True),
        CategoricalFeature(name="job", levels=("clerk", "nurse")),
    ),
)


def in_steps(ages, jobs):
    known = np.isfinite(ages)
    filled = np.where(known, ages, 38.0)
    return np.column_stack([(filled - 40) / 10, ~known, jobs == 0, jobs == 1]).astype(np.float32)


def test_values_are_in_the_units_that_a_reader_knows_and_missing_ones_take_no_part_in_steps():
    rng = np.random.default_rng(0)
    ages = rng.integers(20, 60, 120).astype(float)
    ages[:20] = np.nan
    inputs = in_steps(ages, rng.integers(0, 2, 120))
    data = labelled(inputs, rng.integers(0, 2, 120), names=("age", "job"), owner=(0, 0, 1, 1))
    subject = Deciding(lambda rows: rows[:, 0] * 10 + 40 > 45, preprocessing=STEPS)
    output = FeatureEffects(grid_points=60, ale_bins=8).measure(subject, data, CONTEXT)
    (curve,) = [one for one in output.evidence if one.kind == "curve"]
    assert set(curve.series[0].x) == set(ages[20:])
    assert all(y == float(x > 45) for x, y in zip(curve.series[0].x, curve.series[0].y, strict=True))
    found = by_feature(output)
    assert found["partial_dependence_range", "age"].n == 120
    assert found["accumulated_effects_range", "age"].n <= 100
    changed = np.concatenate(subject.asked[-3:])
    assert set(np.unique(changed[:, 1])) <= {0.0, 1.0}


def test_levels_of_a_category_are_named_and_given_whole():
    rng = np.random.default_rng(1)
    jobs = rng.integers(0, 2, 90)
    data = labelled(in_steps(np.full(90, 40.0), jobs), jobs, names=("age", "job"), owner=(0, 0, 1, 1))
    subject = Deciding(lambda rows: rows[:, 3] > 0.5, preprocessing=STEPS)
    output = FeatureEffects().measure(subject, data, CONTEXT)
    (dots,) = [one for one in output.evidence if one.kind == "dots"]
    assert [mark.label for mark in dots.marks] == ["nurse", "clerk"]
    assert [mark.estimate.value for mark in dots.marks] == [1.0, 0.0]
    assert str(dots.title) == "P(yes) is lowest at job = clerk, and higher by 1 at nurse"
    asked = np.concatenate(subject.asked)
    assert (asked[:, 2:].sum(axis=1) == 1).all()
    found = by_feature(output)
    assert "no order" in str(found["accumulated_effects_range", "job"].missing)
    assert ("partial_dependence_range", "age") not in found


@settings(deadline=None, max_examples=15)
@given(st.floats(-100, 100), st.floats(0.1, 50))
def test_the_unit_of_a_feature_moves_the_axis_and_not_the_curve(mean, scale):
    inputs = gaussian(40, d=1)
    feature = NumericFeature(name="x0", mean=mean, scale=scale, fill=0.0)
    subject = foretelling(lambda x: x[:, 0] ** 2, 1, features=(feature,))
    asked, features = asked_of(subject, inputs)
    plain, own = asked_of(foretelling(lambda x: x[:, 0] ** 2, 1), inputs)
    grid, other = grid_of(features[0], inputs, 5), grid_of(own[0], inputs, 5)
    assert (grid - mean) / scale == pytest.approx(other, abs=1e-4)
    moved = conditional_curves(asked, VALUE, features[0], grid).mean(axis=0)
    assert moved == pytest.approx(conditional_curves(plain, VALUE, own[0], other).mean(axis=0), abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=60), st.integers(1, 12))
def test_edges_ascend_and_every_bin_holds_a_row(values, bins):
    found = np.asarray(values, dtype=float)
    edges = edges_of(found, bins)
    if edges is None:
        return
    assert (np.diff(edges) > 0).all()
    inside = found[(found >= edges[0]) & (found <= edges[-1])]
    place = np.clip(np.searchsorted(edges, inside, side="left") - 1, 0, len(edges) - 2)
    assert set(place.tolist()) == set(range(len(edges) - 1))


# --- intervals and figures -------------------------------------------------------------------------


def test_the_range_of_noise_around_a_flat_curve_does_not_exclude_0():
    """Picking the two points furthest apart would exclude it nearly always."""
    rng, runs, excluded = np.random.default_rng(2), 60, 0
    for _ in range(runs):
        curves = rng.normal(size=(80, 12))
        mean = curves.mean(axis=0)
        _, interval = curve_range(mean, curves - mean, persons=None, confidence=0.95, rng=rng)
        excluded += interval.low > 0
    assert excluded <= 0.05 * runs + 4 * (0.05 * 0.95 * runs) ** 0.5


def test_a_feature_that_the_model_ignores_moves_nothing():
    inputs = gaussian(80)
    data = numbers(inputs, inputs[:, 0])
    found = by_feature(FeatureEffects().measure(linear([1.0, 0.0, 0.5]), data, CONTEXT))
    for metric in ("partial_dependence_range", "accumulated_effects_range", "effect_heterogeneity"):
        figure = found[metric, "x1"]
        assert figure.value == pytest.approx(0.0, abs=1e-9)
        assert figure.interval.low == 0.0


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        (lambda x: 2 * x[:, 0], "price rises by"),
        (lambda x: -2 * x[:, 0], "price falls by"),
        (lambda x: x[:, 0] ** 2, "price is lowest at x0 ="),
        (lambda x: 0 * x[:, 0], "x0 is not shown to move price"),
    ],
)
def test_the_title_says_where_the_score_goes(formula, sentence):
    inputs = gaussian(100, d=1)
    output = FeatureEffects().measure(foretelling(formula, 1), numbers(inputs, inputs[:, 0]), CONTEXT)
    (curve,) = [one for one in output.evidence if one.kind == "curve"]
    assert str(curve.title).startswith(sentence)


def test_labels_alone_give_shares_of_rows():
    data = tiny_dataset(60)
    output = FeatureEffects().measure(Deciding(lambda rows: rows[:, 0] > 0), data, CONTEXT)
    assert by_feature(output)["partial_dependence_range", "age"].value == 1.0
    assert any("no probabilities" in str(note) for note in output.notes)


def test_of_several_classes_the_one_predicted_most_is_described_unless_another_is_chosen():
    data = replace(tiny_dataset(80, classes=3), positive=None)
    subject = tiny_subject(3)
    common = np.bincount(subject.predict(data, batch_size=64).y_pred).argmax()
    output = FeatureEffects().measure(subject, data, CONTEXT)
    assert any(note.values.get("label") == data.classes[common] for note in output.notes)
    other = FeatureEffects(target_class="class 0").measure(subject, data, CONTEXT)
    assert other.evidence[0].title.values["what"] == "P(class 0)"
    with pytest.raises(UsageError, match="'class 9' is not a class"):
        FeatureEffects(target_class="class 9").measure(subject, data, CONTEXT)


def test_of_very_many_features_those_that_move_the_score_are_asked_about():
    inputs = gaussian(60, d=8)
    weights = [0.0, 0.0, 3.0, 0.0, 0.0, -2.0, 0.0, 0.1]
    output = FeatureEffects(max_features=2).measure(linear(weights), numbers(inputs, inputs[:, 0]), CONTEXT)
    assert {name for metric, name in by_feature(output)} == {"x2", "x5"}
    assert any(note.values == {"n": 2, "total": 8} for note in output.notes)


def test_pictures_are_refused_with_the_reason():
    data = replace(tiny_dataset(20), features=FeatureSpace((), (), (1, 5)))
    output = FeatureEffects().measure(tiny_subject(), data, CONTEXT)
    assert {one.value for one in output.measurements} == {None}
    assert "no table" in str(output.measurements[0].missing)


def test_figures_do_not_hang_on_single_precision():
    data = tiny_dataset(100)
    double = replace(data, inputs=data.inputs.double())
    subject = Deciding(lambda rows: rows[:, 0] + rows[:, 1] > 0)
    first, second = (by_feature(FeatureEffects().measure(subject, one, CONTEXT)) for one in (data, double))
    for key, figure in first.items():
        assert figure.value == (second[key].value and pytest.approx(second[key].value, **FLOAT32))
