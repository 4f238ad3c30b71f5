"""Permutation importance and SAGE against models whose answers are known, and against plain references."""

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.global_view.asked import Asked
from auditkit.audits.explainability.global_view.exchanged_units import exchanged_units, patch_owner
from auditkit.audits.explainability.global_view.feature_importance import FeatureImportance
from auditkit.audits.explainability.global_view.permutation import (
    Exchange,
    base_costs,
    cost_changes,
    exchange_within,
)
from auditkit.audits.explainability.global_view.sage import Effort, sage
from auditkit.data.dataset import FeatureSpace, TokenSpace
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.testing import tiny_dataset, tiny_subject
from tests.audits.whole_model_scenes import Deciding, by_feature, foretelling, labelled, linear, numbers
from tests.fakes import table_card
from tests.tolerances import FLOAT, FLOAT32

CONTEXT = AuditContext(seed=5)


def gaussian(n=300, d=3, rho=0.0, seed=0):
    rng = np.random.default_rng(seed)
    covariance = np.full((d, d), rho) + (1 - rho) * np.eye(d)
    return rng.multivariate_normal(np.zeros(d), covariance, size=n), rng


# --- permutation importance ------------------------------------------------------------------------


class Estimator(BaseEstimator):
    """A subject as scikit-learn calls one."""

    def __init__(self, subject, data):
        self.subject, self.data = subject, data

    def fit(self, X, y):  # noqa: N803 - names of scikit-learn
        return self

    def cost(self, X):  # noqa: N803
        rows = replace(self.data, inputs=torch.from_numpy(np.asarray(X)))
        return float(self.subject.predict(rows, batch_size=64).loss(self.data.y_true).mean())


def test_importance_is_that_of_scikit_learn_on_the_same_permutations():
    data, subject = tiny_dataset(60), tiny_subject()
    seed, repeats = 11, 5
    theirs = permutation_importance(
        Estimator(subject, data),
        data.inputs.numpy(),
        data.y_true,
        scoring=lambda estimator, X, y: -estimator.cost(X),  # noqa: N803
        n_repeats=repeats,
        random_state=np.random.RandomState(seed),
    )
    # the peer seeds each column alike and shuffles a column again and again
    drawn = np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1)
    shuffler, order, donors = np.random.RandomState(drawn), np.arange(60), []
    own = np.arange(60)
    for _ in range(repeats):
        shuffler.shuffle(order)
        own = own[order]
        donors.append(own.copy())
    asked = Asked.about(subject, data, batch_size=64)
    exchange = Exchange(np.arange(60), np.stack(donors), np.zeros(60, dtype=np.int64))
    base = base_costs(asked)
    for column in range(data.inputs.shape[1]):
        ours = cost_changes(asked, [column], exchange, base).mean(axis=1)
        assert ours == pytest.approx(theirs.importances[column], **FLOAT32)


def test_importance_over_all_exchanges_is_the_closed_form_of_a_linear_model():
    """Squared error of w.x: exchanging x_j adds 2 w_j cov(residual + w_j x_j, x_j) over the variance."""
    inputs, rng = gaussian(40)
    weights, outcome = np.array([1.0, -0.5, 0.3]), inputs @ np.array([1.0, 0.2, 0.0]) + rng.normal(size=40)
    data = numbers(inputs, outcome)
    asked = Asked.about(linear(weights), data, batch_size=64)
    shifts = np.stack([(np.arange(40) + k) % 40 for k in range(40)])
    exchange = Exchange(np.arange(40), shifts, np.zeros(40, dtype=np.int64))
    residual = outcome - inputs @ weights
    for j, weight in enumerate(weights):
        found = cost_changes(asked, [j], exchange, base_costs(asked)).mean()
        x = inputs[:, j]
        both = 2 * weight * (np.mean(residual * x) - residual.mean() * x.mean()) + 2 * weight**2 * x.var()
        assert found == pytest.approx(both / outcome.var(), **FLOAT)


def test_columns_of_one_category_are_exchanged_together():
    levels = np.random.default_rng(0).integers(0, 3, 80)
    inputs = np.column_stack([np.linspace(-1, 1, 80), np.eye(3)[levels]])
    subject = Deciding(lambda rows: rows[:, 1] > 0.5)
    data = labelled(inputs, levels == 0, names=("age", "job"), owner=(0, 1, 1, 1))
    output = FeatureImportance(background_rows=8, max_evaluations=20_000).measure(subject, data, CONTEXT)
    asked = np.concatenate(subject.asked)
    assert (asked[:, 1:].sum(axis=1) == 1).all()
    found = by_feature(output)
    assert found["permutation_importance", "job"].value > 0.3
    assert found["permutation_importance", "age"].value == 0.0
    assert ("permutation_importance", "x1") not in found


def test_a_feature_that_the_control_feature_decides_matters_among_all_rows_and_not_among_alike_ones():
    rng = np.random.default_rng(1)
    group = rng.integers(0, 2, 200)
    inputs = np.column_stack([group, rng.normal(size=200)])
    data = labelled(inputs, group, controls={"site": np.where(group == 1, "b", "a")})
    subject = Deciding(lambda rows: rows[:, 0] > 0.5)
    found = by_feature(FeatureImportance(max_evaluations=20_000).measure(subject, data, CONTEXT))
    assert found["permutation_importance", "x0"].interval.low > 0.3
    assert found["permutation_importance.conditional", "x0"].value == 0.0


def test_values_are_exchanged_within_strata_and_single_rows_take_no_part():
    strata = np.array([3, 0, 0, 5, 3, 0, 3, 9])
    exchange = exchange_within(strata, 6, np.random.default_rng(2))
    assert exchange.index.tolist() == [0, 1, 2, 4, 5, 6]
    own = strata[exchange.index]
    for donors in exchange.donors:
        assert sorted(donors.tolist()) == list(range(6))
        assert (own[donors] == own).all()
    assert exchange_within(np.arange(4), 2, np.random.default_rng(0)) is None


def test_small_strata_count_as_if_no_row_kept_its_own_value():
    """In pairs half of all exchanges change nothing; the figure is that of true exchanges."""
    inputs = np.array([[0.0], [1.0]] * 50)
    data = labelled(inputs, inputs[:, 0], controls={"pair": [str(row // 2) for row in range(100)]})
    subject = Deciding(lambda rows: rows[:, 0] > 0.5)
    audit = FeatureImportance(n_permutations=400, max_evaluations=200_000)
    found = by_feature(audit.measure(subject, data, CONTEXT))["permutation_importance.conditional", "x0"]
    assert found.value == pytest.approx(1.0, abs=0.02)


# --- SAGE ------------------------------------------------------------------------------------------


def draws_of(subject, data, *, n_draws, background=None, seed=0):
    asked = Asked.about(subject, data, batch_size=64)
    background = np.arange(len(data)) if background is None else background
    columns = [unit.columns for unit in exchanged_units(data, None, patches=2)]
    per_draw = max(1, (len(columns) - 1) * len(background))
    effort = Effort(precision=1e-9, max_evaluations=n_draws * per_draw)
    return sage(asked, columns, background, effort, np.random.default_rng(seed))


def reference_sage(predict, inputs, cost):
    """Shapley values over all subsets, features not in a subset averaged over all rows one by one."""
    n, d = inputs.shape

    def worth(known):
        total = 0.0
        for row in range(n):
            mixed = inputs.copy()
            for j in known:
                mixed[:, j] = inputs[row, j]
            total -= cost(predict(mixed).mean(axis=0), row)
        return total / n

    worths = {known: worth(known) for size in range(d + 1) for known in combinations(range(d), size)}
    values = np.zeros(d)
    for j in range(d):
        others = [k for k in range(d) if k != j]
        for size in range(d):
            share = factorial(size) * factorial(d - size - 1) / factorial(d)
            for known in combinations(others, size):
                values[j] += share * (worths[tuple(sorted((*known, j)))] - worths[known])
    return values


def test_values_of_a_linear_model_of_correlated_normal_inputs_are_the_analytic_ones():
    """phi_j = (2 w_j (C t)_j - w_j (C w)_j) / var(y) for outcomes t.x + noise and the model w.x."""
    inputs, rng = gaussian(500, rho=0.5, seed=3)
    weights, truth = np.array([1.0, 0.5, -0.4]), np.array([1.0, 0.0, -0.8])
    outcome = inputs @ truth + 0.5 * rng.normal(size=500)
    data = numbers(inputs, outcome)
    draws = draws_of(linear(weights), data, n_draws=4000, background=np.arange(128))
    covariance = 0.5 * np.ones((3, 3)) + 0.5 * np.eye(3)
    spread = truth @ covariance @ truth + 0.25
    expected = (2 * weights * (covariance @ truth) - weights * (covariance @ weights)) / spread
    for j in range(3):
        interval = draws.interval(j, persons=None, confidence=0.9545)
        assert interval.low <= expected[j] <= interval.high


def test_values_are_those_of_all_subsets_for_a_classifier():
    data, subject = tiny_dataset(14), tiny_subject()
    data = replace(data, features=FeatureSpace(("a", "b", "c", "d"), (0, 1, 2, 3, 3)))
    owner = np.array([0, 1, 2, 3, 3])
    inputs = data.inputs.numpy()

    def predict(columns):
        """Of features: the last one stands for two columns."""
        rows = replace(tiny_dataset(14), inputs=torch.from_numpy(columns.astype(np.float32)))
        return subject.predict(rows, batch_size=64).probabilities

    def worth(known):
        total = 0.0
        for row in range(14):
            mixed = np.where(np.isin(owner, known)[None, :], inputs[row], inputs)
            total += np.log(predict(mixed).mean(axis=0)[data.y_true[row]])
        return total / 14

    worths = {known: worth(known) for size in range(5) for known in combinations(range(4), size)}
    draws = draws_of(subject, data, n_draws=14 * 60)
    error = draws.gains.std(axis=0, ddof=1) / len(draws.index) ** 0.5
    for j in range(4):
        expected = sum(
            factorial(len(known))
            * factorial(3 - len(known))
            / 24
            * (worths[tuple(sorted((*known, j)))] - value)
            for known, value in worths.items()
            if j not in known
        )
        assert abs(draws.values[j] - expected) < 4 * error[j]


def test_values_are_those_of_all_subsets_for_an_interaction():
    inputs, rng = gaussian(16, seed=4)
    outcome = inputs[:, 0] * inputs[:, 1] + 0.1 * rng.normal(size=16)
    data = numbers(inputs, outcome)
    expected = reference_sage(
        lambda rows: rows[:, 0] * rows[:, 1],
        inputs,
        lambda said, row: (said - outcome[row]) ** 2 / outcome.var(),
    )
    draws = draws_of(foretelling(lambda rows: rows[:, 0] * rows[:, 1], 3), data, n_draws=16 * 60)
    error = draws.gains.std(axis=0, ddof=1) / len(draws.index) ** 0.5
    assert (np.abs(draws.values - expected) <= 4 * error + 1e-12).all()
    assert draws.values[2] == pytest.approx(0.0, **FLOAT)


def test_values_add_up_to_what_the_model_gains():
    """Exactly when all rows were drawn as often; else within two standard errors."""
    inputs, rng = gaussian(100)
    data = numbers(inputs, inputs[:, 0] + rng.normal(size=100))
    for n_draws in (200, 300, 150, 230):
        draws = draws_of(linear([1.0, 0.5, 0.0]), data, n_draws=n_draws, background=np.arange(20))
        gap, interval = draws.efficiency_gap(0.9545)
        assert interval.low <= 0 <= interval.high
        gain = data.outcome.var() + (data.outcome.mean() - (inputs[:20] @ [1.0, 0.5, 0.0]).mean()) ** 2
        left = ((data.outcome - inputs @ [1.0, 0.5, 0.0]) ** 2).mean()
        assert draws.gain == pytest.approx((gain - left) / data.outcome.var(), **FLOAT)
        if n_draws % 100 == 0:
            assert gap == pytest.approx(0.0, abs=1e-12)


def test_drawing_stops_at_the_precision_or_at_the_budget_and_says_which():
    data, subject = tiny_dataset(200), tiny_subject()
    enough = FeatureImportance(background_rows=8, precision=0.2, max_evaluations=100_000)
    short = FeatureImportance(background_rows=8, precision=0.001, max_evaluations=5_000)
    found = [
        by_feature(audit.measure(subject, data, CONTEXT))["sage_precision", None] for audit in (enough, short)
    ]
    assert found[0].value < 0.2
    assert found[0].note.text.startswith("Drawing stopped")
    assert found[1].value > 0.001
    assert found[1].note.text.startswith("The budget ended")
    assert found[1].n <= 5_000 // (3 * 8)


def test_a_feature_that_the_model_ignores_has_no_importance_at_all():
    inputs, rng = gaussian(120)
    data = numbers(inputs, inputs[:, 0] + 0.1 * rng.normal(size=120))
    audit = FeatureImportance(background_rows=16, max_evaluations=20_000)
    found = by_feature(audit.measure(linear([1.0, 0.0, 0.2]), data, CONTEXT))
    for metric in ("sage_value", "permutation_importance"):
        ignored = found[metric, "x1"]
        assert ignored.value == pytest.approx(0.0, **FLOAT)
        assert ignored.interval.low <= 1e-12
        assert ignored.interval.high >= -1e-12
    assert found["sage_value", "x0"].interval.low > 0.5


# --- what it is asked about ------------------------------------------------------------------------


def test_patches_of_a_picture_are_exchanged_as_a_whole():
    rng = np.random.default_rng(6)
    inputs = rng.random((60, 36))
    space = FeatureSpace((), (), (6, 6))
    yes = inputs.reshape(60, 6, 6)[:, :3, :3].mean(axis=(1, 2)) > 0.5
    data = labelled(inputs, yes, features=space)
    subject = Deciding(lambda rows: rows.reshape(-1, 6, 6)[:, :3, :3].mean(axis=(1, 2)) > 0.5)
    audit = FeatureImportance(patches=2, background_rows=8, max_evaluations=20_000)
    output = audit.measure(subject, data, CONTEXT)
    found = by_feature(output)
    assert found["permutation_importance", "rows 1-3, columns 1-3"].value > 0.3
    assert found["permutation_importance", "rows 4-6, columns 1-3"].value == 0.0
    assert output.evidence[0].kind == "picture"
    assert output.evidence[0].panels[0].overlay[0][0] == 1.0


def test_patches_cover_every_pixel_once():
    owner = patch_owner((5, 7), 4)
    assert np.unique(owner).tolist() == list(range(16))
    units = exchanged_units(
        labelled(np.zeros((2, 35)), [0, 1], features=FeatureSpace((), (), (5, 7))), None, patches=4
    )
    assert sorted(column for unit in units for column in unit.columns) == list(range(35))


def test_labels_alone_give_the_rise_of_the_error_rate():
    data = tiny_dataset(100)
    subject = Deciding(lambda rows: rows[:, 0] < 0)
    found = by_feature(
        FeatureImportance(background_rows=8, max_evaluations=20_000).measure(subject, data, CONTEXT)
    )
    figure = found["permutation_importance", "age"]
    assert figure.unit == "1"
    wrong = ((data.inputs[:, 0].numpy() < 0) != data.y_true).mean()
    half = np.mean([(row < 0) != label for row in data.inputs[:, 0].numpy() for label in data.y_true])
    assert figure.value == pytest.approx(half - wrong, abs=0.05)


def refusal(output):
    assert {one.value for one in output.measurements} == {None}
    return str(output.measurements[0].missing)


def test_what_has_no_features_to_exchange_is_refused_with_the_reason():
    data = tiny_dataset(20)
    texts = replace(
        data,
        inputs=torch.zeros((20, 4), dtype=torch.int64),
        features=FeatureSpace((), tokens=TokenSpace(("a", "b"))),
    )
    assert "sequences of tokens" in refusal(FeatureImportance().measure(tiny_subject(), texts, CONTEXT))
    cube = replace(data, inputs=torch.zeros((20, 2, 3, 4)), features=FeatureSpace(()))
    assert "3 dimensions" in refusal(FeatureImportance().measure(tiny_subject(), cube, CONTEXT))
    table = PredictionsTable(table_card(), None, gives_probabilities=True)
    assert "come from a table" in refusal(FeatureImportance().measure(table, data, CONTEXT))
    same = numbers(np.ones((20, 2)) * np.arange(20)[:, None], np.full(20, 3.0))
    assert "do not vary" in refusal(FeatureImportance().measure(linear([1.0, 1.0]), same, CONTEXT))


def test_one_feature_is_named_alone_only_when_the_intervals_tell_it_from_the_next():
    inputs, rng = gaussian(150)
    audit = FeatureImportance(background_rows=16, max_evaluations=20_000)
    clear = numbers(inputs, inputs @ [2.0, 0.5, 0.0] + 0.1 * rng.normal(size=150))
    title = audit.measure(linear([2.0, 0.5, 0.0]), clear, CONTEXT).evidence[0].title
    assert title.text.endswith("more than any other feature")
    equal = numbers(inputs, inputs @ [1.0, 1.0, 0.0] + 0.1 * rng.normal(size=150))
    title = audit.measure(linear([1.0, 1.0, 0.0]), equal, CONTEXT).evidence[0].title
    assert {title.values["feature"], title.values["second"]} == {"x0", "x1"}


def test_persons_are_the_unit_of_all_intervals():
    inputs, rng = gaussian(60)
    outcome = inputs[:, 0] + rng.normal(size=60)
    twice = numbers(np.tile(inputs, (2, 1)), np.tile(outcome, 2), person=np.tile(np.arange(60), 2))
    audit = FeatureImportance(background_rows=16, max_evaluations=20_000)
    persons = by_feature(audit.measure(linear([1.0, 0.3, 0.0]), twice, CONTEXT))
    rows = by_feature(audit.measure(linear([1.0, 0.3, 0.0]), replace(twice, person=None), CONTEXT))
    for key in (("permutation_importance", "x0"), ("cost_reduction", None), ("sage_value", "x0")):
        wide, narrow = (one[key].interval for one in (persons, rows))
        assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
