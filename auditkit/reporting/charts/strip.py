"""A small chart for a table cell: one dot with its interval, the baseline as a dashed line."""

from markupsafe import Markup

from auditkit.reporting.charts.axis import Axis, linear_axis
from auditkit.reporting.charts.svg import drawing, line, point

WIDTH, HEIGHT = 104.0, 14.0


def strip_axis(values: list[float]) -> Axis:
    """One axis for all cells of a column."""
    return linear_axis(values, 4.0, WIDTH - 4.0, pad=0.1)


def strip(
    axis: Axis,
    value: float,
    low: float | None,
    high: float | None,
    *,
    reference: float | None = None,
    threshold: float | None = None,
    shape: str = "circle",
    class_: str = "",
) -> Markup:
    """The cell's chart; decoration beside the printed number, so hidden from screen readers."""
    y = HEIGHT / 2
    marks = [line(axis.start, y, axis.end, y, "g")]
    if threshold is not None and axis.low <= threshold <= axis.high:
        marks.append(line(axis(threshold), 0, axis(threshold), HEIGHT, "th"))
    if reference is not None:
        marks.append(line(axis(reference), 1, axis(reference), HEIGHT - 1, "rf"))
    if low is not None and high is not None and axis(high) > axis(low):
        marks.append(line(axis(low), y, axis(high), y, f"iv {class_}".strip()))
    marks.append(point(axis(value), y, shape, 3.4, f"p {class_}".strip()))
    return drawing(marks, width=WIDTH, height=HEIGHT, title="", class_="st")


def pair_strip(axis: Axis, first: tuple[float, float, float], second: tuple[float, float, float]) -> Markup:
    """Two intervals above each other, each as (value, low, high); the first is drawn hollow."""
    marks = [line(axis.start, HEIGHT, axis.end, HEIGHT, "g")]
    for (value, low, high), y, shape in ((first, HEIGHT - 6, "ring"), (second, HEIGHT + 6, "circle")):
        if axis(high) > axis(low):
            marks.append(line(axis(low), y, axis(high), y, "iv"))
        marks.append(point(axis(value), y, shape, 3.4, "p"))
    return drawing(marks, width=WIDTH, height=2 * HEIGHT, title="", class_="st")
