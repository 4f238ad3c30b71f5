"""One chapter per area, one section per audit: question, evidence, limits, all figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditkit.records import AuditResult, Run
from auditkit.records.setting import setting
from auditkit.reporting.labels import AREAS, area_title, audit_title
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import decimal_shortest
from auditkit.reporting.view.disparities import Disparities, disparities
from auditkit.reporting.view.evidence.evidence import evidence_view
from auditkit.reporting.view.evidence.shapes import EvidenceView
from auditkit.reporting.view.layout import Columns, evidence_block, limits_block, summary_block, two_columns
from auditkit.reporting.view.tables import FigureTable, figure_table, summary_table
from auditkit.reporting.view.trust import EXPLANATIONS, TRUST, trust_view

EVIDENCE_OPEN = 6
"""Pieces of evidence that stand open; more are folded, and those of variants left to ``run.json``."""

SUBJECTS_IN_A_COLUMN = 4
"""With more subjects, the summary table takes the whole width."""


@dataclass(frozen=True, slots=True)
class SubjectEvidence:
    """The evidence on one subject; ``note`` says what was left out."""

    title: str
    columns: Columns
    note: str


@dataclass(frozen=True, slots=True)
class Section:
    """One audit: its evidence on the baseline is shown, on the variants folded.

    ``figures`` is the table of all figures where the open summary does not hold them all already.
    """

    anchor: str
    name: str
    title: str
    question: str
    problems: tuple[str, ...]
    columns: Columns
    further: Columns
    n_further: int
    of_variants: tuple[SubjectEvidence, ...]
    wide_summary: FigureTable | None
    figures: FigureTable | None
    paired: FigureTable | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """One area; that of fairness begins with its gaps at a glance."""

    anchor: str
    title: str
    question: str
    disparities: Disparities | None
    sections: tuple[Section, ...]


def chapters(run: Run, texts: Texts) -> tuple[Chapter, ...]:
    """All areas that have results, the known ones first and in their order."""
    found = list(dict.fromkeys(result.area for result in run.results))
    known = [area for area in AREAS if area in found]
    order = known + [area for area in found if area not in AREAS]
    return tuple(_chapter(run, area, f"c{number}", texts) for number, area in enumerate(order, 1))


def _chapter(run: Run, area: str, anchor: str, texts: Texts) -> Chapter:
    results = [result for result in run.results if result.area == area]
    found = list(dict.fromkeys(result.audit for result in results))
    # how far explanations can be trusted is said before any of them is shown
    audits = sorted(found, key=lambda audit: audit != TRUST)
    trust = trust_view(results, texts)
    sections = [
        _section(
            [result for result in results if result.audit == audit],
            f"{anchor}-{number}",
            texts,
            first=trust if audit == EXPLANATIONS else None,
        )
        for number, audit in enumerate(audits, 1)
    ]
    question = texts.text(AREAS[area][1]) if area in AREAS else ""
    glance = disparities(run, texts) if area == "fairness" else None
    return Chapter(anchor, area_title(texts, area), question, glance, tuple(sections))


def _section(
    results: Sequence[AuditResult], anchor: str, texts: Texts, *, first: EvidenceView | None = None
) -> Section:
    alone = [result for result in results if result.against is None]
    paired = [result for result in results if result.against is not None]
    lead = results[0]
    summary, figures = summary_table(alone, texts), figure_table(alone, texts)
    is_complete = summary is not None and figures is not None and summary.n_rows == figures.n_rows
    is_wide = summary is not None and len(summary.subjects) > SUBJECTS_IN_A_COLUMN
    with_evidence = [result for result in alone if result.evidence]
    shown = ([first] if first else []) + _evidence(with_evidence[:1], texts)
    evidence = [evidence_block(one) for one in shown]
    n_open = n_open_of(len(evidence))
    blocks = evidence[:n_open]
    if summary is not None and not is_wide:
        blocks.insert(min(1, len(blocks)), summary_block(summary))
    limits = tuple(_limits(results, texts))
    is_measured = any(result.status == "measured" for result in results)
    if is_measured:
        blocks.append(limits_block(limits, _method(lead, results, texts)))
    return Section(
        anchor=anchor,
        name=lead.audit,
        title=audit_title(texts, lead.audit),
        question=texts.message(lead.question),
        problems=tuple(_problems(results, texts)),
        columns=two_columns(blocks),
        further=two_columns(evidence[n_open:]),
        n_further=len(evidence) - n_open,
        of_variants=tuple(
            _of_variant(result, texts)
            for result in (*with_evidence[1:], *(one for one in paired if one.evidence))
        ),
        wide_summary=summary if is_wide else None,
        figures=None if is_complete else figures,
        paired=figure_table(paired, texts),
    )


def _of_variant(result: AuditResult, texts: Texts) -> SubjectEvidence:
    views = _evidence([result], texts)
    n_more = len(views) - n_open_of(len(views))
    return SubjectEvidence(
        title=texts.text("{subject} beside {against}", subject=result.subject, against=result.against)
        if result.against
        else texts.text("The same for {subject}", subject=result.subject),
        columns=two_columns([evidence_block(one) for one in views[: n_open_of(len(views))]]),
        note=texts.plural("{n} more piece is in run.json.", "{n} more pieces are in run.json.", n_more)
        if n_more
        else "",
    )


def n_open_of(n: int) -> int:
    """How many of ``n`` pieces of evidence stand open; a single one is not folded away."""
    return EVIDENCE_OPEN if n > EVIDENCE_OPEN + 1 else n


def _evidence(results: Sequence[AuditResult], texts: Texts) -> list[EvidenceView]:
    return [evidence_view(one, texts) for result in results for one in result.evidence]


def _problems(results: Sequence[AuditResult], texts: Texts) -> Iterator[str]:
    said: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.status != "measured":
            word = texts.text("skipped") if result.status == "skipped" else texts.text("failed")
            said.setdefault((word, texts.message(result.reason)), []).append(result.subject)
    for (word, reason), subjects in said.items():
        names = texts.list_of(dict.fromkeys(subjects))
        yield texts.text(
            "{subjects}: {word}. {reason}", subjects=names, word=word, reason=texts.sentence(reason)
        )


def _limits(results: Sequence[AuditResult], texts: Texts) -> Iterator[str]:
    """Limits of the audit once; those of single subjects with their names."""
    measured = [result for result in results if result.status == "measured"] or list(results)
    bearers: dict[str, list[str]] = {}
    for result in measured:
        for limit in result.limits:
            key = texts.sentence(texts.message(limit))
            bearers.setdefault(key, []).append(result.subject)
    everyone = {result.subject for result in measured}
    for text, subjects in bearers.items():
        if set(subjects) == everyone:
            yield text
        else:
            yield texts.text(
                "{subjects}: {limit}", subjects=texts.list_of(dict.fromkeys(subjects)), limit=text
            )


def _method(first: AuditResult, results: Sequence[AuditResult], texts: Texts) -> str:
    parameters = texts.series_of(
        f"{key} = {setting(value, number=decimal_shortest)}" for key, value in sorted(first.params.items())
    )
    duration = decimal_shortest(sum(result.cost.duration_s for result in results), 2)
    if not parameters:
        return texts.text(
            "{audit} version {version}, from {plugin}; {duration} s on all subjects.",
            audit=first.audit,
            version=first.version,
            plugin=first.plugin,
            duration=duration,
        )
    return texts.text(
        "{audit} version {version}, from {plugin}, with {parameters}; {duration} s on all subjects.",
        audit=first.audit,
        version=first.version,
        plugin=first.plugin,
        parameters=parameters,
        duration=duration,
    )
