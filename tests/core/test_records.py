"""A figure is never a bare number, and a stored document is read back as it was."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from auditkit.policy import judge
from auditkit.records import (
    AuditResult,
    Bars,
    Cost,
    Curve,
    Dots,
    Estimate,
    Evidence,
    Heatmap,
    Interval,
    Mark,
    Measurement,
    Message,
    Note,
    Panel,
    Picture,
    Rule,
    Run,
    Series,
    Table,
    Token,
    Tokens,
    address,
    figure_address,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def measurement(**more) -> Measurement:
    return Measurement(**{"metric": "accuracy", "value": 0.5, "n": 10, "better": "higher", **more})


def result(*measurements, **more) -> AuditResult:
    values = {
        "audit": "a",
        "version": 1,
        "area": "performance",
        "params": {},
        "subject": "baseline",
        "status": "measured",
        "measurements": measurements,
        "cost": Cost(duration_s=0.0),
        "key": "k",
    }
    return AuditResult(**{**values, **more})


# --- measurements ----------------------------------------------------------------------------------


def test_a_missing_value_needs_a_reason():
    with pytest.raises(ValidationError, match="a value is None exactly when `missing` says why"):
        measurement(value=None)


def test_a_value_cannot_be_missing_as_well():
    with pytest.raises(ValidationError, match="a value is None exactly when"):
        measurement(missing="no rows")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "detectable"])
def test_a_figure_is_finite(field, value):
    with pytest.raises(ValidationError, match="finite number"):
        measurement(**{field: value})


def test_a_value_lies_in_its_interval():
    with pytest.raises(ValidationError, match=r"value 0.5 lies outside its interval \[0.6, 0.7\]"):
        measurement(interval=Interval(low=0.6, high=0.7, confidence=0.95, method="wilson"))


@pytest.mark.parametrize("value", [1 / 3, 1e15 / 3, 0.0])
def test_rounding_does_not_put_a_value_outside_its_exact_interval(value):
    end = value * (1 + 1e-12)
    measurement(value=value, interval=Interval(low=end, high=end, confidence=1.0, method="exact"))


def test_a_negative_n_is_refused():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        measurement(n=-1)


@pytest.mark.parametrize(("field", "value"), [("unit", "percent"), ("better", "up"), ("kind", "guess")])
def test_units_and_directions_are_closed_sets(field, value):
    with pytest.raises(ValidationError, match="Input should be"):
        measurement(**{field: value})


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        measurement(std=0.1)


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        measurement().value = 1.0


@pytest.mark.parametrize("confidence", [0, -0.1, 1.1, 95])
def test_confidence_is_a_probability(confidence):
    with pytest.raises(ValidationError):
        Interval(low=0, high=1, confidence=confidence, method="wilson")


def test_the_ends_of_an_interval_are_in_order():
    with pytest.raises(ValidationError, match=r"low must not exceed high, got \[1.0, 0.0\]"):
        Interval(low=1, high=0, confidence=0.95, method="wilson")


def test_an_exact_interval_has_no_width():
    assert Interval.exact(3) == Interval(low=3, high=3, confidence=1, method="exact")


# --- messages --------------------------------------------------------------------------------------


def test_a_text_becomes_a_message_and_braces_in_it_are_literal():
    assert str(Message.model_validate("a {b} c")) == "a {b} c"


def test_values_fill_the_template_and_are_kept_apart():
    message = Message(text="{n} rows lack {what}", values={"n": 3, "what": "{a label}"})
    assert str(message) == "3 rows lack {a label}"
    assert message.text == "{n} rows lack {what}"


@pytest.mark.parametrize("better", [True, 1, 2.5, "x"])
def test_a_message_keeps_the_type_of_its_values(better):
    read = Message.model_validate_json(Message(text="{v}", values={"v": better}).model_dump_json())
    assert read.values["v"] == better


# --- evidence --------------------------------------------------------------------------------------

EVIDENCE = [
    Table(
        title="t", columns=("a", "b"), rows=((Estimate(value=0.5, low=0.4, high=0.6, n=3), "text"), (3, None))
    ),
    Dots(title="t", axis="rate", marks=(Mark(label="F", estimate=Estimate(value=None, missing="no rows")),)),
    Bars(title="t", axis="weight", marks=(Mark(label="x", estimate=Estimate(value=-1)),)),
    Curve(title="t", x_axis="x", y_axis="y", series=(Series(name="s", x=(0, 1), y=(0, 1)),)),
    Heatmap(
        title="t", row_axis="r", column_axis="c", row_labels=("a",), column_labels=("b",), values=((None,),)
    ),
    Picture(title="t", panels=(Panel(label="p", pixels=((0.0, 1.0),)),), scale="s"),
    Tokens(title="t", tokens=(Token(text="good", weight=0.5),), scale="s"),
    Note(title="t", body="b"),
]


@pytest.mark.parametrize("evidence", EVIDENCE, ids=lambda item: item.kind)
def test_every_kind_of_evidence_is_read_back_as_it_was(evidence):
    adapter = TypeAdapter(Evidence)
    assert adapter.validate_json(adapter.dump_json(evidence)) == evidence


def test_the_series_of_a_curve_have_one_length():
    with pytest.raises(ValidationError, match="series arrays differ in length"):
        Series(name="s", x=(0, 1), y=(0,))
    with pytest.raises(ValidationError, match="series arrays differ in length"):
        Series(name="s", x=(0, 1), y=(0, 1), low=(0,), high=(0, 1))


def test_a_rule_without_threshold_is_refused():
    with pytest.raises(ValidationError, match="needs at_least or at_most"):
        Rule(figure="a/b")


# --- documents -------------------------------------------------------------------------------------


def test_a_run_without_subject_is_refused():
    with pytest.raises(ValidationError, match="at least one subject"):
        Run.model_validate({**_run_values(), "subjects": []})


def _run_values() -> dict:
    card = {
        "name": "baseline", "title": "t", "source": "s", "digest": "d", "architecture": "a",
        "n_parameters": 1, "size_b": 1, "classes": ["a", "b"],
    }  # fmt: skip
    return {
        "run_id": "r", "title": "t", "created_at": "now", "duration_s": 1, "seed": 0, "config": {},
        "subjects": [card], "results": [], "findings": [],
        "data": {"name": "n", "source": "s", "split": None, "digest": "d", "n_rows": 1, "n_members": None,
                 "n_features": 1, "target": "t", "classes": ["a"], "positive": None},
        "environment": {"auditkit": "0", "python": "3", "platform": "p", "processor": "c", "n_cpus": 1,
                        "threads": 1, "device": "cpu", "packages": {}},
    }  # fmt: skip


def test_a_run_states_its_schema_version():
    assert Run.model_validate(_run_values()).schema_version == 1


@settings(derandomize=True, max_examples=50, deadline=None)
@given(value=FINITE, n=st.integers(0, 2**40), group=st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_a_result_is_read_back_as_it_was(value, n, group):
    before = result(measurement(value=value, n=n, group=group, interval=Interval.exact(value)))
    text = before.model_dump_json()
    assert AuditResult.model_validate_json(text) == before
    assert AuditResult.model_validate(json.loads(text)) == before


# --- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "a/accuracy@baseline"),
        ({"group": {"sex": "F"}}, "a/accuracy[sex=F]@baseline"),
        ({"across": ("sex",)}, "a/accuracy[sex]@baseline"),
        ({"group": {"sex": "F", "race": "Asian"}}, "a/accuracy[sex=F,race=Asian]@baseline"),
    ],
)
def test_an_address_names_audit_metric_cell_and_subject(more, expected):
    assert figure_address(result(), measurement(**more)) == expected


def test_the_address_of_a_paired_figure_names_both_subjects():
    compared = result(subject="dp-3", against="baseline")
    assert figure_address(compared, measurement(metric="accuracy.change")) == (
        "a/accuracy.change@dp-3~baseline"
    )
    assert address("a", "accuracy", "dp-3") == "a/accuracy@dp-3"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    group=st.dictionaries(st.text(min_size=1, max_size=6), st.text(min_size=1, max_size=6), max_size=3),
    subject=st.sampled_from(["baseline", "dp-3"]),
)
def test_a_rule_with_the_address_of_a_figure_is_judged_on_it(group, subject):
    """Whatever the groups are called: with ``@``, brackets, commas or line breaks in their names."""
    figure = measurement(group=group, interval=Interval.exact(0.5))
    found = result(figure, subject=subject)
    cards = [_card("baseline"), _card("dp-3")]
    findings = judge([Rule(figure=figure_address(found, figure), at_least=0.1)], [found], cards)
    assert [finding.measurement for finding in findings] == [figure]


def _card(name):
    return Run.model_validate(_run_values()).subjects[0].model_copy(update={"name": name})
