"""The chart of a finding: each subject's interval against the threshold of the policy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.charts.axis import Axis, linear_axis
from auditkit.reporting.charts.svg import (
    drawing,
    element,
    label,
    labels,
    line,
    lines,
    point,
    shortened,
    text_width,
)

SHAPES = {"fail": "square", "inconclusive": "diamond", "pass": "circle", "not_shown": "ring"}

_TOP, _BOTTOM, _EDGE = 19.0, 19.0, 7.0
_MAIN_ROW, _ROW = 24.0, 18.0


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One subject: its figure and interval in the unit of the axis, and its verdict."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    is_main: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The policy in the unit of the axis; texts are what is written beside the lines."""

    at_least: float | None = None
    at_most: float | None = None
    at_least_text: str = ""
    at_most_text: str = ""

    def lines(self) -> list[tuple[float, str]]:
        """The thresholds there are."""
        pairs = [(self.at_least, self.at_least_text), (self.at_most, self.at_most_text)]
        return [(value, text) for value, text in pairs if value is not None]


def interval_chart(
    rows: Sequence[IntervalRow],
    thresholds: Thresholds,
    *,
    title: str,
    description: str,
    natural_high: float | None = None,
    width: float = 380.0,
) -> Markup:
    """Dots with intervals against thresholds; the side that breaches the policy is tinted.

    The first row is the judged subject; with further rows each is named at the left. ``natural_high`` is
    where the figure cannot exceed, such as 1 for a rate.
    """
    gutter = _gutter(rows)
    axis = _axis(rows, thresholds, gutter, width, natural_high)
    heights = [_MAIN_ROW if row.is_main else _ROW for row in rows]
    bottom = _TOP + sum(heights)
    marks = [*_zones(axis, thresholds, bottom), *_ticks(axis, bottom)]
    y = _TOP
    for row, height in zip(rows, heights, strict=True):
        marks += _row(row, axis, y + height / 2, gutter)
        y += height
    for value, text in thresholds.lines():
        marks += _threshold(axis, value, text, bottom)
    return drawing(marks, width=width, height=bottom + _BOTTOM, title=title, description=description)


def _gutter(rows: Sequence[IntervalRow]) -> float:
    if len(rows) < 2:
        return 0.0
    return min(110.0, max(text_width(row.name) for row in rows) + 10)


def _axis(
    rows: Sequence[IntervalRow],
    thresholds: Thresholds,
    gutter: float,
    width: float,
    natural_high: float | None,
) -> Axis:
    values = [number for row in rows for number in (row.value, row.low, row.high) if number is not None]
    values += [value for value, _ in thresholds.lines()]
    axis = linear_axis(values, gutter + _EDGE, width - _EDGE, pad=0.12)
    if natural_high is not None and max(values) <= natural_high < axis.high:
        return Axis(axis.low, natural_high, axis.start, axis.end)
    return axis


def _zones(axis: Axis, thresholds: Thresholds, bottom: float) -> Iterator[Markup]:
    if thresholds.at_least is not None:
        yield _zone(axis.start, axis(thresholds.at_least), bottom)
    if thresholds.at_most is not None:
        yield _zone(axis(thresholds.at_most), axis.end, bottom)


def _zone(x1: float, x2: float, bottom: float) -> Markup:
    return element("rect", class_="z", x=x1, y=_TOP, width=max(0.0, x2 - x1), height=bottom - _TOP)


def _ticks(axis: Axis, bottom: float) -> Iterator[Markup]:
    ticks = axis.ticks(4)
    steps = [(axis(value), bottom, axis(value), bottom + 3) for value, _ in ticks]
    yield lines([(axis.start, bottom, axis.end, bottom), *steps], "a")
    yield labels([(axis(value), bottom + 14, text) for value, text in ticks], "t m")


def _threshold(axis: Axis, value: float, text: str, bottom: float) -> Iterator[Markup]:
    x = axis(value)
    yield line(x, _TOP - 4, x, bottom, "th")
    half = text_width(text) / 2
    centre = min(max(x, half), axis.end + _EDGE - half)
    yield label(centre, _TOP - 8, text, "", "middle")


def _row(row: IntervalRow, axis: Axis, y: float, gutter: float) -> Iterator[Markup]:
    verdict = f"v-{row.verdict.replace('_', '-')}"
    if gutter:
        name = shortened(row.name, gutter - 8)
        yield label(0, y + 4.5, name, "b" if row.is_main else "")
    if row.value is None:
        yield label(axis.start + 6, y + 4.5, "—", "t")
        return
    if row.low is not None and row.high is not None and axis(row.high) > axis(row.low):
        yield line(axis(row.low), y, axis(row.high), y, f"iv {verdict}")
    radius = 4.6 if row.is_main else 3.6
    yield point(axis(row.value), y, SHAPES[row.verdict], radius, f"p {verdict}")
