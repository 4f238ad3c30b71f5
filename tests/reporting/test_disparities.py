"""Gaps at a glance: who, by how much, how sure, on how many, and what would change the answer."""

import pytest

from auditkit.policy import judge
from auditkit.records import AuditResult, Cost, Measurement, Message, Rule
from auditkit.reporting.html import render_html
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.disparities import ROWS_OPEN, disparities
from tests.reporting.sample_run import figure, rate, sample_run

EN = texts_for("en")


def gap(metric, value, low, high, across=("sex",), **more):
    return figure(f"{metric}.difference", value, low, high, across=across, better="zero", **more)


def run_of(measurements, *, rules=(), audit="group-fairness", area="fairness"):
    result = AuditResult(
        audit=audit,
        area=area,
        version=1,
        question=Message(text="Are groups selected at different rates?"),
        params={},
        status="measured",
        subject="baseline",
        cost=Cost(duration_s=0.1),
        key="key",
        measurements=tuple(measurements),
    )
    run = sample_run(results=(result,), findings=())
    return run.model_copy(update={"findings": judge(rules, run.results, run.subjects)})


def two_groups(metric="selection_rate", low=0.2, high=0.35, n=(400, 600), better="neither"):
    return [
        rate(metric, low, n[0], group={"sex": "f"}, better=better),
        rate(metric, high, n[1], group={"sex": "m"}, better=better),
        gap(metric, high - low, high - low - 0.05, high - low + 0.05),
    ]


def test_both_groups_stand_with_their_rates_and_their_rows():
    (view,) = disparities(run_of(two_groups()), EN).open
    assert [(side.name, side.number.value, side.n) for side in view.sides] == [
        ("f", "20", "400"),
        ("m", "35", "600"),
    ]


def test_a_group_of_unknown_sex_is_never_one_of_the_two():
    unknown = rate("selection_rate", 0.9, 50, group={"sex": "unknown"})
    (view,) = disparities(run_of([unknown, *two_groups()]), EN).open
    assert [side.name for side in view.sides] == ["f", "m"]


def test_a_group_of_few_rows_is_marked():
    found = disparities(run_of(two_groups(n=(12, 600))), EN)
    assert [side.is_small for side in found.open[0].sides] == [True, False]
    assert found.has_small


def test_without_a_margin_nothing_is_called_a_failure():
    (view,) = disparities(run_of(two_groups()), EN).open
    assert (view.verdict, view.word) == ("", "")
    assert "declares no margin" in view.certainty


@pytest.mark.parametrize(("at_most", "verdict"), [(0.05, "fail"), (0.15, "inconclusive"), (0.3, "pass")])
def test_the_verdict_is_that_of_the_policy(at_most, verdict):
    rule = Rule(figure="group-fairness/selection_rate.difference[sex]", at_most=at_most)
    (view,) = disparities(run_of(two_groups(), rules=(rule,)), EN).open
    assert view.verdict == verdict


def test_a_rule_on_the_ratio_is_shown_by_the_ratio():
    ratio = figure("selection_rate.ratio", 0.571, 0.5, 0.65, across=("sex",), better="one")
    rule = Rule(figure="group-fairness/selection_rate.ratio[sex]", at_least=0.8)
    (view,) = disparities(run_of([*two_groups(), ratio], rules=(rule,)), EN).open
    assert view.number.value == "0.57"
    # 0.8 * 0.35 - 0.2 = 0.08 of 400 rows
    assert view.changes[0] == "32 more of the 400 in f would reach the margin"


def test_fewer_errors_of_the_worse_group_would_close_a_gap_in_errors():
    (view,) = disparities(run_of(two_groups("false_positive_rate", better="lower")), EN).open
    assert view.changes == ("90 fewer of the 600 in m would close it",)


def test_wrong_labels_and_unknown_rows_that_could_change_it_are_told():
    flips = figure(
        "selection_rate.difference.flips", 17, 17, 17, across=("sex",), better="zero", unit="count"
    )
    ends = [
        figure(f"selection_rate.difference.{end}", value, value, value, across=("sex",), better="zero")
        for end, value in (("smallest", 0.1), ("largest", 0.2))
    ]
    (view,) = disparities(run_of([*two_groups(), flips, *ends]), EN).open
    assert "17 wrong labels of the right kind would close it" in view.changes
    assert any(change.startswith("rows of unknown group allow 10 to 20") for change in view.changes)


def test_a_gap_that_is_not_shown_says_what_would_have_been_found():
    measured = [
        rate("selection_rate", 0.20, 40, group={"sex": "f"}),
        rate("selection_rate", 0.22, 60, group={"sex": "m"}),
        gap("selection_rate", 0.02, 0.0, 0.2, detectable=0.24),
    ]
    found = disparities(run_of(measured), EN)
    assert not found.open
    assert "24" in found.quiet[0]
    assert found.takeaways[0].startswith("No gap")


def test_failing_gaps_stand_first_and_many_are_folded():
    metrics = [f"metric_{number}" for number in range(ROWS_OPEN + 3)]
    measured = [one for metric in metrics for one in two_groups(metric)]
    rule = Rule(figure="group-fairness/metric_7.difference[sex]", at_most=0.05)
    found = disparities(run_of(measured, rules=(rule,)), EN)
    assert found.open[0].verdict == "fail"
    assert (len(found.open), len(found.folded)) == (ROWS_OPEN, 3)


def test_base_rates_are_no_treatment():
    assert disparities(run_of(two_groups("base_rate")), EN) is None


def test_areas_without_groups_have_no_glance():
    assert disparities(run_of(two_groups(), area="performance"), EN) is None


def test_undefined_gaps_are_left_to_the_list_of_what_was_not_shown():
    missing = Measurement(
        metric="selection_rate.difference",
        value=None,
        n=0,
        better="zero",
        across=("sex",),
        missing=Message(text="Fewer than two groups."),
    )
    assert disparities(run_of([*two_groups()[:2], missing]), EN) is None


def test_hostile_group_names_stay_text_on_the_page():
    name = "<script>alert(1)</script>"
    measured = [
        rate("selection_rate", 0.2, 400, group={"sex": name}),
        rate("selection_rate", 0.4, 400, group={"sex": "m"}),
        gap("selection_rate", 0.2, 0.15, 0.25),
    ]
    assert name not in render_html(run_of(measured), "en")


def test_the_interval_drawn_is_the_interval_measured():
    (view,) = disparities(run_of(two_groups()), EN).open
    assert view.number.range.replace("\N{NO-BREAK SPACE}", " ") == "10 – 20"
