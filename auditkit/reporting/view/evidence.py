"""Evidence for reading: each kind becomes a chart and the table behind it."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import (
    Bars,
    Cell,
    Curve,
    Dots,
    Estimate,
    Evidence,
    Heatmap,
    Mark,
    Message,
    Panel,
    Picture,
    Series,
    Table,
    Tokens,
)
from auditkit.reporting.charts.curve import CurveChart, Line, curve_chart
from auditkit.reporting.charts.heatmap import HeatmapChart, heatmap_chart
from auditkit.reporting.charts.picture import picture_data_uri
from auditkit.reporting.charts.rows import ChartRow, RowChart, bars_chart, dots_chart
from auditkit.reporting.labels import METRICS
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import (
    NO_NUMBER,
    Number,
    Scale,
    Style,
    decimal_shortest,
    rounded,
    scale_for,
)

_ROWS_OF_A_CURVE = 21
_STEPS_OF_WEIGHT = 5
_STRONGEST = 3


@dataclass(frozen=True, slots=True)
class CellView:
    """A table cell: a number with its interval, or text."""

    text: str = ""
    number: Number | None = None


@dataclass(frozen=True, slots=True)
class TableView:
    """A small table; ``note`` says what was left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[CellView, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class PanelView:
    """One picture as data, with its shape."""

    label: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class TokenView:
    """A piece of text and the class of its weight: ``p1`` to ``p5`` for, ``n1`` to ``n5`` against."""

    text: str
    class_: str


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """One piece of evidence; which fields are filled depends on ``kind``."""

    kind: str
    title: str
    caption: str
    chart: Markup | None = None
    table: TableView | None = None
    panels: tuple[PanelView, ...] = ()
    tokens: tuple[TokenView, ...] = ()
    scale: str = ""
    body: str = ""


def evidence_view(evidence: Evidence, texts: Texts) -> EvidenceView:
    """One piece of evidence for reading."""
    title, caption = texts.message(evidence.title), texts.message(evidence.caption)
    if isinstance(evidence, Table):
        return EvidenceView("table", title, caption, table=_table(evidence, texts))
    if isinstance(evidence, Dots | Bars):
        return _rows_view(evidence, title, caption, texts)
    if isinstance(evidence, Curve):
        return _curve_view(evidence, title, caption, texts)
    if isinstance(evidence, Heatmap):
        return _heatmap_view(evidence, title, caption, texts)
    if isinstance(evidence, Picture):
        return _picture_view(evidence, title, caption, texts)
    if isinstance(evidence, Tokens):
        return _tokens_view(evidence, title, caption, texts)
    return EvidenceView("note", title, caption, body=texts.message(evidence.body))


# --- dots and bars ---------------------------------------------------------------------------------


def _rows_view(evidence: Dots | Bars, title: str, caption: str, texts: Texts) -> EvidenceView:
    estimates = [mark.estimate for mark in evidence.marks]
    scale = _scale(estimates, _style_of_axis(evidence.axis), texts)
    axis = texts.message(evidence.axis)
    numbers = [_number(estimate, scale) for estimate in estimates]
    rows = [
        _chart_row(mark, number, scale, texts) for mark, number in zip(evidence.marks, numbers, strict=True)
    ]
    dots = evidence if isinstance(evidence, Dots) else None
    chart = RowChart(
        rows=rows,
        axis=f"{axis}, {scale.symbol}" if scale.symbol else axis,
        title=title,
        description=caption,
        reference=_scaled(dots.reference, scale) if dots else None,
        reference_label=texts.message(dots.reference_label) if dots else "",
        low=_scaled(dots.low, scale) if dots else None,
        high=_scaled(dots.high, scale) if dots else None,
    )
    drawn = dots_chart(chart) if dots else bars_chart(chart)
    table = _marks_table(evidence.marks, numbers, axis, texts)
    return EvidenceView(evidence.kind, title, caption, chart=drawn, table=table)


def _chart_row(mark: Mark, number: Number, scale: Scale, texts: Texts) -> ChartRow:
    estimate = mark.estimate
    return ChartRow(
        label=mark.label,
        value=_scaled(estimate.value, scale),
        low=_scaled(estimate.low, scale),
        high=_scaled(estimate.high, scale),
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
            CellView(mark.label),
            CellView(missing) if number.is_absent and missing else CellView(number=number),
        ]
        if has_n:
            cells.append(CellView("" if mark.estimate.n is None else grouped(mark.estimate.n)))
        rows.append(tuple(cells))
    columns = ("", axis, "n") if has_n else ("", axis)
    return TableView(columns, tuple(rows), (False, True, True)[: len(columns)])


def _style_of_axis(axis: Message) -> Style:
    """Axes that are called like a known rate are written in percent, as its figures are."""
    return next((style for name, style in METRICS.values() if name == axis.text), Style.PLAIN)


# --- tables ----------------------------------------------------------------------------------------


def _table(table: Table, texts: Texts) -> TableView:
    scales = [
        _scale(_estimates_of(table, column), Style.PLAIN, texts) for column in range(len(table.columns))
    ]
    rows = tuple(
        tuple(_cell(cell, scales[min(index, len(scales) - 1)], texts) for index, cell in enumerate(row))
        for row in table.rows
    )
    numeric = tuple(_is_numeric(table, column) for column in range(len(table.columns)))
    return TableView(tuple(texts.message(column) for column in table.columns), rows, numeric)


def _estimates_of(table: Table, column: int) -> list[Estimate]:
    cells = [row[column] for row in table.rows if column < len(row)]
    return [cell for cell in cells if isinstance(cell, Estimate)]


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows if column < len(row) and row[column] is not None]
    return bool(cells) and all(isinstance(cell, Estimate | int | float) for cell in cells)


def _cell(cell: Cell, scale: Scale, texts: Texts) -> CellView:
    if cell is None:
        return CellView(number=NO_NUMBER)
    if isinstance(cell, Message):
        return CellView(texts.message(cell))
    if isinstance(cell, str):
        return CellView(cell)
    if isinstance(cell, Estimate):
        missing = texts.message(cell.missing)
        if cell.value is None and missing:
            return CellView(missing)
        return CellView(number=_number(cell, scale))
    return CellView(number=Number(grouped(cell) if isinstance(cell, int) else decimal_shortest(cell, 4)))


# --- curves and matrices ---------------------------------------------------------------------------


def _curve_view(curve: Curve, title: str, caption: str, texts: Texts) -> EvidenceView:
    chart = CurveChart(
        lines=[_line(series, texts) for series in curve.series],
        x_axis=texts.message(curve.x_axis),
        y_axis=texts.message(curve.y_axis),
        title=title,
        description=caption,
        diagonal=curve.diagonal,
        x_log=curve.x_log,
        y_log=curve.y_log,
    )
    return EvidenceView("curve", title, caption, chart=curve_chart(chart), table=_curve_table(curve, texts))


def _line(series: Series, texts: Texts) -> Line:
    return Line(texts.message(series.name), series.x, series.y, series.low, series.high)


def _curve_table(curve: Curve, texts: Texts) -> TableView:
    rows: list[tuple[CellView, ...]] = []
    is_cut = False
    has_names = len(curve.series) > 1
    for series in curve.series:
        steps = _spread(len(series.x))
        is_cut |= len(steps) < len(series.x)
        for i in steps:
            low, high = (series.low[i], series.high[i]) if series.low and series.high else (None, None)
            number = rounded(series.y[i], low, high, Scale())
            cells = (CellView(number=Number(decimal_shortest(series.x[i], 4))), CellView(number=number))
            rows.append((CellView(texts.message(series.name)), *cells) if has_names else cells)
    axes = (texts.message(curve.x_axis), texts.message(curve.y_axis))
    columns = ("", *axes) if has_names else axes
    numeric = (False, True, True) if has_names else (True, True)
    note = texts.text("Some points; all of them are in run.json.") if is_cut else ""
    return TableView(columns, tuple(rows), numeric, note)


def _spread(n: int) -> list[int]:
    """Indices evenly over a curve, both ends included."""
    if n <= _ROWS_OF_A_CURVE:
        return list(range(n))
    return sorted({round(step * (n - 1) / (_ROWS_OF_A_CURVE - 1)) for step in range(_ROWS_OF_A_CURVE)})


def _heatmap_view(heatmap: Heatmap, title: str, caption: str, texts: Texts) -> EvidenceView:
    printed = [[_heat_text(value) for value in row] for row in heatmap.values]
    row_axis, column_axis = texts.message(heatmap.row_axis), texts.message(heatmap.column_axis)
    chart = HeatmapChart(
        row_labels=heatmap.row_labels,
        column_labels=heatmap.column_labels,
        values=heatmap.values,
        texts=printed,
        row_axis=row_axis,
        column_axis=column_axis,
        title=title,
        description=caption,
    )
    rows = tuple(
        (CellView(name), *(CellView(number=Number(text)) for text in row))
        for name, row in zip(heatmap.row_labels, printed, strict=True)
    )
    columns = (f"{row_axis} ↓ {column_axis} →", *heatmap.column_labels)
    table = TableView(columns, rows, (False, *(True for _ in heatmap.column_labels)))
    return EvidenceView("heatmap", title, caption, chart=heatmap_chart(chart), table=table)


def _heat_text(value: float | None) -> str:
    if value is None:
        return NO_NUMBER.value
    return grouped(round(value)) if value == round(value) else decimal_shortest(value, 3)


# --- pictures and text -----------------------------------------------------------------------------


def _picture_view(picture: Picture, title: str, caption: str, texts: Texts) -> EvidenceView:
    panels = tuple(
        PanelView(
            label=texts.message(panel.label),
            uri=picture_data_uri(panel.pixels, panel.overlay),
            width=len(panel.pixels[0]) if panel.pixels else 0,
            height=len(panel.pixels),
        )
        for panel in picture.panels
    )
    has_overlay = any(panel.overlay for panel in picture.panels)
    return EvidenceView(
        "picture",
        title,
        caption,
        panels=panels,
        scale=texts.message(picture.scale),
        table=_picture_table(picture.panels, texts) if has_overlay else None,
    )


def _picture_table(panels: Sequence[Panel], texts: Texts) -> TableView:
    rows = tuple(
        (
            CellView(texts.message(panel.label)),
            CellView(_strongest(panel, 1, texts)),
            CellView(_strongest(panel, -1, texts)),
        )
        for panel in panels
        if panel.overlay
    )
    columns = (
        texts.text("picture"),
        texts.text("strongest for (row, column: weight)"),
        texts.text("strongest against (row, column: weight)"),
    )
    return TableView(columns, rows, (False, False, False))


def _strongest(panel: Panel, sign: int, texts: Texts) -> str:
    weights = [
        (weight, y + 1, x + 1)
        for y, row in enumerate(panel.overlay)
        for x, weight in enumerate(row)
        if weight * sign > 0
    ]
    weights.sort(key=lambda one: (-abs(one[0]), one[1], one[2]))
    places = [f"{y}, {x}: {decimal_shortest(round(weight, 2))}" for weight, y, x in weights[:_STRONGEST]]
    return texts.series_of(places) or NO_NUMBER.value


def _tokens_view(tokens: Tokens, title: str, caption: str, texts: Texts) -> EvidenceView:
    views = tuple(TokenView(token.text, _weight_class(token.weight)) for token in tokens.tokens)
    rows = tuple(
        (CellView(token.text), CellView(number=Number(decimal_shortest(round(token.weight, 3)))))
        for token in tokens.tokens
    )
    table = TableView((texts.text("text"), texts.text("weight")), rows, (False, True))
    return EvidenceView(
        "tokens", title, caption, tokens=views, scale=texts.message(tokens.scale), table=table
    )


def _weight_class(weight: float) -> str:
    step = min(_STEPS_OF_WEIGHT, round(abs(weight) * _STEPS_OF_WEIGHT))
    if step == 0:
        return ""
    return f"p{step}" if weight > 0 else f"n{step}"


# --- numbers ---------------------------------------------------------------------------------------


def _scale(estimates: Sequence[Estimate], style: Style, texts: Texts) -> Scale:
    if not estimates:
        return Scale()
    scale = scale_for(estimates[0].unit, style, [estimate.value for estimate in estimates])
    return Scale(scale.factor, texts.text(scale.symbol))


def _number(estimate: Estimate, scale: Scale) -> Number:
    if estimate.value is None:
        return NO_NUMBER
    return rounded(estimate.value, estimate.low, estimate.high, scale)


def _scaled(value: float | None, scale: Scale) -> float | None:
    return None if value is None else value * scale.factor
