"""The full table of an audit: every figure as a row, every subject as a column."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from auditkit.records import AuditResult, Measurement, Message
from auditkit.reporting.labels import group_label, metric_label, sentence_case
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import Number, Scale, number_of, rounded, signed
from auditkit.reporting.view.figures import common_scale
from auditkit.reporting.view.findings import qualities

ROWS_AT_MOST = 1500
"""A report stays a document that one can open; beyond this, rows are left to ``run.json``, and it says so."""

SUMMARY_ROWS = 10
"""Figures of an audit that stand open; the others are folded."""

NOTE_BESIDE = 48
"""Notes of at most so many characters stand beside their figure, longer ones below the table."""

_DIRECTIONS = {
    "higher": "↑",
    "lower": "↓",
    "zero": "→\N{NO-BREAK SPACE}0",
    "one": "→\N{NO-BREAK SPACE}1",
    "neither": "",
}
_Row = Sequence[Measurement | None]
_Key = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure: a cell per subject; ``footnotes`` says why one is empty (0: it is not).

    ``note_mark`` is the footnote of a note that several rows share (0: there is none).
    """

    label: str
    n: str
    cells: tuple[Number, ...]
    footnotes: tuple[int, ...]
    note: str
    note_mark: int


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
    by_metric: dict[tuple[str, tuple[str, ...]], list[_Row]] = {}
    for key in keys[:ROWS_AT_MOST]:
        row = [column.get(key) for column in columns]
        by_metric.setdefault((key[0], key[2]), []).append(row)
    builder = _Builder(texts, measured[0].audit, is_paired=measured[0].against is not None)
    builder.find_repeated(row for rows in by_metric.values() for row in rows)
    return FigureTable(
        subjects=tuple(result.subject for result in measured),
        sections=tuple(builder.section(rows) for rows in by_metric.values()),
        footnotes=tuple(builder.footnotes),
        n_rows=len(keys),
        n_left_out=max(0, len(keys) - ROWS_AT_MOST),
    )


def _key(measurement: Measurement) -> _Key:
    return measurement.metric, tuple(measurement.group.items()), measurement.across


@dataclass(slots=True)
class _Builder:
    """Rows of one table; reasons and notes that several rows share are collected as footnotes."""

    texts: Texts
    audit: str
    is_paired: bool
    footnotes: list[str] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)

    def find_repeated(self, rows: Iterable[_Row]) -> None:
        """Learn which notes several rows share, or are too long to stand beside a figure."""
        seen = Counter(self.texts.message(_first(row).note) for row in rows)
        self.repeated = {note for note, count in seen.items() if count > 1 or len(note) > NOTE_BESIDE}

    def section(self, rows: Sequence[_Row]) -> FigureSection:
        """The rows of one metric, in one unit."""
        first = _first(rows[0])
        scale = common_scale(self.texts, [one for row in rows for one in row])
        label = metric_label(self.texts, first.metric, first.across, self.audit)
        return FigureSection(
            heading=sentence_case(label),
            unit=scale.symbol,
            direction="" if self.is_paired else _DIRECTIONS[first.better],
            rows=tuple(self._row(row, scale) for row in rows),
        )

    def _row(self, row: _Row, scale: Scale) -> FigureRow:
        first = _first(row)
        keep = (0.0,) if self.is_paired else ()
        cells = [number_of(one, scale, keep) for one in row]
        if self.is_paired and "change" in first.metric:
            cells = [_with_sign(cell) for cell in cells]
        note = self.texts.message(first.note)
        is_repeated = bool(note) and note in self.repeated
        return FigureRow(
            label=group_label(self.texts, first.group),
            n=_samples(row),
            cells=tuple(cells),
            footnotes=tuple(self._mark(one.missing) if one and one.missing else 0 for one in row),
            note=" · ".join(self._notes(first, scale, "" if is_repeated else note)),
            note_mark=self._mark(first.note) if is_repeated else 0,
        )

    def _notes(self, measurement: Measurement, scale: Scale, note: str) -> Iterator[str]:
        if note:
            yield note.rstrip(".。")
        if measurement.detectable is not None:
            value = rounded(measurement.detectable, None, None, scale).plain
            yield self.texts.text("detectable: {value}", value=value)
        yield from qualities(self.texts, measurement)

    def _mark(self, reason: Message | None) -> int:
        """The number of a footnote, from 1."""
        text = self.texts.sentence(self.texts.message(reason))
        if text not in self.footnotes:
            self.footnotes.append(text)
        return self.footnotes.index(text) + 1


def _with_sign(number: Number) -> Number:
    if number.is_absent:
        return number
    low, high = (signed(number.low), signed(number.high)) if number.low else ("", "")
    return Number(signed(number.value), low, high, number.unit, number.bound)


def _samples(row: _Row) -> str:
    known = [one for one in row if one is not None]
    if all(one.interval is not None and one.interval.method == "exact" for one in known):
        return ""
    least, most = min(one.n for one in known), max(one.n for one in known)
    return grouped(least) if least == most else f"{grouped(least)} \N{EN DASH} {grouped(most)}"


def _first(row: _Row) -> Measurement:
    return next(one for one in row if one is not None)
