"""The page: closed, inert, offline, the same every time, and with what a reader must find on it."""

import base64
import hashlib
import re

import pytest

from auditkit.reporting.html import render_html
from auditkit.reporting.view.certificates import unbroken
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import CERTIFICATE, sample_run


def test_same_run_gives_the_same_bytes(run, english):
    again = type(run).model_validate_json(run.model_dump_json())
    assert render_html(again, "en") == english


def test_every_element_is_closed_in_its_place(page):
    assert page.misplaced == []
    assert page.open == []


def test_page_holds_no_script_and_no_inline_style(page):
    assert not [tag for tag, _ in page.elements if tag in {"script", "link", "iframe", "object", "form"}]
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name == "style" or name.startswith("on")]


def test_page_refers_to_itself_only(page):
    for _, attributes in page.elements:
        for name in ("href", "src"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), value


def test_links_lead_to_places_on_the_page(page):
    places = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    links = {attributes["href"] for _, attributes in page.elements if attributes.get("href")}
    assert {link[1:] for link in links} <= places


def test_policy_allows_this_style_sheet_and_nothing_else(english, page):
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    css = re.search(r"<style>(.*?)</style>", english, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_style_sheet_loads_nothing(english):
    css = re.search(r"<style>(.*?)</style>", english, re.DOTALL).group(1)
    assert "url(" not in css
    assert "@import" not in css
    assert "</" not in css


def test_every_chart_has_a_name(english):
    for chart in re.findall(r"<svg [^>]*>.{0,40}", english):
        assert "aria-hidden" in chart or ('role="img"' in chart and "<title>" in chart), chart


def test_every_chart_of_evidence_has_its_table(english):
    figures = re.findall(r"<figure>.*?</figure>", english, re.DOTALL)
    charts = [figure for figure in figures if '<svg class="c"' in figure]
    assert charts
    assert all("<table" in figure for figure in charts)


def test_pictures_say_what_they_show(page):
    assert page.all("img")
    assert all(image["alt"] for image in page.all("img"))


def test_every_row_of_a_table_begins_with_its_heading(english):
    rows = re.findall(r"<tr[^>]*>(<\w+)", re.sub(r"<thead>.*?</thead>", "", english, flags=re.DOTALL))
    assert rows
    assert set(rows) == {"<th"}


def test_no_heading_of_a_table_is_empty(english):
    assert not re.search(r"<th[^>]*></th>", english)


def test_columns_of_evidence_never_grow_with_what_they_hold(english):
    """A wide table is to scroll within its own frame: on a phone it must not push texts off the page."""
    css = re.search(r"<style>(.*?)</style>", english, re.DOTALL).group(1)
    columns = re.findall(r"\.evs\{[^}]*grid-template-columns:([^;}]+)", css)
    assert len(columns) == 2
    assert all("minmax(0,1fr)" in one for one in columns)


def test_first_screen_comes_before_details(english):
    order = [
        english.index(f'id="{name}"') for name in ("findings", "gaps", "planted", "costs", "c1", "about")
    ]
    assert order == sorted(order)


def test_failures_stand_before_passes(english):
    verdicts = re.findall(r'<span class="w (\w+)">', english)
    assert verdicts == ["fail", "fail", "inconclusive", "not_shown", "not_shown", "pass", "pass"]


def test_verdict_is_told_by_shape_and_word_too(english):
    for verdict, word in (("fail", "Fail"), ("pass", "Pass"), ("inconclusive", "Inconclusive")):
        assert f'<use href="#k-{verdict}"/></svg>{word}' in english


def test_skipped_and_failed_audits_are_named_with_their_reason(page):
    text = page.text()
    assert "It needs a subject with gradients (a torch module)." in text
    assert "ValueError: later rows have 11 columns, expected 12." in text


def test_page_says_that_data_are_synthetic(page):
    assert "Synthetic data." in page.text()
    assert "2 of 4 planted faults were found." in page.text()


def test_page_of_real_data_has_no_planted_part(run):
    data = run.data.model_copy(update={"synthetic": False, "planted": ()})
    html = render_html(sample_run(data=data), "en")
    assert 'id="planted"' not in html
    assert "Synthetic" not in html


def test_run_without_policy_is_not_judged():
    page = Page(render_html(sample_run(findings=()), "en"))
    assert "No policy was given, so nothing was judged." in page.text()
    assert "Key figures" in page.text()
    assert "v-fail" not in str(page.elements)


def test_run_without_variants_has_no_comparison(run):
    alone = sample_run(
        subjects=run.subjects[:1],
        results=tuple(result for result in run.results if result.subject == "baseline"),
        findings=tuple(finding for finding in run.findings if finding.subject == "baseline"),
    )
    assert 'id="costs"' not in render_html(alone, "en")


def test_run_with_nothing_measured_renders(run):
    skipped = tuple(result for result in run.results if result.status != "measured")
    page = Page(render_html(sample_run(results=skipped, findings=()), "en"))
    assert page.misplaced == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_number_is_lost_to_nan_or_none(run, language):
    text = Page(render_html(run, language)).text()
    for word in ("nan", "inf", "None", "Undefined"):
        assert not re.search(rf"\b{word}\b", text), word


def test_report_of_three_subjects_stays_small(english, chinese):
    assert len(english.encode()) <= 300_000
    assert len(chinese.encode()) <= 300_000


@pytest.mark.parametrize(
    ("language", "heading"),
    [("en", "What lending-mlp guarantees"), ("zh", "lending-mlp 所作的保证")],
)
def test_guarantee_of_the_only_subject_is_shown(run, language, heading):
    private = run.subjects[0].model_copy(update={"kind": "dp-retrain", "certificate": CERTIFICATE})
    alone = sample_run(
        subjects=(private,),
        results=tuple(result for result in run.results if result.subject == "baseline"),
        findings=tuple(finding for finding in run.findings if finding.subject == "baseline"),
    )
    page = Page(render_html(alone, language))
    assert heading in page.text()
    assert unbroken("ε ≤ 3.00") in page.text()
    assert "Each person contributes one row." in page.text()
    assert {"href": "#guarantees"} in page.all("a")
    assert page.misplaced == []


def test_report_without_certificate_speaks_of_no_guarantee(run):
    bare = tuple(card.model_copy(update={"certificate": None}) for card in run.subjects)
    assert 'id="guarantees"' not in render_html(sample_run(subjects=bare), "en")


def test_guarantee_stands_beside_the_private_variant(page):
    assert unbroken("ε ≤ 3.00, δ = 10⁻⁵") in page.text()
    assert "Each person contributes one row." in page.text()
