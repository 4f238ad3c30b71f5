"""Dots and bars: a chart of rows and its table."""

from collections.abc import Sequence
from dataclasses import replace

from auditkit.records import Bars, Dots, Estimate, Mark, Message
from auditkit.reporting.charts.rows import ChartRow, RowChart, bars_chart, dots_chart
from auditkit.reporting.labels import METRICS, readable
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import NO_NUMBER, Number, Scale, Style, decimal, decimals_of, three_digits
from auditkit.reporting.view.evidence.estimates import estimate_number, estimates_scale, scaled, with_unit
from auditkit.reporting.view.evidence.shapes import CellView, EvidenceView, TableView

_SPOKEN = 3


def rows_view(evidence: Dots | Bars, title: str, caption: str, texts: Texts) -> EvidenceView:
    """The chart of one dot or bar per row."""
    estimates = [mark.estimate for mark in evidence.marks]
    scale = estimates_scale(estimates, _style_of_axis(evidence.axis), texts)
    unit = estimates[0].unit if estimates else "1"
    axis = with_unit(texts.message(evidence.axis), unit, scale)
    numbers = [estimate_number(estimate, scale) for estimate in estimates]
    drawn_numbers = _evenly(numbers, estimates, scale) if isinstance(evidence, Bars) else numbers
    rows = [
        _chart_row(mark, number, scale, texts)
        for mark, number in zip(evidence.marks, drawn_numbers, strict=True)
    ]
    common_n = _common_n(evidence.marks)
    dots = evidence if isinstance(evidence, Dots) else None
    chart = RowChart(
        rows=rows,
        axis=axis,
        title=title,
        description=_spoken(rows) if isinstance(evidence, Bars) else "",
        n_heading="n" if common_n is None else f"n = {grouped(common_n)}",
        has_n=common_n is None,
        reference=scaled(dots.reference, scale) if dots else None,
        reference_label=texts.message(dots.reference_label) if dots else "",
        low=scaled(dots.low, scale) if dots else None,
        high=scaled(dots.high, scale) if dots else None,
    )
    drawn = dots_chart(chart) if dots else bars_chart(chart)
    table = _marks_table(evidence.marks, numbers, axis, texts)
    return EvidenceView(evidence.kind, title, caption, chart=drawn, table=table)


def _spoken(rows: Sequence[ChartRow]) -> str:
    """The first rows in words, for those who hear the chart; all are in its table."""
    return "; ".join(f"{row.label} {row.text or row.missing}" for row in rows[:_SPOKEN])


def _evenly(numbers: Sequence[Number], estimates: Sequence[Estimate], scale: Scale) -> list[Number]:
    """Numbers beside bars, none with more decimals than the longest bar has at three significant digits.

    More say nothing that the eye could see, and make the least bar look the most precise one.
    """
    known = [abs(one.value * scale.factor) for one in estimates if one.value is not None]
    most = three_digits(max(known, default=0.0))
    return [
        replace(number, value=decimal(estimate.value * scale.factor, most))
        if estimate.value is not None and decimals_of(number.value) > most
        else number
        for number, estimate in zip(numbers, estimates, strict=True)
    ]


def _label(mark: Mark, texts: Texts) -> str:
    return readable(texts, mark.label) if isinstance(mark.label, str) else texts.message(mark.label)


def _chart_row(mark: Mark, number: Number, scale: Scale, texts: Texts) -> ChartRow:
    estimate = mark.estimate
    return ChartRow(
        label=_label(mark, texts),
        value=scaled(estimate.value, scale),
        low=scaled(estimate.low, scale),
        high=scaled(estimate.high, scale),
        text="" if estimate.value is None else number.value,
        missing=(texts.message(estimate.missing) or NO_NUMBER.value) if estimate.value is None else "",
        n="" if estimate.n is None else grouped(estimate.n),
        is_faint=mark.small,
    )


def _marks_table(marks: Sequence[Mark], numbers: Sequence[Number], axis: str, texts: Texts) -> TableView:
    has_n = any(mark.estimate.n is not None for mark in marks)
    rows = []
    for mark, number in zip(marks, numbers, strict=True):
        missing = texts.message(mark.estimate.missing)
        cells = [
            CellView(_label(mark, texts)),
            CellView(missing) if number.is_absent and missing else CellView(number=replace(number, unit="")),
        ]
        if has_n:
            cells.append(CellView("" if mark.estimate.n is None else grouped(mark.estimate.n)))
        rows.append(tuple(cells))
    columns = ("", axis, "n") if has_n else ("", axis)
    return TableView(columns, tuple(rows), (False, True, True)[: len(columns)])


def _common_n(marks: Sequence[Mark]) -> int | None:
    """The number of samples where all marks rest on the same; it is then said once."""
    sizes = {mark.estimate.n for mark in marks}
    return sizes.pop() if len(marks) > 1 and len(sizes) == 1 else None


def _style_of_axis(axis: Message) -> Style:
    """Axes that begin with the name of a known rate are written in percent, as its figures are."""
    name = axis.text.partition(":")[0].replace("-", " ").strip().lower()
    return next((style for known, style in METRICS.values() if known == name), Style.PLAIN)
