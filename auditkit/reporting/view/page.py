"""The whole report as one frozen value, ready for the template."""

from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Run, Verdict
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.view.about import About, about, short_digest
from auditkit.reporting.view.certificates import CertificateView, certificate_views
from auditkit.reporting.view.chapters import Chapter, chapters
from auditkit.reporting.view.costs import CostColumn, Costs, costs, key_columns
from auditkit.reporting.view.figures import index_figures
from auditkit.reporting.view.findings import FindingView, finding_views, tally
from auditkit.reporting.view.gaps import Gaps, gaps
from auditkit.reporting.view.lead import NextStep, lead_sentences, next_steps
from auditkit.reporting.view.planted import PlantedView, planted_views

PASSES_OPEN = 5
"""Passing findings that stand open."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One item of the line below the title; ``code`` is set in a fixed-width face."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What the report shows, in the order in which it shows it."""

    title: str
    subject: str
    run_id: str
    identity: tuple[Identity, ...]
    is_synthetic: bool
    lead: tuple[Markup, ...]
    next_steps: tuple[NextStep, ...]
    tally: tuple[tuple[Verdict, str, int], ...]
    findings: tuple[FindingView, ...]
    further_passes: tuple[FindingView, ...]
    key_figures: tuple[CostColumn, ...]
    gaps: Gaps
    planted: tuple[PlantedView, ...]
    planted_summary: str
    costs: Costs | None
    certificates: tuple[CertificateView, ...]
    chapters: tuple[Chapter, ...]
    about: About


def page(run: Run, texts: Texts) -> Page:
    """Arrange a run for reading."""
    index = index_figures(run)
    findings = finding_views(run, texts)
    shown, folded = _fold_passes(findings)
    planted = planted_views(run, index, texts)
    return Page(
        title=run.title,
        subject=run.subjects[0].title,
        run_id=run.run_id,
        identity=tuple(_identity(run, texts)),
        is_synthetic=run.data.synthetic,
        lead=tuple(lead_sentences(run, findings, index, texts)),
        next_steps=tuple(next_steps(findings)),
        tally=tally(findings, texts) if findings else (),
        findings=shown,
        further_passes=folded,
        key_figures=() if findings else key_columns(run, index, texts),
        gaps=gaps(run, findings, texts),
        planted=planted,
        planted_summary=_planted_summary(planted, texts),
        costs=costs(run, index, texts),
        certificates=certificate_views(run.subjects, texts),
        chapters=chapters(run, texts),
        about=about(run, texts),
    )


def _fold_passes(
    findings: tuple[FindingView, ...],
) -> tuple[tuple[FindingView, ...], tuple[FindingView, ...]]:
    """Everything that is not a pass stands open, and a few passes; two or more beyond that are folded."""
    others = sum(one.verdict != "pass" for one in findings)
    n_open = others + PASSES_OPEN
    return (findings[:n_open], findings[n_open:]) if len(findings) > n_open + 1 else (findings, ())


def _identity(run: Run, texts: Texts) -> list[Identity]:
    data, baseline = run.data, run.subjects[0]
    split = (
        texts.text("{split} split of {data}", split=data.split, data=data.name) if data.split else data.name
    )
    n_rules = len(dict.fromkeys(finding.rule.model_dump_json() for finding in run.findings))
    policy = (
        texts.plural("policy of {n} rule", "policy of {n} rules", n_rules)
        if n_rules
        else texts.text("no policy")
    )
    rows = texts.plural("{n} row", "{n} rows", data.n_rows)
    return [
        Identity(baseline.title, short_digest(baseline.digest)),
        Identity(texts.list_of([split, rows]), short_digest(data.digest)),
        Identity(policy),
        Identity(texts.text("seed {seed}", seed=run.seed)),
        Identity(texts.text("run"), run.run_id),
        Identity(run.created_at[:10]),
    ]


def _planted_summary(planted: tuple[PlantedView, ...], texts: Texts) -> str:
    if not planted:
        return ""
    found = sum(one.is_found is True for one in planted)
    return texts.text(
        "{found} of {total} planted faults were found.", found=grouped(found), total=grouped(len(planted))
    )
