"""Verdicts rest on whole intervals; missing evidence is never a pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.policy import exit_code, judge
from auditkit.records import AuditResult, Cost, Interval, Measurement, Rule, SubjectCard


def card(name="baseline") -> SubjectCard:
    return SubjectCard(
        name=name,
        title="t",
        source="s",
        digest="d",
        architecture="a",
        n_parameters=1,
        size_b=1,
        classes=("a", "b"),
    )


def figure(low=0.4, high=0.6, *, value=None, metric="accuracy", n=100, **more) -> Measurement:
    return Measurement(
        metric=metric,
        value=(low + high) / 2 if value is None else value,
        n=n,
        better="higher",
        interval=Interval(low=low, high=high, confidence=0.95, method="wilson"),
        **more,
    )


def result(*measurements, audit="performance", subject="baseline", status="measured", **more) -> AuditResult:
    return AuditResult(
        audit=audit,
        version=1,
        area="performance",
        params={},
        subject=subject,
        status=status,
        measurements=measurements,
        cost=Cost(duration_s=0),
        key="k",
        **more,
    )


def verdicts(rule, *results, subjects=("baseline",)):
    return judge([rule], results, [card(name) for name in subjects])


def only(rule, *results, **more):
    findings = verdicts(rule, *results, **more)
    assert len(findings) == 1
    return findings[0]


# --- intervals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thresholds", "verdict"),
    [
        ({"at_least": 0.3}, "pass"),
        ({"at_least": 0.4}, "pass"),
        ({"at_least": 0.45}, "inconclusive"),
        ({"at_least": 0.6}, "inconclusive"),
        ({"at_least": 0.61}, "fail"),
        ({"at_most": 0.7}, "pass"),
        ({"at_most": 0.6}, "pass"),
        ({"at_most": 0.5}, "inconclusive"),
        ({"at_most": 0.39}, "fail"),
        ({"at_least": 0.4, "at_most": 0.6}, "pass"),
        ({"at_least": 0.5, "at_most": 0.6}, "inconclusive"),
        ({"at_least": 0.7, "at_most": 0.9}, "fail"),
    ],
)
def test_the_whole_interval_decides(thresholds, verdict):
    rule = Rule(figure="performance/accuracy", **thresholds)
    assert only(rule, result(figure(0.4, 0.6))).verdict == verdict


@pytest.mark.parametrize(
    ("kind", "thresholds", "verdict"),
    [
        ("lower_bound", {"at_most": 0.9}, "inconclusive"),
        ("lower_bound", {"at_most": 0.3}, "fail"),
        ("lower_bound", {"at_least": 0.3}, "pass"),
        ("lower_bound", {"at_least": 0.9}, "inconclusive"),
        ("upper_bound", {"at_least": 0.1}, "inconclusive"),
        ("upper_bound", {"at_least": 0.9}, "fail"),
        ("upper_bound", {"at_most": 0.9}, "pass"),
    ],
)
def test_a_bound_decides_only_on_its_own_side(kind, thresholds, verdict):
    rule = Rule(figure="performance/accuracy", **thresholds)
    assert only(rule, result(figure(0.4, 0.6, kind=kind))).verdict == verdict


@settings(derandomize=True, max_examples=100, deadline=None)
@given(low=st.floats(0, 0.5), width=st.floats(0, 0.5), threshold=st.floats(0, 1))
def test_a_lower_bound_never_passes_a_rule_that_asks_for_at_most(low, width, threshold):
    rule = Rule(figure="performance/accuracy", at_most=threshold)
    bound = figure(low, low + width, value=low, kind="lower_bound")
    assert only(rule, result(bound)).verdict != "pass"


def test_an_open_verdict_names_the_samples_that_would_settle_it():
    rule = Rule(figure="performance/accuracy", at_least=0.45)
    finding = only(rule, result(figure(0.4, 0.6, n=100)))
    assert finding.needed_n == 400


def test_a_bound_that_can_never_decide_names_no_number_of_samples():
    rule = Rule(figure="performance/accuracy", at_most=0.9)
    finding = only(rule, result(figure(0.4, 0.6, kind="lower_bound")))
    assert finding.needed_n is None
    assert str(finding.reason) == "A bound on one side cannot decide this rule."


def test_a_figure_without_interval_cannot_pass():
    bare = Measurement(metric="accuracy", value=0.9, n=10, better="higher")
    finding = only(Rule(figure="performance/accuracy", at_least=0.1), result(bare))
    assert finding.verdict == "inconclusive"
    assert "no interval" in str(finding.reason)


# --- subjects --------------------------------------------------------------------------------------


def test_a_rule_binds_the_baseline_and_is_shown_for_variants():
    findings = verdicts(
        Rule(figure="performance/accuracy", at_least=0.7),
        result(figure(0.8, 0.9)),
        result(figure(0.4, 0.6), subject="dp-3"),
        subjects=("baseline", "dp-3"),
    )
    assert [(item.subject, item.verdict, item.binding) for item in findings] == [
        ("baseline", "pass", True),
        ("dp-3", "fail", False),
    ]


def test_a_rule_for_a_named_subject_binds_it_alone():
    finding = only(
        Rule(figure="performance/accuracy@dp-3", at_least=0.7),
        result(figure(0.8, 0.9)),
        result(figure(0.4, 0.6), subject="dp-3"),
        subjects=("baseline", "dp-3"),
    )
    assert (finding.subject, finding.verdict, finding.binding) == ("dp-3", "fail", True)


def test_a_rule_may_name_a_paired_difference():
    change = figure(-0.2, -0.1, metric="accuracy.change")
    finding = only(
        Rule(figure="performance/accuracy.change@dp-3~baseline", at_least=-0.05),
        result(figure(0.8, 0.9), subject="dp-3"),
        result(change, subject="dp-3", against="baseline"),
        subjects=("baseline", "dp-3"),
    )
    assert (finding.verdict, finding.measurement) == ("fail", change)


# --- matching --------------------------------------------------------------------------------------

BY_GROUP = result(
    figure(0.2, 0.3, metric="rate", group={"sex": "F"}),
    figure(0.5, 0.6, metric="rate", group={"sex": "M"}),
    figure(0.3, 0.4, metric="rate"),
    figure(0.3, 0.4, metric="rate.difference", across=("sex",)),
    audit="group-fairness",
)


def test_a_star_matches_every_group_and_nothing_else():
    findings = verdicts(Rule(figure="group-fairness/rate[sex=*]", at_least=0.4), BY_GROUP)
    assert [(item.figure, item.verdict) for item in findings] == [
        ("group-fairness/rate[sex=F]@baseline", "fail"),
        ("group-fairness/rate[sex=M]@baseline", "pass"),
    ]


def test_a_figure_without_star_matches_itself_alone():
    assert only(Rule(figure="group-fairness/rate", at_least=0.4), BY_GROUP).figure == (
        "group-fairness/rate@baseline"
    )


def test_a_dot_in_a_metric_is_a_dot():
    assert (
        only(Rule(figure="group-fairness/rate?difference[sex]", at_least=0), BY_GROUP).verdict == "not_shown"
    )


def test_a_star_as_subject_binds_every_subject():
    findings = verdicts(
        Rule(figure="performance/accuracy@*", at_least=0.7),
        result(figure(0.8, 0.9)),
        result(figure(0.4, 0.6), subject="dp-3"),
        subjects=("baseline", "dp-3"),
    )
    assert [(item.subject, item.binding) for item in findings] == [("baseline", True), ("dp-3", True)]


@pytest.mark.parametrize("cell", ["sex=F,race=Asian", "race=Asian,sex=F", " race=Asian , sex=F"])
def test_crossed_groups_match_in_any_order(cell):
    crossed = result(figure(metric="rate", group={"sex": "F", "race": "Asian"}), audit="group-fairness")
    finding = only(Rule(figure=f"group-fairness/rate[{cell}]", at_least=0.1), crossed)
    assert finding.verdict == "pass"


def test_an_at_sign_in_the_name_of_a_group_is_part_of_the_name():
    found = result(figure(metric="rate", group={"mail": "a@b"}), audit="group-fairness")
    plain = only(Rule(figure="group-fairness/rate[mail=a@b]", at_least=0.1), found)
    named = only(Rule(figure="group-fairness/rate[mail=a@b]@baseline", at_least=0.1), found)
    assert (plain.verdict, plain.subject) == ("pass", "baseline")
    assert (named.verdict, named.subject) == ("pass", "baseline")


# --- missing evidence ------------------------------------------------------------------------------


def reason(rule, *results, **more):
    finding = only(rule, *results, **more)
    assert finding.verdict == "not_shown"
    assert finding.measurement is None
    return str(finding.reason)


def test_an_audit_that_did_not_run_is_named():
    assert reason(Rule(figure="calibration/ece", at_most=1), result(figure())) == (
        "The audit calibration is not part of this run."
    )


def test_the_reason_of_a_skipped_audit_is_passed_on():
    skipped = result(audit="membership-inference", status="skipped", reason="It needs data.members.")
    assert reason(Rule(figure="membership-inference/auc", at_most=1), skipped) == "It needs data.members."


def test_the_reason_of_a_failed_audit_is_passed_on():
    failed = result(status="failed", reason="ZeroDivisionError: by design")
    assert reason(Rule(figure="performance/accuracy", at_least=0), failed) == "ZeroDivisionError: by design"


def test_a_misspelt_figure_gets_the_closest_one():
    assert reason(Rule(figure="performance/acuracy", at_least=0), result(figure())) == (
        "The audit measured no such figure. Did you mean accuracy?"
    )


def test_a_figure_like_no_other_gets_no_hint():
    assert reason(Rule(figure="performance/zzz", at_least=0), result(figure())) == (
        "The audit measured no such figure."
    )


def test_an_unknown_subject_is_named():
    assert reason(Rule(figure="performance/accuracy@dp-9", at_least=0), result(figure())) == (
        "There is no subject dp-9 in this run."
    )


def test_a_comparison_that_was_not_made_is_named():
    finding = reason(
        Rule(figure="performance/accuracy.change@dp-3~baseline", at_least=0),
        result(figure()),
        result(figure(), subject="dp-3"),
        subjects=("baseline", "dp-3"),
    )
    assert finding == "The audit performance did not compare dp-3 with baseline."


def test_an_undefined_figure_is_not_shown_with_its_reason():
    undefined = Measurement(metric="accuracy", value=None, missing="no rows", n=0, better="higher")
    finding = only(Rule(figure="performance/accuracy", at_least=0), result(undefined))
    assert (finding.verdict, str(finding.reason)) == ("not_shown", "no rows")


# --- exit codes ------------------------------------------------------------------------------------

PASS, OPEN, FAIL = 0.1, 0.5, 0.9


@pytest.mark.parametrize(
    ("thresholds", "statuses", "code"),
    [
        ([], ["measured"], 0),
        ([PASS], ["measured"], 0),
        ([PASS, OPEN], ["measured"], 4),
        ([OPEN, FAIL], ["measured"], 1),
        ([PASS], ["measured", "failed"], 3),
        ([OPEN], ["measured", "failed"], 3),
        ([FAIL], ["measured", "failed"], 1),
        ([PASS], ["measured", "skipped"], 0),
    ],
)
def test_the_exit_code_is_that_of_the_worst(thresholds, statuses, code):
    results = [
        result(figure(0.4, 0.6) if s == "measured" else figure(metric="x"), status=s) for s in statuses
    ]
    rules = [Rule(figure="performance/accuracy", at_least=threshold) for threshold in thresholds]
    assert exit_code(judge(rules, results, [card()]), results) == code


def test_what_is_not_shown_exits_with_4():
    findings = judge([Rule(figure="calibration/ece", at_most=1)], [result(figure())], [card()])
    assert exit_code(findings, [result(figure())]) == 4


def test_a_variant_that_breaches_a_rule_of_the_baseline_does_not_fail_the_run():
    results = [result(figure(0.8, 0.9)), result(figure(0.1, 0.2), subject="dp-3")]
    findings = judge([Rule(figure="performance/accuracy", at_least=0.7)], results, [card(), card("dp-3")])
    assert exit_code(findings, results) == 0
