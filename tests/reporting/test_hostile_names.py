"""Names from data, models and configs may hold anything; none becomes an element, an attribute or a crash."""

import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditkit.records import Run
from auditkit.reporting.compare import render_comparison
from auditkit.reporting.html import render_html
from auditkit.reporting.junit import render_junit
from auditkit.reporting.markdown import render_markdown
from auditkit.reporting.sarif import render_sarif
from auditkit.reporting.terminal import summary_lines
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import sample_run

NAMES = ("Female", "lending-mlp", "refused", "debt_to_income", "mother", "postcode", "no country was given")
ATTACKS = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "{n.__class__}",
    "</style><style>*{display:none}",
    "]]><!--",
    "&lt;b&gt;",
    "\u202egnidael\x00\x1b[31m",
    "人名" * 60,
)


def renamed(name: str) -> Run:
    """The sample with every name in the data replaced."""

    def walk(value):
        if isinstance(value, str):
            for old in NAMES:
                value = value.replace(old, name)
            return value
        if isinstance(value, list):
            return [walk(one) for one in value]
        if isinstance(value, dict):
            return {key.replace("Female", name): walk(one) for key, one in value.items()}
        return value

    return Run.model_validate(walk(json.loads(sample_run().model_dump_json())))


@cache
def plain_outline(length: int) -> list[tuple[str, tuple[str, ...]]]:
    """The elements for a harmless name of the same length, as long notes stand elsewhere than short ones."""
    return Page(render_html(renamed("Z" * length), "en")).outline


def assert_inert(name: str) -> None:
    page = Page(render_html(renamed(name), "en"))
    assert page.outline == plain_outline(len(name))
    assert page.misplaced == []
    assert page.open == []


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_adds_no_element(name):
    assert_inert(name)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and text not in NAMES))
def test_any_text_as_name_adds_no_element(name):
    assert_inert(name)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_adds_no_element_to_a_comparison(name):
    other = renamed("Zz")
    plain = Page(render_comparison(other, other, "en"))
    hostile = renamed(name)
    page = Page(render_comparison(hostile, hostile, "en"))
    assert page.outline == plain.outline


@pytest.mark.parametrize("name", ATTACKS)
def test_text_exports_hold_no_live_markup(name):
    run = renamed(name)
    markdown = render_markdown(run, "en")
    assert "<img" not in markdown
    assert "<svg" not in markdown
    json.loads(render_sarif(run))
    assert all("\x1b" not in line and "\n" not in line for line in summary_lines(run))
    assert "<img" not in render_junit(run)


def test_template_in_a_name_is_not_evaluated():
    page = Page(render_html(renamed("{{ 7 * 7 }}"), "en"))
    assert "{{ 7 * 7 }}" in page.text()
    assert "49" not in page.text().replace("{{ 7 * 7 }}", "").split("What may")[0][:200]
