"""Curves and matrices: what is drawn on two axes."""

from auditkit.records import Curve, Heatmap, Series
from auditkit.reporting.charts.curve import CurveChart, Line, curve_chart
from auditkit.reporting.charts.heatmap import HeatmapChart, heatmap_chart
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import NO_NUMBER, Number, Scale, decimal_shortest, rounded
from auditkit.reporting.view.evidence.shapes import CellView, EvidenceView, TableView

_ROWS_OF_A_CURVE = 11


def curve_view(curve: Curve, title: str, caption: str, texts: Texts) -> EvidenceView:
    """Lines with bands; the table holds some of their points."""
    chart = CurveChart(
        lines=[_line(series, texts) for series in curve.series],
        x_axis=texts.message(curve.x_axis),
        y_axis=texts.message(curve.y_axis),
        title=title,
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


def heatmap_view(heatmap: Heatmap, title: str, caption: str, texts: Texts) -> EvidenceView:
    """A matrix and its table."""
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
