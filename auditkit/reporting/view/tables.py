"""The full table of an audit: every figure as a row, every subject as a column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from auditkit.records import AuditResult, Measurement
from auditkit.reporting.labels import group_label, metric_label, sentence_case, style_of
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import Number, Scale, number_of, rounded, scale_for, signed
from auditkit.reporting.view.findings import qualities

ROWS_AT_MOST = 1500
"""A report stays a document that one can open; beyond this, rows are left to ``run.json``, and it says so."""

SUMMARY_ROWS = 10
"""Figures of an audit that stand open; the others are folded."""

_DIRECTIONS = {
    "higher": "↑",
    "lower": "↓",
    "zero": "→\N{NO-BREAK SPACE}0",
    "one": "→\N{NO-BREAK SPACE}1",
    "neither": "",
}
_Key = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure: a cell per subject; ``footnotes`` says why a cell is empty (0: it is not)."""

    label: str
    n: str
    cells: tuple[Number, ...]
    footnotes: tuple[int, ...]
    note: str


@dataclass(frozen=True, slots=True)
class FigureSection:
    """The figures of one metric, in one unit."""

    heading: str
    unit: str
    direction: str
    rows: tuple[FigureRow, ...]


@dataclass(frozen=True, slots=True)
class FigureTable:
    """All figures of one audit."""

    subjects: tuple[str, ...]
    sections: tuple[FigureSection, ...]
    footnotes: tuple[str, ...]
    n_rows: int
    n_left_out: int


@dataclass(slots=True)
class _Footnotes:
    """Reasons in the order in which they first occur."""

    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> int:
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


def summary_table(results: Sequence[AuditResult], texts: Texts) -> FigureTable | None:
    """The figures of the whole population and the disparities, as many as one sees at a glance."""
    keys = [key for key in _keys(results) if not key[1]] or _keys(results)
    return _table(results, keys[:SUMMARY_ROWS], texts)


def figure_table(results: Sequence[AuditResult], texts: Texts) -> FigureTable | None:
    """All figures of ``results``, which are of one audit; ``None`` where there are none."""
    return _table(results, _keys(results), texts)


def _keys(results: Sequence[AuditResult]) -> list[_Key]:
    return list(dict.fromkeys(_key(one) for result in results for one in result.measurements))


def _table(results: Sequence[AuditResult], keys: Sequence[_Key], texts: Texts) -> FigureTable | None:
    measured = [result for result in results if result.measurements]
    if not measured:
        return None
    columns = [{_key(one): one for one in reversed(result.measurements)} for result in measured]
    by_metric: dict[tuple[str, tuple[str, ...]], list[_Key]] = {}
    for key in keys[:ROWS_AT_MOST]:
        by_metric.setdefault((key[0], key[2]), []).append(key)
    footnotes = _Footnotes()
    is_paired = measured[0].against is not None
    sections = tuple(
        _section(
            [[column.get(key) for column in columns] for key in group], texts, footnotes, is_paired=is_paired
        )
        for group in by_metric.values()
    )
    return FigureTable(
        subjects=tuple(result.subject for result in measured),
        sections=sections,
        footnotes=tuple(footnotes.reasons),
        n_rows=len(keys),
        n_left_out=max(0, len(keys) - ROWS_AT_MOST),
    )


def _key(measurement: Measurement) -> _Key:
    return measurement.metric, tuple(measurement.group.items()), measurement.across


def _section(
    rows: Sequence[Sequence[Measurement | None]], texts: Texts, footnotes: _Footnotes, *, is_paired: bool
) -> FigureSection:
    first = _first(rows[0])
    scale = _scale([one for row in rows for one in row if one], texts)
    heading = sentence_case(metric_label(texts, first.metric, first.across))
    return FigureSection(
        heading=heading,
        unit=scale.symbol,
        direction="" if is_paired else _DIRECTIONS[first.better],
        rows=tuple(_row(row, scale, texts, footnotes, is_paired=is_paired) for row in rows),
    )


def _row(
    row: Sequence[Measurement | None], scale: Scale, texts: Texts, footnotes: _Footnotes, *, is_paired: bool
) -> FigureRow:
    first = _first(row)
    keep = (0.0,) if is_paired else ()
    cells = [number_of(one, scale, keep) for one in row]
    if is_paired and "change" in first.metric:
        cells = [_with_sign(cell) for cell in cells]
    return FigureRow(
        label=group_label(texts, first.group),
        n=_samples(row),
        cells=tuple(cells),
        footnotes=tuple(
            footnotes.mark(texts.message(one.missing)) if one and one.missing else 0 for one in row
        ),
        note=texts.series_of(_notes(first, scale, texts)),
    )


def _with_sign(number: Number) -> Number:
    if number.is_absent:
        return number
    low, high = (signed(number.low), signed(number.high)) if number.low else ("", "")
    return Number(signed(number.value), low, high, number.unit, number.bound)


def _notes(measurement: Measurement, scale: Scale, texts: Texts) -> Iterable[str]:
    if measurement.note:
        yield texts.message(measurement.note)
    if measurement.detectable is not None:
        value = rounded(measurement.detectable, None, None, scale).plain
        yield texts.text("detectable: {value}", value=value)
    yield from qualities(texts, measurement)


def _samples(row: Sequence[Measurement | None]) -> str:
    known = [one for one in row if one is not None]
    if all(one.interval is not None and one.interval.method == "exact" for one in known):
        return ""
    least, most = min(one.n for one in known), max(one.n for one in known)
    return grouped(least) if least == most else f"{grouped(least)} \N{EN DASH} {grouped(most)}"


def _first(row: Sequence[Measurement | None]) -> Measurement:
    return next(one for one in row if one is not None)


def _scale(measurements: Sequence[Measurement], texts: Texts) -> Scale:
    first = measurements[0]
    scale = scale_for(first.unit, style_of(first.metric), [one.value for one in measurements])
    return Scale(scale.factor, texts.text(scale.symbol))
