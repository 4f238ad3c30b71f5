"""Rules that imitate a model: exact where it is made of rules, withheld where they do not reproduce it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.global_view.surrogate import Surrogate
from auditkit.audits.explainability.global_view.surrogate_columns import SplitColumn
from auditkit.audits.explainability.global_view.surrogate_rules import (
    Condition,
    Rule,
    fit_rules,
    halves,
    rule_text,
    shortest_between,
)
from auditkit.data.dataset import FeatureSpace
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.testing import tiny_dataset, tiny_subject
from tests.audits.whole_model_scenes import Deciding, by_feature, foretelling, labelled, linear, numbers
from tests.tolerances import FLOAT

CONTEXT = AuditContext(seed=5)


def table_of(output):
    return next((one for one in output.evidence if one.kind == "table"), None)


def test_a_model_that_is_a_tree_is_reproduced_without_error():
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 10, size=(600, 3)).astype(float)
    subject = Deciding(lambda rows: (rows[:, 0] > 4) & (rows[:, 1] <= 6))
    output = Surrogate().measure(subject, labelled(inputs, np.zeros(600)), CONTEXT)
    found = by_feature(output)
    assert found["fidelity", None].value == 1.0
    assert found["n_rules", None].value == 3
    (favourable,) = [row[0] for row in table_of(output).rows if row[1] == "yes"]
    assert set(favourable.split("; ")) == {"x0 > 4", "x1 ≤ 6"}
    assert all(row[3].value == 1.0 for row in table_of(output).rows)


def test_a_threshold_is_found_and_written_in_the_unit_of_the_reader():
    steps = TablePreprocessing(
        target="label",
        classes=("no", "yes"),
        features=(
            NumericFeature(name="income", mean=50.0, scale=20.0, fill=50.0),
            CategoricalFeature(name="purpose", levels=("car", "home", "trip")),
        ),
    )
    rng = np.random.default_rng(1)
    income, purpose = rng.integers(10, 90, 800), rng.integers(0, 3, 800)
    inputs = np.column_stack([(income - 50) / 20, np.eye(3)[purpose]])
    data = labelled(inputs, np.zeros(800), names=("income", "purpose"), owner=(0, 1, 1, 1))
    subject = Deciding(lambda rows: (rows[:, 0] * 20 + 50 > 42.5) & (rows[:, 1] < 0.5), preprocessing=steps)
    output = Surrogate(max_rules=4).measure(subject, data, CONTEXT)
    assert by_feature(output)["fidelity", None].value == 1.0
    (favourable,) = [row[0] for row in table_of(output).rows if row[1] == "yes"]
    assert set(favourable.split("; ")) == {"income > 42", "purpose ≠ car"}


def test_rules_are_withheld_where_they_do_not_reproduce_the_model():
    inputs = np.random.default_rng(2).normal(size=(800, 8))
    subject = Deciding(lambda rows: rows.sum(axis=1) > 0)
    output = Surrogate().measure(subject, labelled(inputs, np.zeros(800)), CONTEXT)
    fidelity = by_feature(output)["fidelity", None]
    assert fidelity.interval.high < 0.9
    assert table_of(output) is None
    note = output.evidence[0]
    assert note.title.text.startswith("Rules are withheld")
    assert note.title.values["percent"] == pytest.approx(100 * fidelity.value, abs=0.1)
    assert not any(f"x{place}" in str(note.body) for place in range(8))


def test_rules_are_withheld_while_the_interval_reaches_below_the_threshold():
    """Nine rows in ten and a few more are not enough when there are few rows."""
    inputs = np.random.default_rng(3).integers(0, 10, size=(100, 2)).astype(float)
    subject = Deciding(lambda rows: rows[:, 0] > 4)
    few = Surrogate().measure(subject, labelled(inputs, np.zeros(100)), CONTEXT)
    figure = by_feature(few)["fidelity", None]
    assert figure.value == 1.0
    assert table_of(few) is not None
    strict = Surrogate(least_fidelity=0.95).measure(subject, labelled(inputs, np.zeros(100)), CONTEXT)
    assert by_feature(strict)["fidelity", None].interval.low < 0.95
    assert table_of(strict) is None


def test_agreement_that_needs_no_rule_is_not_sold_as_one():
    """A model that nearly always says no is imitated by always saying no."""
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(1000, 3))
    subject = Deciding(lambda rows: rows.sum(axis=1) > 4.5)
    output = Surrogate().measure(subject, labelled(inputs, np.zeros(1000)), CONTEXT)
    found = by_feature(output)
    assert found["fidelity", None].value > 0.97
    assert found["fidelity.floor", None].value > 0.97
    assert table_of(output) is None
    assert output.evidence[0].title.text.startswith("No rules are shown")


def test_rules_of_numbers_have_the_r2_of_scikit_learn():
    inputs = np.random.default_rng(5).integers(0, 4, size=(400, 2)).astype(float)
    subject = linear([1.0, 10.0])
    output = Surrogate(max_rules=4).measure(subject, numbers(inputs, np.arange(400.0)), CONTEXT)
    figure = by_feature(output)["fidelity_r2", None]
    measured = np.flatnonzero(~halves(np.arange(400), CONTEXT.numpy_rng("halves")))
    fitted = np.setdiff1d(np.arange(400), measured)
    answers = inputs @ [1.0, 10.0]
    rules = fit_rules(
        inputs[fitted], answers[fitted], most=4, is_regression=True, seed=CONTEXT.derive_seed("tree")
    )
    assert figure.value == pytest.approx(
        r2_score(answers[measured], rules.answers(inputs[measured])), **FLOAT
    )
    assert figure.interval.low > 0.9
    assert table_of(output).columns[1].text == "Foretold"


def test_a_step_function_of_numbers_is_reproduced_without_error():
    inputs = np.random.default_rng(6).integers(0, 6, size=(200, 1)).astype(float)
    subject = foretelling(lambda x: (x[:, 0] > 2) * 3.0, 1)
    output = Surrogate().measure(subject, numbers(inputs, np.arange(200.0)), CONTEXT)
    assert by_feature(output)["fidelity_r2", None].value == 1.0
    assert {row[:2] for row in table_of(output).rows} == {("x0 ≤ 2", 0.0), ("x0 > 2", 3.0)}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 16), st.integers(2, 4))
def test_rules_say_of_fitted_rows_what_the_tree_says_and_exactly_one_holds_anywhere(seed, most, classes):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(120, 3)).astype(np.float32).astype(np.float64)
    answers = rng.integers(0, classes, 120).astype(float)
    rules = fit_rules(values, answers, most=most, is_regression=False, seed=seed)
    tree = DecisionTreeClassifier(max_depth=6, max_leaf_nodes=most, min_samples_leaf=5, random_state=seed)
    assert (rules.answers(values) == tree.fit(values, answers).predict(values)).all()
    elsewhere = rng.normal(size=(300, 3)) * 3
    held = sum(rule.holds(elsewhere).astype(int) for rule in rules.rules)
    assert (held == 1).all()
    assert len(rules.rules) <= most


@settings(deadline=None, max_examples=60)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_a_threshold_lies_between_the_rows_that_it_parts(low, width):
    high = low + width
    if not high > low:
        return
    assert low <= shortest_between(low, high) < high


def test_conditions_on_one_feature_are_written_together():
    columns = [
        SplitColumn("age"),
        SplitColumn("job", "clerk"),
        SplitColumn("job", "nurse"),
        SplitColumn("city", "Ulm"),
    ]
    rule = Rule(
        (
            Condition(0, 20.0, True),
            Condition(1, 0.5, False),
            Condition(0, 64.5, False),
            Condition(2, 0.5, False),
            Condition(0, 30.0, True),
            Condition(3, 0.5, True),
        ),
        1.0,
    )
    assert rule_text(rule, columns) == "30 < age ≤ 64.5; job ≠ clerk, nurse; city = Ulm"
    assert rule_text(Rule((), 0.0), columns) == "∀"
    assert rule_text(Rule((Condition(0, 12345.5, True),), 0.0), columns) == "age > 12,345.5"


def test_rows_of_one_person_stay_in_one_half():
    persons = np.repeat(np.arange(30), 3)
    fitted = halves(persons, np.random.default_rng(0))
    assert all(len(set(fitted[persons == person])) == 1 for person in range(30))
    assert fitted.sum() == 45


def test_an_unknown_number_is_a_condition_of_its_own():
    rng = np.random.default_rng(7)
    ages = rng.integers(20, 60, 300).astype(float)
    ages[rng.random(300) < 0.4] = np.nan
    space = FeatureSpace(("age",), (0,), levels=((),))
    data = labelled(ages[:, None], np.zeros(300), features=space)
    output = Surrogate().measure(Deciding(lambda rows: np.isnan(rows[:, 0])), data, CONTEXT)
    assert {row[0] for row in table_of(output).rows} == {"age = unknown", "age ≠ unknown"}
    assert any("median" in str(note) for note in output.notes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiny_dataset(30), "Too few rows"),
        (replace(tiny_dataset(60), features=FeatureSpace((), (), (1, 5))), "no table"),
    ],
)
def test_what_cannot_be_said_in_rules_is_refused_with_the_reason(data, reason):
    output = Surrogate().measure(tiny_subject(), data, CONTEXT)
    (figure,) = output.measurements
    assert figure.value is None
    assert reason in str(figure.missing)


def test_a_constant_number_has_no_fidelity():
    inputs = np.random.default_rng(8).normal(size=(80, 2))
    (figure,) = Surrogate().measure(linear([0.0, 0.0]), numbers(inputs, inputs[:, 0]), CONTEXT).measurements
    assert figure.value is None
    assert "same of every row" in str(figure.missing)
