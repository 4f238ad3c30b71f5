"""Charts of rows: the house chart of dots with intervals, and bars from zero."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.charts.axis import Axis, linear_axis
from auditkit.reporting.charts.svg import drawing, element, label, line, point, shortened, text_width

_EDGE, _ROW, _TICKS = 6.0, 20.0, 18.0


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One row: its label, its numbers in the unit of the axis, and how they are written.

    ``missing`` stands in the place of the mark where there is no value.
    ``is_faint`` marks a row that rests on few samples; it is drawn hollow.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    text: str = ""
    missing: str = ""
    n: str = ""
    is_faint: bool = False


@dataclass(frozen=True, slots=True)
class RowChart:
    """Rows against one axis; ``reference`` is a dashed line with its label above."""

    rows: Sequence[ChartRow]
    axis: str
    title: str
    description: str = ""
    n_heading: str = "n"
    reference: float | None = None
    reference_label: str = ""
    low: float | None = None
    high: float | None = None
    width: float = 440.0


@dataclass(frozen=True, slots=True)
class _Frame:
    axis: Axis
    top: float
    bottom: float
    numbers_end: float


def dots_chart(chart: RowChart) -> Markup:
    """The house chart: a dot with its interval per row."""
    values = [number for row in chart.rows for number in (row.value, row.low, row.high) if number is not None]
    if chart.reference is not None:
        values.append(chart.reference)
    return _chart(chart, values, _dot)


def bars_chart(chart: RowChart) -> Markup:
    """Signed bars from zero, with a whisker where there is an interval."""
    values = [number for row in chart.rows for number in (row.value, row.low, row.high) if number is not None]
    return _chart(chart, [*values, 0.0], _bar)


def _chart(
    chart: RowChart, values: Sequence[float], mark: Callable[[ChartRow, float, Axis, float], Iterator[Markup]]
) -> Markup:
    frame = _frame(chart, values)
    marks = [*_grid(frame)]
    if chart.reference is not None:
        marks += _reference(chart.reference, chart.reference_label, frame)
    if any(row.n for row in chart.rows):
        marks.append(label(chart.width, frame.top - 5, chart.n_heading, "t", "end"))
    for index, row in enumerate(chart.rows):
        y = frame.top + _ROW * (index + 0.5)
        marks.append(label(0, y + 4.2, shortened(row.label, frame.axis.start - _EDGE - 6)))
        if row.value is None:
            marks.append(label(frame.axis.start + 4, y + 4.2, row.missing, "t"))
        else:
            marks += mark(row, row.value, frame.axis, y)
            marks.append(label(frame.numbers_end, y + 4.2, row.text, "l e"))
        if row.n:
            marks.append(label(chart.width, y + 4.2, row.n, "t", "end"))
    marks.append(label(frame.axis.start, frame.bottom + 32, chart.axis, "t"))
    height = frame.bottom + _TICKS + 20
    return drawing(marks, width=chart.width, height=height, title=chart.title, description=chart.description)


def _frame(chart: RowChart, values: Sequence[float]) -> _Frame:
    gutter = min(0.4 * chart.width, max((text_width(row.label) for row in chart.rows), default=0) + 10)
    n_width = max((text_width(row.n) for row in chart.rows), default=0.0)
    number_width = max((text_width(row.text) for row in chart.rows), default=0.0)
    numbers_end = chart.width - (n_width + 14 if n_width else 0)
    end = numbers_end - number_width - 12
    has_heading = bool(n_width) or chart.reference is not None
    top = 18.0 if has_heading else 4.0
    axis = linear_axis(values, gutter + _EDGE, end, low=chart.low, high=chart.high)
    return _Frame(axis, top, top + _ROW * len(chart.rows) + 2, numbers_end)


def _grid(frame: _Frame) -> Iterator[Markup]:
    yield line(frame.axis.start, frame.bottom, frame.axis.end, frame.bottom, "a")
    for value, text in frame.axis.ticks(4 if frame.axis.end - frame.axis.start > 150 else 3):
        x = frame.axis(value)
        yield line(x, frame.top, x, frame.bottom, "g")
        yield label(x, frame.bottom + 14, text, "t", "middle")
    if frame.axis.low < 0 < frame.axis.high:
        yield line(frame.axis(0), frame.top, frame.axis(0), frame.bottom, "a")


def _reference(value: float, text: str, frame: _Frame) -> Iterator[Markup]:
    x = frame.axis(value)
    yield line(x, frame.top - 2, x, frame.bottom, "rf")
    half = text_width(text) / 2
    centre = min(max(x, half), frame.numbers_end - half)
    yield label(centre, frame.top - 6, text, "t", "middle")


def _dot(row: ChartRow, value: float, axis: Axis, y: float) -> Iterator[Markup]:
    if row.low is not None and row.high is not None and axis(row.high) > axis(row.low):
        yield line(axis(row.low), y, axis(row.high), y, "iv")
    yield point(axis(value), y, "ring" if row.is_faint else "circle", 4.0, "p")


def _bar(row: ChartRow, value: float, axis: Axis, y: float) -> Iterator[Markup]:
    x1, x2 = sorted((axis(0.0), axis(value)))
    class_ = "br" if value >= 0 else "br ng"
    yield element("rect", class_=class_, x=x1, y=y - 5, width=max(x2 - x1, 0.7), height=10)
    if row.low is not None and row.high is not None and axis(row.high) > axis(row.low):
        yield line(axis(row.low), y, axis(row.high), y, "wh")
