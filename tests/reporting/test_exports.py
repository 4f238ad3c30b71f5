"""Exports, comparison, terminal lines and files."""

import json
import xml.dom.minidom

import pytest
from ruamel.yaml import YAML

from auditkit.records import Interval, Rule, figure_address
from auditkit.reporting.compare import comparison_lines, comparison_rows, render_comparison
from auditkit.reporting.json_export import render_json
from auditkit.reporting.junit import render_junit
from auditkit.reporting.markdown import render_markdown
from auditkit.reporting.model_card import render_model_card
from auditkit.reporting.sarif import render_sarif
from auditkit.reporting.terminal import aligned, summary_lines
from auditkit.reporting.write import FORMATS, write_reports
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import CERTIFICATE, sample_run


def test_junit_counts_failures_and_never_passes_the_undecided(run):
    document = xml.dom.minidom.parseString(render_junit(run))
    suite = document.getElementsByTagName("testsuite")[0]
    assert (suite.getAttribute("tests"), suite.getAttribute("failures"), suite.getAttribute("skipped")) == (
        "7",
        "2",
        "3",
    )
    assert len(document.getElementsByTagName("failure")) == 2
    assert len(document.getElementsByTagName("skipped")) == 3


def test_junit_survives_characters_that_xml_forbids():
    document = xml.dom.minidom.parseString(render_junit(sample_run(title="a\x00\x1b<b>&\"'")))
    assert document.getElementsByTagName("testsuite")[0].getAttribute("name") == "a\ufffd\ufffd<b>&\"'"


def test_sarif_carries_verdict_and_severity(run):
    document = json.loads(render_sarif(run))
    results = document["runs"][0]["results"]
    assert [(one["kind"], one["level"]) for one in results] == [
        ("fail", "error"),
        ("fail", "error"),
        ("review", "none"),
        ("pass", "none"),
        ("pass", "none"),
        ("open", "none"),
        ("open", "none"),
    ]
    rules = document["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in results)
    assert results[0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "policy[0]"


def test_json_holds_every_figure_by_its_address(run):
    document = json.loads(render_json(run))
    addresses = {figure_address(result, one) for result in run.results for one in result.measurements}
    assert set(document["figures"]) == addresses
    absent = document["figures"]["footprint/carbon_gco2e@baseline"]
    assert absent["value"] is None
    assert absent["missing"] == "no country was given"
    assert document["tally"] == {"fail": 2, "inconclusive": 1, "pass": 2, "not_shown": 2}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markdown_has_one_table_row_per_finding(run, language):
    lines = render_markdown(run, language).splitlines()
    rows = [line for line in lines if line.startswith("| ") and line[2] in "■◆●○"]
    assert len(rows) == 7
    assert all(line.count(" | ") == 4 for line in rows)


@pytest.mark.parametrize(
    ("language", "title"), [("en", "### What dp-3 guarantees"), ("zh", "### dp-3 所作的保证")]
)
def test_markdown_says_what_private_training_guarantees_and_on_what_it_rests(run, language, title):
    _, _, section = render_markdown(run, language).partition(title)
    section = section.partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[2:4] == [["ε", "≤ 3.00"], ["δ", "10⁻⁵"]]
    assert [value for _, value in rows[4:]] == ["one row", "add or remove one record", "prv"]
    assert "e^ε" in section
    assert "- Each person contributes one row." in section.splitlines()


def test_markdown_of_a_seeded_training_claims_no_guarantee(run):
    cards = [
        card.model_copy(update={"certificate": CERTIFICATE.model_copy(update={"certified": False})})
        if card.certificate
        else card
        for card in run.subjects
    ]
    text = render_markdown(sample_run(subjects=tuple(cards)), "en")
    assert "### What dp-3 does not guarantee yet" in text
    assert "Not certified: ε ≤ 3.00 at δ = 10⁻⁵ was computed" in text


def test_markdown_without_private_training_has_no_section_of_guarantees(run):
    cards = tuple(card.model_copy(update={"certificate": None}) for card in run.subjects)
    assert "guarantee" not in render_markdown(sample_run(subjects=cards), "en")


def test_the_model_card_says_what_private_training_guarantees(run):
    card = render_model_card(run)
    assert "### What dp-3 guarantees" in card
    assert "| unit of privacy | one row |" in card


def test_model_card_metadata_is_yaml_with_the_measured_values(run):
    card = render_model_card(run)
    _, front, body = card.split("---\n", 2)
    metadata = YAML(typ="safe").load(front)
    metrics = {one["type"]: one["value"] for one in metadata["model-index"][0]["results"][0]["metrics"]}
    assert metrics["performance/accuracy"] == 0.8523
    assert all(isinstance(value, float | int) for value in metrics.values())
    assert "Not stated." in body


def test_model_card_survives_a_hostile_name(run):
    cards = (run.subjects[0].model_copy(update={"title": 'x": {evil: 1}\n---\n# \u2028'}), *run.subjects[1:])
    _, front, _ = render_model_card(sample_run(subjects=cards)).split("---\n", 2)
    assert YAML(typ="safe").load(front)["model-index"][0]["name"] == 'x": {evil: 1}\n---\n# \u2028'


def test_terminal_puts_the_verdict_first_and_aligns(run):
    lines = summary_lines(run)
    assert lines[0].startswith("fail ")
    assert lines[-1] == "7 checks: 2 fail, 1 inconclusive, 2 pass, 2 not shown"
    starts = {line.index("group-fairness/") for line in lines if "group-fairness/" in line}
    assert len(starts) == 1


def test_terminal_shows_key_figures_without_policy():
    lines = summary_lines(sample_run(findings=()))
    assert lines[0] == "No policy was given, so nothing was judged."
    assert any(line.startswith("Accuracy") and "85.2 %" in line for line in lines)


def test_wide_characters_take_two_columns():
    assert aligned([("群体", "1"), ("abcd", "2")]) == ["群体  1", "abcd  2"]


def shifted(run, factor):
    """The same run with every estimate scaled."""

    def scale(one):
        if one.value is None or one.interval is None:
            return one
        low, high = sorted((one.interval.low * factor, one.interval.high * factor))
        interval = Interval(low=low, high=high, confidence=0.95, method="t")
        return one.model_copy(update={"value": one.value * factor, "interval": interval})

    return sample_run(
        title="later",
        results=tuple(
            result.model_copy(update={"measurements": tuple(scale(one) for one in result.measurements)})
            for result in run.results
        ),
    )


def test_run_compared_with_itself_has_not_changed(run):
    rows = comparison_rows(run, run)
    assert rows
    assert {row.status for row in rows} == {"not distinguishable"}
    assert {row.difference for row in rows} == {0.0}


def test_figure_changes_only_when_the_intervals_are_apart(run):
    rows = {row.figure: row for row in comparison_rows(run, shifted(run, 0.9))}
    assert rows["performance/accuracy@baseline"].status == "changed"
    assert (
        rows["group-fairness/false_negative_rate.difference[race]@baseline"].status == "not distinguishable"
    )


def test_bounds_are_never_called_changed(run):
    rows = {row.figure: row for row in comparison_rows(run, shifted(run, 0.1))}
    assert rows["membership-inference/epsilon_lower_bound@baseline"].status == "not distinguishable"


def test_figures_missing_in_one_run_are_not_compared(run):
    assert not [row for row in comparison_rows(run, run) if "carbon" in row.figure]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_comparison_page_is_sound(run, language):
    page = Page(render_comparison(run, shifted(run, 0.9), language))
    assert page.misplaced == []
    assert page.open == []
    assert not [tag for tag, _ in page.elements if tag == "script"]


def test_comparison_says_that_it_is_unpaired(run):
    assert "not paired" in Page(render_comparison(run, run, "en")).text()
    assert comparison_lines(run, run)[1].startswith("Unpaired and conservative")


def test_comparison_names_rules_whose_verdict_differs(run):
    flipped = tuple(
        one.model_copy(update={"verdict": "pass"}) if one.verdict == "fail" else one for one in run.findings
    )
    text = "\n".join(comparison_lines(run, sample_run(findings=flipped)))
    assert "Fail to pass  Women approved at least 80 % as often as men" in text


def test_reports_are_written_under_their_names(run, tmp_path):
    paths = write_reports(run, tmp_path, languages=("en", "zh"), formats=FORMATS)
    assert [path.name for path in paths] == [
        "report.en.html",
        "report.zh.html",
        "report.en.md",
        "report.zh.md",
        "report.json",
        "report.junit.xml",
        "report.sarif.json",
        "model-card.md",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_only_the_wanted_languages_are_written(run, tmp_path):
    assert [path.name for path in write_reports(run, tmp_path, languages=("zh",), formats=("html",))] == [
        "report.zh.html"
    ]


def test_rule_with_two_thresholds_reads_as_a_range(run):
    rule = Rule(figure="performance/accuracy", at_least=0.5, at_most=0.9)
    finding = run.findings[12].model_copy(update={"rule": rule})
    assert any("50 to 90 %" in line for line in summary_lines(sample_run(findings=(finding,))))
