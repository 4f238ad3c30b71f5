"""The view model: what stands where, judged by the stored findings alone."""

import pytest

from auditkit.records import Estimate, Measurement, Message, Planted, Rule, Table
from auditkit.reporting.labels import (
    METRICS,
    MetricName,
    address_label,
    cell_label,
    figure_label,
    group_label,
    metric_label,
    readable,
    style_of,
)
from auditkit.reporting.language import texts_for
from auditkit.reporting.numbers import Scale, Style
from auditkit.reporting.view.evidence.cells import table_cells
from auditkit.reporting.view.evidence.estimates import with_unit
from auditkit.reporting.view.figures import canonical, index_figures
from auditkit.reporting.view.findings import finding_views, judged_figures, tally
from auditkit.reporting.view.gaps import gaps
from auditkit.reporting.view.page import PASSES_OPEN, page
from auditkit.reporting.view.planted import is_found
from auditkit.reporting.view.tables import ROWS_AT_MOST, figure_table
from tests.reporting.sample_run import exact, figure, rate, sample_run

EN = texts_for("en")


@pytest.fixture(scope="module")
def view(run):
    return page(run, EN)


def test_verdicts_are_those_of_the_stored_findings(run):
    flipped = tuple(finding.model_copy(update={"verdict": "pass"}) for finding in run.findings)
    views = finding_views(sample_run(findings=flipped), EN)
    assert {one.verdict for one in views} == {"pass"}


def test_critical_failures_stand_first(view):
    assert [one.verdict for one in view.findings[:2]] == ["fail", "fail"]
    assert view.findings[0].severity == "critical"


def test_tally_counts_binding_findings_only(run):
    counts = {verdict: count for verdict, _, count in tally(finding_views(run, EN), EN)}
    assert counts == {"fail": 2, "inconclusive": 1, "pass": 2, "not_shown": 2}


def test_finding_carries_number_interval_threshold_and_sample(view):
    finding = view.findings[1]
    assert finding.number.plain == "4.1\N{NO-BREAK SPACE}%"
    assert finding.number.range.replace("\N{NO-BREAK SPACE}", " ") == "3.6 – 4.7"
    assert finding.policy == "at most 1\N{NO-BREAK SPACE}%"
    assert finding.rests_on == ("5,000 samples", "64 shadow models")


def test_title_of_the_rule_is_the_headline(view):
    assert view.findings[0].headline == "Women approved at least 80 % as often as men"


def test_inconclusive_finding_says_how_many_samples_decide(view):
    step = next(one for one in view.findings if one.verdict == "inconclusive").next_steps[0]
    assert step == "About 890 samples would decide, if the value stayed; here there are 84."


def test_variant_that_would_pass_is_named(view):
    assert "dp-3 would pass, at 0.16\N{NO-BREAK SPACE}%." in view.findings[1].next_steps


def test_lead_names_failures_and_what_a_variant_costs(view):
    lead = " ".join(sentence.striptags() for sentence in view.lead)
    assert lead.startswith("2 of 7 checks fail: Women approved at least 80 % as often as men;")
    assert "dp-3 would pass training records recognised" in lead
    assert "with accuracy changed by −0.6 pp (−1.0 – −0.2)" in lead.replace("\N{NO-BREAK SPACE}", " ")


def test_lead_without_failures_does_not_claim_more_than_was_decided(run):
    open_only = tuple(one for one in run.findings if one.verdict in {"inconclusive", "not_shown"})
    lead = page(sample_run(findings=open_only), EN).lead[0].striptags()
    assert lead == "None of the 3 checks fails, but not all could be decided."


def test_lead_with_passes_only_speaks_of_these_data(run):
    passes = tuple(one for one in run.findings if one.verdict == "pass" and one.binding)
    assert page(sample_run(findings=passes), EN).lead[0].striptags() == "All 2 checks pass on these data."


def test_variants_follow_their_own_figure_under_a_wildcard(run):
    rule = Rule(figure="group-fairness/selection_rate[race=*]", at_least=0.1)
    figures = [
        (address, figure.measurement)
        for address, figure in index_figures(run).items()
        if "selection_rate[race=" in address and figure.measurement.value is not None and "," not in address
    ]
    template = run.findings[0]
    findings = tuple(
        template.model_copy(
            update={
                "rule": rule,
                "figure": address,
                "subject": address.rpartition("@")[2],
                "binding": address.endswith("@baseline"),
                "measurement": measurement,
            }
        )
        for address, measurement in figures
    )
    judged = judged_figures(sample_run(findings=findings))
    assert len(judged) == 2
    for one in judged:
        assert {variant.figure.rpartition("@")[0] for variant in one.variants} == {
            one.binding.figure.rpartition("@")[0]
        }


def test_many_passes_are_folded_but_none_is_lost(run):
    accuracy = next(one for one in run.findings if one.rule.figure == "performance/accuracy" and one.binding)
    many = tuple(
        accuracy.model_copy(update={"rule": Rule(figure="performance/accuracy", at_least=i / 100)})
        for i in range(20)
    )
    view = page(sample_run(findings=many), EN)
    assert len(view.findings) == PASSES_OPEN
    assert len(view.findings) + len(view.further_passes) == 20


def test_gaps_name_what_was_skipped_failed_and_undefined(run):
    found = gaps(run, finding_views(run, EN), EN)
    words = {one.title: (one.word, one.subjects) for one in found.not_measured}
    assert words == {"Radius": ("skipped", ""), "Drift": ("failed", "int8")}
    assert {one.title: one.count for one in found.undefined} == {
        "Groups": "9 figures",
        "Footprint": "3 figures",
    }
    assert len(found.not_shown) == 2


def test_data_without_sensitive_features_says_so(run):
    bare = sample_run(data=run.data.model_copy(update={"groups": {}}))
    assert gaps(bare, (), EN).always[0].startswith("No sensitive feature was given")


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "expected"),
    [
        (0.2, 0.3, 0.1, None, True),
        (0.05, 0.3, 0.1, None, False),
        (0.2, 0.3, None, 0.4, True),
        (0.2, 0.5, None, 0.4, False),
        (0.1, 0.3, 0.1, None, False),
    ],
)
def test_planted_fault_is_found_only_by_the_whole_interval(low, high, above, below, expected):
    planted = Planted(fault="f", figure="a/m", above=above, below=below)
    assert is_found(planted, figure("m", (low + high) / 2, low, high)) is expected


def test_planted_fault_without_figure_is_not_measured():
    assert is_found(Planted(fault="f", figure="a/m", above=0.1), None) is None


def test_planted_figure_is_found_whatever_the_order_of_its_cells(run):
    planted = Planted(fault="f", figure="group-fairness/selection_rate[race=Black,sex=Female]", below=0.2)
    data = run.data.model_copy(update={"planted": (planted,)})
    assert page(sample_run(data=data), EN).planted[0].is_found is True


def test_canonical_address_sorts_cells_and_leaves_the_rest():
    assert canonical("a/m[b=2,a=1]@x~baseline") == "a/m[a=1,b=2]@x~baseline"
    assert canonical("a/m@x") == "a/m@x"


def test_costs_show_paired_changes_and_mark_the_clear_ones(view):
    accuracy = view.costs.bands[0][0]
    assert accuracy.heading == "Accuracy"
    assert [cell.change.value if cell.change else None for cell in accuracy.cells] == [
        None,
        "Δ −0.6",
        "Δ −0.02",
    ]
    assert [cell.is_change_clear for cell in accuracy.cells] == [False, True, False]


def test_every_figure_of_an_audit_is_in_its_table(run):
    results = [one for one in run.results if one.audit == "group-fairness" and one.against is None]
    table = figure_table(results, EN)
    rows = [row for section in table.sections for row in section.rows]
    assert len(rows) == len(results[0].measurements)
    assert all(len(row.cells) == 3 for row in rows)


def test_undefined_figures_stay_in_the_table_with_their_reason(run):
    results = [one for one in run.results if one.audit == "group-fairness" and one.against is None]
    table = figure_table(results, EN)
    rows = [row for section in table.sections for row in section.rows if "Eskimo" in row.label]
    assert rows
    assert all(row.footnotes == (1, 1, 1) for row in rows)
    assert table.footnotes[0] == "Only 3 rows."


def test_huge_tables_say_what_they_leave_out(run):
    many = tuple(rate("recall", 0.5, 10, group={"class": str(i)}) for i in range(ROWS_AT_MOST + 7))
    result = run.results[0].model_copy(update={"measurements": many})
    assert figure_table([result], EN).n_left_out == 7


def test_known_metric_is_readable():
    assert metric_label(EN, "selection_rate.ratio", ("sex",)) == "selection rate, ratio across sex"
    assert (
        metric_label(EN, "tpr_at_fpr_0.001")
        == "training records recognised at 0.1\N{NO-BREAK SPACE}% false alarms"
    )
    assert metric_label(EN, "auc", audit="membership-inference") == "AUC of the membership attack"


def test_unknown_metric_reads_as_its_identifier():
    assert metric_label(EN, "my_plugin-score.p95") == "my plugin score, p95"
    assert style_of("my_plugin-score.p95") is Style.PLAIN


def test_label_of_an_address_is_that_of_its_figure():
    measurement = rate("true_positive_rate", 0.5, 10, group={"sex": "f"})
    assert address_label(EN, "group-fairness/true_positive_rate[sex=f]@x") == figure_label(
        EN, measurement, "group-fairness"
    )


def test_disparities_of_rates_are_points_and_ratios_plain():
    assert style_of("selection_rate") is Style.PERCENT
    assert style_of("selection_rate.difference") is Style.POINTS
    assert style_of("selection_rate.difference.change") is Style.POINTS
    assert style_of("selection_rate.ratio") is Style.PLAIN


@pytest.mark.parametrize("key", sorted(METRICS))
def test_every_known_metric_parses_to_itself(key):
    metric = key.rpartition("/")[2]
    assert MetricName.parse(f"{metric}.change") == MetricName(MetricName.parse(metric).base, ("change",))


def test_names_of_features_are_left_alone():
    assert readable(EN, "income_band") == "income_band"
    assert readable(EN, "latency_s.ratio") == "time for one row, variant divided by baseline"


def test_what_an_audit_tells_apart_is_named_in_chinese_and_attributes_of_the_data_stay():
    group = {"method": "integrated-gradients", "sex": "female"}
    assert group_label(texts_for("zh"), group) == "方法: integrated-gradients、sex: female"
    assert cell_label(texts_for("zh"), group) == "方法 integrated-gradients、sex female"
    assert group_label(EN, group) == "method: integrated-gradients, sex: female"


def test_exact_figures_claim_no_sampling_error(run):
    rule = Rule(figure="footprint/size_b", at_most=1e6)
    finding = run.findings[0].model_copy(
        update={
            "rule": rule,
            "figure": "footprint/size_b@baseline",
            "measurement": exact("size_b", 39_432.0, "B"),
        }
    )
    assert finding_views(sample_run(findings=(finding,)), EN)[0].rests_on == ("exact, no sampling error",)


def test_bound_says_on_which_side_the_truth_may_lie(run):
    bound = figure("auc", 0.6, 0.55, 0.65, kind="lower_bound")
    finding = run.findings[0].model_copy(update={"measurement": bound})
    assert (
        "a lower bound: the truth may be higher"
        in finding_views(sample_run(findings=(finding,)), EN)[0].rests_on
    )


def test_missing_measurement_is_not_shown_as_a_number(run):
    missing = Measurement(metric="m", value=None, n=0, better="lower", missing=Message(text="nothing there"))
    finding = run.findings[0].model_copy(
        update={
            "measurement": missing,
            "verdict": "not_shown",
            "reason": missing.missing,
            "figure": "a/m@baseline",
        }
    )
    view = finding_views(sample_run(findings=(finding,)), EN)[0]
    assert view.chart is None
    assert view.number.is_absent
    assert view.reason == "Nothing there."


def test_column_of_mixed_units_names_the_unit_in_every_cell():
    table = Table(
        title="t",
        columns=(Message(text="Figure"), Message(text="Value")),
        rows=(
            ("latency_s", Estimate(value=3.9e-5, unit="s")),
            ("size_b", Estimate(value=44_296.0, unit="B")),
        ),
    )
    view = table_cells(table, EN)
    assert [row[1].number.plain for row in view.rows] == [
        "39\N{NO-BREAK SPACE}µs",
        "44.3\N{NO-BREAK SPACE}kB",
    ]
    assert view.columns == ("Figure", "Value")
    assert view.rows[0][0].text == "time for one row"


def test_column_of_one_unit_names_it_in_the_heading():
    table = Table(
        title="t",
        columns=(Message(text="Energy"),),
        rows=((Estimate(value=0.007, unit="J"),), (Estimate(value=0.0003, unit="J"),)),
    )
    view = table_cells(table, EN)
    assert view.columns == ("Energy, mJ",)
    assert [row[0].number.plain for row in view.rows] == ["7", "0.3"]


def test_row_longer_than_its_headings_is_kept():
    table = Table(title="t", columns=(Message(text="a"),), rows=((1, 2, 3),))
    assert len(table_cells(table, EN).rows[0]) == 3
    assert len(table_cells(table, EN).columns) == 3


def test_axis_names_its_unit_once():
    assert with_unit("attribution (nat)", "nat", Scale(1.0, "nat")) == "attribution (nat)"
    assert with_unit("gCO2e per 1,000", "gCO2e", Scale(1e6, "µg CO₂e")) == "µg CO₂e per 1,000"
    assert with_unit("energy", "J", Scale(1e3, "mJ")) == "energy, mJ"
