"""Charts of rows: the house chart of dots with intervals, and bars from zero."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.charts.axis import Axis, linear_axis
from auditkit.reporting.charts.svg import (
    dots,
    drawing,
    label,
    labels,
    line,
    lines,
    point,
    shortened,
    text_width,
)

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
    """Rows against one axis; ``reference`` is a dashed line with its label above.

    ``has_n`` draws the samples of each row under ``n_heading``, else the heading alone.
    """

    rows: Sequence[ChartRow]
    axis: str
    title: str
    description: str = ""
    n_heading: str = "n"
    has_n: bool = True
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

    def y(self, index: int) -> float:
        """The middle of a row."""
        return self.top + _ROW * (index + 0.5)


def dots_chart(chart: RowChart) -> Markup:
    """The house chart: a dot with its interval per row."""
    values = [number for row in chart.rows for number in (row.value, row.low, row.high) if number is not None]
    if chart.reference is not None:
        values.append(chart.reference)
    return _chart(chart, values, _dots)


def bars_chart(chart: RowChart) -> Markup:
    """Signed bars from zero, with a whisker where there is an interval."""
    values = [number for row in chart.rows for number in (row.value, row.low, row.high) if number is not None]
    return _chart(chart, [*values, 0.0], _bars)


def _chart(
    chart: RowChart, values: Sequence[float], draw: Callable[[Sequence[ChartRow], _Frame], Iterator[Markup]]
) -> Markup:
    frame = _frame(chart, values)
    marks = [*_grid(frame)]
    if chart.reference is not None:
        marks += _reference(chart.reference, chart.reference_label, frame)
    marks += draw(chart.rows, frame)
    marks += _texts(chart, frame)
    height = frame.bottom + _TICKS + 20
    return drawing(marks, width=chart.width, height=height, title=chart.title, description=chart.description)


def _texts(chart: RowChart, frame: _Frame) -> Iterator[Markup]:
    room = frame.axis.start - _EDGE - 6
    rows = [(row, frame.y(index) + 4) for index, row in enumerate(chart.rows)]
    heading = chart.n_heading if any(row.n for row in chart.rows) else ""
    sizes = [(chart.width, y, row.n) for row, y in rows] if chart.has_n else []
    for row, y in rows:
        yield label(0, y, shortened(row.label, room))
    missing = [(frame.axis.start + 4, y, row.missing) for row, y in rows if row.value is None]
    yield labels([*missing, (frame.axis.start, frame.bottom + 32, chart.axis)], "t")
    yield labels([(frame.numbers_end, y, row.text) for row, y in rows if row.value is not None], "e")
    yield labels([(chart.width, frame.top - 5, heading), *sizes], "t e")


def _frame(chart: RowChart, values: Sequence[float]) -> _Frame:
    gutter = min(0.4 * chart.width, max((text_width(row.label) for row in chart.rows), default=0) + 10)
    n_width = max((text_width(row.n) for row in chart.rows if chart.has_n), default=0.0)
    number_width = max((text_width(row.text) for row in chart.rows), default=0.0)
    numbers_end = round(chart.width - (n_width + 14 if n_width else 0))
    end = numbers_end - number_width - 12
    has_heading = any(row.n for row in chart.rows) or chart.reference is not None
    top = 18.0 if has_heading else 4.0
    axis = linear_axis(values, round(gutter + _EDGE), round(end), low=chart.low, high=chart.high)
    return _Frame(axis, top, top + _ROW * len(chart.rows) + 2, numbers_end)


def _grid(frame: _Frame) -> Iterator[Markup]:
    axis, top, bottom = frame.axis, frame.top, frame.bottom
    ticks = axis.ticks(4 if axis.end - axis.start > 150 else 3)
    yield lines([(axis(value), top, axis(value), bottom) for value, _ in ticks], "g")
    base = [(axis.start, bottom, axis.end, bottom)]
    if axis.low < 0 < axis.high:
        base.append((axis(0), top, axis(0), bottom))
    yield lines(base, "a")
    yield labels([(axis(value), bottom + 14, text) for value, text in ticks], "t m")


def _reference(value: float, text: str, frame: _Frame) -> Iterator[Markup]:
    x = frame.axis(value)
    yield line(x, frame.top - 2, x, frame.bottom, "rf")
    half = text_width(text) / 2
    centre = min(max(x, half), frame.numbers_end - half)
    yield label(centre, frame.top - 6, text, "t", "middle")


def _dots(rows: Sequence[ChartRow], frame: _Frame) -> Iterator[Markup]:
    yield lines(_intervals(rows, frame), "iv")
    places = [
        (frame.axis(row.value), frame.y(index), row.is_faint)
        for index, row in enumerate(rows)
        if row.value is not None
    ]
    yield dots([(x, y) for x, y, is_faint in places if not is_faint], "d")
    yield from (point(x, y, "ring", 4.0, "p") for x, y, is_faint in places if is_faint)


def _bars(rows: Sequence[ChartRow], frame: _Frame) -> Iterator[Markup]:
    zero = frame.axis(0.0)
    ends = [
        (frame.axis(row.value), frame.y(index), row.value)
        for index, row in enumerate(rows)
        if row.value is not None
    ]
    yield lines([(zero, y, max(x, zero + 0.7), y) for x, y, value in ends if value >= 0], "br")
    yield lines([(min(x, zero - 0.7), y, zero, y) for x, y, value in ends if value < 0], "br ng")
    yield lines(_intervals(rows, frame), "wh")


def _intervals(rows: Sequence[ChartRow], frame: _Frame) -> Iterator[tuple[float, float, float, float]]:
    for index, row in enumerate(rows):
        if row.value is not None and row.low is not None and row.high is not None:
            left, right, y = frame.axis(row.low), frame.axis(row.high), frame.y(index)
            if right > left:
                yield left, y, right, y
