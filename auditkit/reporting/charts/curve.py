"""Lines over a numeric axis, with bands, each named at its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.charts.axis import Axis, linear_axis, log_axis
from auditkit.reporting.charts.svg import (
    dots,
    drawing,
    element,
    label,
    labels,
    lines,
    short,
    shortened,
    text_width,
)

_DOTS_AT_MOST = 25
_NAMES_AT_MOST = 200.0
"""Room for the names of lines; the plane keeps as much."""

_TOP, _LEFT, _BOTTOM = 22.0, 44.0, 40.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its band, in the order of x."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class CurveChart:
    """Lines against two axes; ``diagonal`` draws y = x."""

    lines: Sequence[Line]
    x_axis: str
    y_axis: str
    title: str
    description: str = ""
    diagonal: bool = False
    x_log: bool = False
    y_log: bool = False
    width: float = 440.0
    height: float = 270.0


def curve_chart(chart: CurveChart) -> Markup:
    """Lines with bands; dashes tell lines apart where colour does not."""
    names = max((text_width(one.name) for one in chart.lines), default=0.0)
    room = min(_NAMES_AT_MOST, names + 10) if len(chart.lines) > 1 else 12.0
    x = _axis([v for one in chart.lines for v in one.x], _LEFT, chart.width - room, chart.x_log)
    tall = [v for one in chart.lines for v in (*one.y, *one.low, *one.high)]
    y = _axis(tall, chart.height - _BOTTOM, _TOP, chart.y_log)
    marks = [*_grid(chart, x, y)]
    if chart.diagonal:
        marks.append(_diagonal(x, y))
    marks += [_band(one, x, y) for one in chart.lines if one.low and one.high]
    marks += [_path(one, x, y, index) for index, one in enumerate(chart.lines)]
    marks += [
        dots([(x(a), y(b)) for a, b in zip(one.x, one.y, strict=True)], f"ds s{index % 4}")
        for index, one in enumerate(chart.lines)
        if len(one.x) <= _DOTS_AT_MOST
    ]
    if len(chart.lines) > 1:
        marks += _names(chart, x, y, room)
    return drawing(
        marks, width=chart.width, height=chart.height, title=chart.title, description=chart.description
    )


def _axis(values: Sequence[float], start: float, end: float, is_log: bool) -> Axis:
    if is_log:
        return log_axis(values, start, end)
    is_share = bool(values) and min(values) >= 0 and 0.5 < max(values) <= 1
    low, high = (0.0, 1.0) if is_share else (None, None)
    return linear_axis(values, start, end, low=low, high=high, pad=0.04)


def _grid(chart: CurveChart, x: Axis, y: Axis) -> Iterator[Markup]:
    rows, columns = y.ticks(4), x.ticks(4)
    yield lines([(x.start, y(value), x.end, y(value)) for value, _ in rows], "g")
    steps = [(x(value), y.start, x(value), y.start + 3) for value, _ in columns]
    yield lines([(x.start, y.start, x.end, y.start), *steps], "a")
    axis_names = [(x.start - 6, y(value) + 4, text) for value, text in rows]
    yield labels([*axis_names, (x.end, y.start + 34, chart.x_axis)], "t e")
    yield labels([(x(value), y.start + 17, text) for value, text in columns], "t m")
    yield label(0, 11, chart.y_axis, "t")


def _diagonal(x: Axis, y: Axis) -> Markup:
    low, high = max(x.low, y.low), min(x.high, y.high)
    n = 24 if x.is_log != y.is_log else 1
    steps = [low + (high - low) * (i / n) ** (3 if n > 1 else 1) for i in range(n + 1)]
    return element("path", class_="rf", d=_polyline([(x(v), y(v)) for v in steps]))


def _path(one: Line, x: Axis, y: Axis, index: int) -> Markup:
    points = [(x(a), y(b)) for a, b in zip(one.x, one.y, strict=True)]
    return element("path", class_=f"ln s{index % 4}", d=_polyline(points))


def _band(one: Line, x: Axis, y: Axis) -> Markup:
    upper = [(x(a), y(b)) for a, b in zip(one.x, one.high, strict=True)]
    lower = [(x(a), y(b)) for a, b in zip(one.x, one.low, strict=True)]
    return element("path", class_="bd", d=_polyline([*upper, *reversed(lower)]) + "z")


def _names(chart: CurveChart, x: Axis, y: Axis, room: float) -> Iterator[Markup]:
    ends = sorted((y(one.y[-1]), index, one.name) for index, one in enumerate(chart.lines) if one.y)
    places: list[float] = []
    for place, _, _ in ends:
        places.append(max(place, places[-1] + 14) if places else place)
    overflow = max(0.0, places[-1] - (y.start - 2)) if places else 0.0
    for (_, index, name), place in zip(ends, places, strict=True):
        yield label(x.end + 6, place - overflow + 4.2, shortened(name, room - 8), f"s{index % 4}")


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    """Straight pieces; points within half a pixel of the last one are left out, the last one never is."""
    kept = list(points[:1])
    for number, (x, y) in enumerate(points[1:], start=2):
        near = abs(x - kept[-1][0]) < 0.5 and abs(y - kept[-1][1]) < 0.5
        if not near or number == len(points):
            kept.append((x, y))
    return "M" + "L".join(f"{short(x)} {short(y)}" for x, y in kept)
