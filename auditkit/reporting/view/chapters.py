"""One chapter per area, one section per audit: question, evidence, limits, all figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from auditkit.records import AuditResult, Message, Run
from auditkit.reporting.labels import AREAS, area_title, audit_title
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import decimal_shortest
from auditkit.reporting.view.evidence import EvidenceView, evidence_view
from auditkit.reporting.view.tables import FigureTable, figure_table, summary_table


@dataclass(frozen=True, slots=True)
class SubjectEvidence:
    """The evidence on one subject."""

    subject: str
    evidence: tuple[EvidenceView, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One audit: its evidence on the baseline is shown, on the variants folded."""

    anchor: str
    name: str
    title: str
    question: str
    problems: tuple[str, ...]
    evidence: tuple[EvidenceView, ...]
    of_variants: tuple[SubjectEvidence, ...]
    summary: FigureTable | None
    figures: FigureTable | None
    paired: FigureTable | None
    limits: tuple[str, ...]
    method: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chapter:
    """One area."""

    anchor: str
    title: str
    question: str
    sections: tuple[Section, ...]


def chapters(run: Run, texts: Texts) -> tuple[Chapter, ...]:
    """All areas that have results, the known ones first and in their order."""
    found = list(dict.fromkeys(result.area for result in run.results))
    known = [area for area in AREAS if area in found]
    order = known + [area for area in found if area not in AREAS]
    return tuple(_chapter(run, area, f"c{number}", texts) for number, area in enumerate(order, 1))


def _chapter(run: Run, area: str, anchor: str, texts: Texts) -> Chapter:
    results = [result for result in run.results if result.area == area]
    audits = list(dict.fromkeys(result.audit for result in results))
    sections = [
        _section([result for result in results if result.audit == audit], f"{anchor}-{number}", texts)
        for number, audit in enumerate(audits, 1)
    ]
    question = texts.text(AREAS[area][1]) if area in AREAS else ""
    return Chapter(anchor, area_title(texts, area), question, tuple(sections))


def _section(results: Sequence[AuditResult], anchor: str, texts: Texts) -> Section:
    alone = [result for result in results if result.against is None]
    paired = [result for result in results if result.against is not None]
    first = results[0]
    evidence = [
        SubjectEvidence(result.subject, tuple(evidence_view(one, texts) for one in result.evidence))
        for result in alone
        if result.evidence
    ]
    pairs = [
        SubjectEvidence(
            f"{result.subject} ~ {result.against}", tuple(evidence_view(e, texts) for e in result.evidence)
        )
        for result in paired
        if result.evidence
    ]
    summary, figures = summary_table(alone, texts), figure_table(alone, texts)
    is_complete = summary is not None and figures is not None and summary.n_rows == figures.n_rows
    return Section(
        anchor=anchor,
        name=first.audit,
        title=audit_title(texts, first.audit),
        question=texts.message(first.question),
        problems=tuple(_problems(results, texts)),
        evidence=evidence[0].evidence if evidence else (),
        of_variants=(*evidence[1:], *pairs),
        summary=summary,
        figures=None if is_complete else figures,
        paired=figure_table(paired, texts),
        limits=tuple(_limits(results, texts)),
        method=_method(first, results, texts),
        sources=first.sources,
    )


def _problems(results: Sequence[AuditResult], texts: Texts) -> Iterator[str]:
    said: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.status != "measured":
            word = texts.text("skipped") if result.status == "skipped" else texts.text("failed")
            said.setdefault((word, texts.message(result.reason)), []).append(result.subject)
    for (word, reason), subjects in said.items():
        names = texts.list_of(dict.fromkeys(subjects))
        yield texts.text("{subjects}: {word}. {reason}", subjects=names, word=word, reason=reason)


def _limits(results: Sequence[AuditResult], texts: Texts) -> Iterator[str]:
    """Limits of the audit once; those of single subjects with their names."""
    measured = [result for result in results if result.status == "measured"] or list(results)
    bearers: dict[str, list[str]] = {}
    limits: dict[str, Message] = {}
    for result in measured:
        for limit in result.limits:
            key = texts.message(limit)
            limits[key] = limit
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
    parameters = texts.series_of(f"{key} = {_plain(value)}" for key, value in sorted(first.params.items()))
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


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, float):
        return decimal_shortest(value)
    return str(value)
