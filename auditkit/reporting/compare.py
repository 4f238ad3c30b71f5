"""Comparing two stored runs: rows for scripts, lines for a terminal, a page for readers."""

from auditkit.records import Run
from auditkit.reporting.html import clean, render_template
from auditkit.reporting.language import Language, texts_for
from auditkit.reporting.terminal import aligned
from auditkit.reporting.view.comparison import (
    ComparisonRow,
    RowView,
    comparison_page,
    comparison_rows,
)

__all__ = ["ComparisonRow", "comparison_lines", "comparison_rows", "render_comparison"]


def render_comparison(run_a: Run, run_b: Run, language: Language) -> str:
    """A page with the figures both runs have, those that changed beyond their intervals first."""
    texts = texts_for(language)
    return render_template("compare.html.j2", texts, page=comparison_page(run_a, run_b, texts))


def comparison_lines(run_a: Run, run_b: Run) -> list[str]:
    """The same as plain lines: changed figures first, one line each."""
    texts = texts_for("en")
    page = comparison_page(run_a, run_b, texts)
    rows = [_line(row) for row in (*page.changed, *page.others)]
    verdicts = [(f"{one.first_word} to {one.second_word.lower()}", one.name) for one in page.verdicts]
    lines = [page.lead, "Unpaired and conservative: figures whose intervals overlap may still differ.", ""]
    if verdicts:
        lines += [*aligned(verdicts), ""]
    if rows:
        lines += aligned(rows)
    return [clean(line) for line in lines]


def _line(row: RowView) -> tuple[str, ...]:
    word = "changed" if row.is_changed else "not distinguishable"
    first = f"{row.first.plain} ({row.first.range})" if row.first.range else row.first.plain
    second = f"{row.second.plain} ({row.second.range})" if row.second.range else row.second.plain
    return word, f"{row.label} @{row.subject}", first, second, row.difference
