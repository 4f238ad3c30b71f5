"""A short summary in Markdown: tally, findings, what private training guarantees, what was not shown."""

from collections.abc import Sequence

from markupsafe import Markup

from auditkit.records import Run
from auditkit.reporting.html import clean
from auditkit.reporting.language import Language, Texts, texts_for
from auditkit.reporting.view.certificates import CertificateView
from auditkit.reporting.view.costs import CostColumn
from auditkit.reporting.view.findings import FindingView
from auditkit.reporting.view.page import Page, page

_MARKS = {"fail": "■", "inconclusive": "◆", "pass": "●", "not_shown": "○"}


def render_markdown(run: Run, language: Language) -> str:
    """The first screen of the report as Markdown; names are escaped, so none can become markup."""
    texts = texts_for(language)
    view = page(run, texts)
    identity = " · ".join(
        escaped(item.text) + (f" `{item.code.replace('`', '')}`" if item.code else "")
        for item in view.identity
    )
    parts = [f"# {escaped(view.title)}", identity]
    if view.is_synthetic:
        parts.append(f"**{texts.text('Synthetic data.')}** {view.planted_summary}".strip())
    parts += [escaped(sentence.striptags()) for sentence in view.lead]
    if view.findings:
        tally = " · ".join(f"{_MARKS[verdict]} {word} {count}" for verdict, word, count in view.tally)
        parts += [tally, _findings_table((*view.findings, *view.further_passes), texts)]
    else:
        parts.append(_key_table(view.key_figures, texts))
    if view.certificates:
        parts.append(f"## {texts.text('What private training guarantees')}")
        parts += [part for one in view.certificates for part in _certificate(one, texts)]
    parts += [f"## {texts.text('What this audit could not show')}", _gaps(view)]
    return clean("\n\n".join(part for part in parts if part)) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown and the HTML in it leave alone, on one line."""
    for character in "\\`*_{}[]<>#|!~&":
        text = text.replace(character, f"\\{character}" if character not in "<>&" else _ENTITIES[character])
    return " ".join(text.split())


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _findings_table(findings: tuple[FindingView, ...], texts: Texts) -> str:
    heads = (texts.text("verdict"), texts.text("figure"), texts.text("measured"), texts.text("policy"), "n")
    rows = [
        (
            f"{_MARKS[one.verdict]} {one.word}",
            one.name if one.name == one.label or not one.label else f"{one.name} ({one.label})",
            f"{one.number.plain} ({one.number.range})" if one.number.range else one.number.plain,
            one.policy,
            one.rests_on[0] if one.rests_on else one.reason,
        )
        for one in findings
    ]
    return _table(heads, rows)


def _key_table(columns: tuple[CostColumn, ...], texts: Texts) -> str:
    rows = [
        (column.heading, cell.number.plain, cell.number.range)
        for column in columns
        for cell in column.cells[:1]
    ]
    return _table((texts.text("figure"), texts.text("measured"), texts.text("interval")), rows)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *(tuple(escaped(cell) for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _certificate(one: CertificateView, texts: Texts) -> tuple[str, ...]:
    """The guarantee of one subject, in a sentence and a table, and what it rests on."""
    title = (
        texts.text("What {subject} guarantees", subject=one.subject)
        if one.is_certified
        else texts.text("What {subject} does not guarantee yet", subject=one.subject)
    )
    statement = one.statement.replace(Markup("<sup>"), "^").striptags()
    return (
        f"### {escaped(title)}",
        escaped(statement),
        _table((texts.text("property"), texts.text("value")), one.summary),
        escaped(texts.text("Conditions and assumptions:")) if one.assumptions else "",
        "\n".join(f"- {escaped(assumption)}" for assumption in one.assumptions),
    )


def _gaps(view: Page) -> str:
    items = [f"{one.name}: {one.reason}" for one in view.gaps.not_shown]
    for gap in view.gaps.not_measured:
        subjects = f" ({gap.subjects})" if gap.subjects else ""
        items.append(f"{gap.title}, {gap.word}{subjects}: {gap.reason}")
    items += [f"{gap.title}, {gap.count}: {gap.reason} {gap.examples}" for gap in view.gaps.undefined]
    items += view.gaps.always
    return "\n".join(f"- {escaped(item)}" for item in items)
