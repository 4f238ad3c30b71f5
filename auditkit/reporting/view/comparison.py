"""Two runs side by side: the figures both have, and which differ beyond their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from auditkit.records import Finding, Measurement, Record, Run
from auditkit.reporting.charts.strip import pair_strip, strip_axis
from auditkit.reporting.labels import audit_title, figure_label, sentence_case
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import Number, Scale, number_of, rounded, signed
from auditkit.reporting.view.about import short_digest
from auditkit.reporting.view.figures import Figure, FigureIndex, common_scale, index_figures
from auditkit.reporting.view.findings import WORDS, finding_label


class ComparisonRow(Record):
    """One figure in both runs.

    ``changed`` means that the intervals do not overlap. That is unpaired and conservative: two figures whose
    intervals overlap may still differ, and figures that bound the truth from one side are never ``changed``.
    """

    figure: str
    unit: str
    value_a: float
    low_a: float | None
    high_a: float | None
    value_b: float
    low_b: float | None
    high_b: float | None
    difference: float
    status: Literal["changed", "not distinguishable"]


@dataclass(frozen=True, slots=True)
class RowView:
    """A figure of both runs ready for print."""

    audit: str
    label: str
    subject: str
    first: Number
    second: Number
    difference: str
    chart: Markup | None
    is_changed: bool


@dataclass(frozen=True, slots=True)
class VerdictView:
    """A rule of both policies with its verdict in each run."""

    name: str
    first: str
    first_word: str
    second: str
    second_word: str


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """What the page of a comparison shows."""

    title: str
    first: tuple[tuple[str, str], ...]
    second: tuple[tuple[str, str], ...]
    lead: str
    verdicts: tuple[VerdictView, ...]
    changed: tuple[RowView, ...]
    others: tuple[RowView, ...]
    n_only_first: int
    n_only_second: int


def comparison_rows(run_a: Run, run_b: Run) -> tuple[ComparisonRow, ...]:
    """Figures that have a value and the same unit in both runs, in the order of the first."""
    first, second = index_figures(run_a), index_figures(run_b)
    return tuple(
        _row(figure, first[figure].measurement, second[figure].measurement)
        for figure in _shared(first, second)
    )


def comparison_page(run_a: Run, run_b: Run, texts: Texts) -> ComparisonPage:
    """Arrange two runs for reading."""
    first, second = index_figures(run_a), index_figures(run_b)
    shared = _shared(first, second)
    rows = [_row_view(first[figure], second[figure], figure, texts) for figure in shared]
    changed = tuple(row for row in rows if row.is_changed)
    lead = texts.plural(
        "{n} of {total} shared figures changed beyond its interval.",
        "{n} of {total} shared figures changed beyond their intervals.",
        len(changed),
        total=len(rows),
    )
    return ComparisonPage(
        title=texts.text("{first} against {second}", first=run_a.title, second=run_b.title),
        first=_identity(run_a, texts),
        second=_identity(run_b, texts),
        lead=lead if rows else texts.text("The runs share no figure."),
        verdicts=tuple(_verdicts(run_a, run_b, texts)),
        changed=changed,
        others=tuple(row for row in rows if not row.is_changed),
        n_only_first=len(first) - len(shared),
        n_only_second=len(second) - len(shared),
    )


def _shared(first: FigureIndex, second: FigureIndex) -> list[str]:
    return [
        figure
        for figure, here in first.items()
        if (there := second.get(figure)) is not None
        and here.measurement.value is not None
        and there.measurement.value is not None
        and here.measurement.unit == there.measurement.unit
    ]


def _row(figure: str, first: Measurement, second: Measurement) -> ComparisonRow:
    value_a, value_b = first.value or 0.0, second.value or 0.0
    a, b = first.interval, second.interval
    return ComparisonRow(
        figure=figure,
        unit=first.unit,
        value_a=value_a,
        low_a=a.low if a else None,
        high_a=a.high if a else None,
        value_b=value_b,
        low_b=b.low if b else None,
        high_b=b.high if b else None,
        difference=value_b - value_a,
        status="changed" if _is_changed(first, second) else "not distinguishable",
    )


def _is_changed(first: Measurement, second: Measurement) -> bool:
    a, b = first.interval, second.interval
    is_estimate = first.kind == second.kind == "estimate"
    return is_estimate and a is not None and b is not None and (a.high < b.low or b.high < a.low)


def _row_view(first: Figure, second: Figure, figure: str, texts: Texts) -> RowView:
    here, there = first.measurement, second.measurement
    scale = common_scale(texts, [here, there])
    return RowView(
        audit=audit_title(texts, first.result.audit),
        label=sentence_case(figure_label(texts, here, first.result.audit)),
        subject=figure.rpartition("@")[2],
        first=number_of(here, scale),
        second=number_of(there, scale),
        difference=_difference(here, there, scale),
        chart=_chart(here, there, scale),
        is_changed=_is_changed(here, there),
    )


def _difference(first: Measurement, second: Measurement, scale: Scale) -> str:
    """The difference of the values, rounded as coarsely as the wider interval."""
    widest = max(
        (one.interval.high - one.interval.low for one in (first, second) if one.interval), default=0.0
    )
    value = (second.value or 0.0) - (first.value or 0.0)
    return signed(rounded(value, value - widest / 2, value + widest / 2, scale).value)


def _chart(first: Measurement, second: Measurement, scale: Scale) -> Markup | None:
    marks: list[tuple[float, float, float]] = []
    for one in (first, second):
        if one.value is None or one.interval is None:
            return None
        factor = scale.factor
        marks.append((one.value * factor, one.interval.low * factor, one.interval.high * factor))
    return pair_strip(strip_axis([number for mark in marks for number in mark]), marks[0], marks[1])


def _verdicts(run_a: Run, run_b: Run, texts: Texts) -> list[VerdictView]:
    """Rules whose verdict differs between the runs."""
    others = {_key(finding): finding for finding in run_b.findings if finding.binding}
    pairs = [
        (finding, others[_key(finding)])
        for finding in run_a.findings
        if finding.binding and _key(finding) in others and others[_key(finding)].verdict != finding.verdict
    ]
    return [
        VerdictView(
            name=here.rule.title or sentence_case(finding_label(texts, here)),
            first=here.verdict,
            first_word=texts.text(WORDS[here.verdict]),
            second=there.verdict,
            second_word=texts.text(WORDS[there.verdict]),
        )
        for here, there in pairs
    ]


def _key(finding: Finding) -> tuple[str, float | None, float | None]:
    return finding.figure, finding.rule.at_least, finding.rule.at_most


def _identity(run: Run, texts: Texts) -> tuple[tuple[str, str], ...]:
    facts: Sequence[tuple[str, str]] = (
        (texts.text("run"), run.run_id),
        (texts.text("subject"), f"{run.subjects[0].title} {short_digest(run.subjects[0].digest)}"),
        (texts.text("data"), f"{run.data.name} {short_digest(run.data.digest)}"),
        (texts.text("seed"), str(run.seed)),
        (texts.text("date"), run.created_at[:10]),
        ("auditkit", run.environment.auditkit),
    )
    return tuple(facts)
