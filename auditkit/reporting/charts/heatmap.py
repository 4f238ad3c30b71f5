"""A matrix of numbers, the shade of each cell by its size, the number in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.charts.svg import drawing, element, label, shortened, text_width

_TOP = 40.0
_SHADES = 6


@dataclass(frozen=True, slots=True)
class HeatmapChart:
    """Values with their printed texts, row by row; ``None`` cells are undefined."""

    row_labels: Sequence[str]
    column_labels: Sequence[str]
    values: Sequence[Sequence[float | None]]
    texts: Sequence[Sequence[str]]
    row_axis: str
    column_axis: str
    title: str
    description: str = ""
    width: float = 440.0


def heatmap_chart(chart: HeatmapChart) -> Markup:
    """The matrix; negative cells are hatched by a second hue, undefined ones show a dash."""
    names = [*chart.row_labels, chart.row_axis]
    gutter = min(0.32 * chart.width, max(text_width(name) for name in names) + 10)
    widest = max((text_width(text) for row in chart.texts for text in row), default=0.0)
    n_columns = max(1, len(chart.column_labels))
    cell_width = min(
        (chart.width - gutter) / n_columns, max(40.0 if n_columns > 5 else 76.0, min(84.0, widest + 18))
    )
    cell_height = 24.0 if len(chart.row_labels) > 5 else 32.0
    largest = max((abs(v) for row in chart.values for v in row if v is not None), default=0.0) or 1.0
    marks = [
        label(0, _TOP - 8, shortened(chart.row_axis, gutter - 8), "t"),
        label(gutter, 11, chart.column_axis, "t"),
    ]
    for index, name in enumerate(chart.column_labels):
        x = gutter + (index + 0.5) * cell_width
        marks.append(label(x, _TOP - 8, shortened(name, cell_width - 4), "", "middle"))
    for index, name in enumerate(chart.row_labels):
        y = _TOP + index * cell_height
        marks.append(label(0, y + cell_height / 2 + 4.2, shortened(name, gutter - 8)))
        cells = [_Cell(gutter + c * cell_width, y, cell_width, cell_height) for c in range(n_columns)]
        for cell, value, text in zip(cells, chart.values[index], chart.texts[index], strict=True):
            marks += _cell(cell, value, text, largest)
    height = _TOP + cell_height * len(chart.row_labels) + 2
    width = max(gutter + cell_width * n_columns, text_width(chart.column_axis) + gutter)
    return drawing(
        marks, width=min(chart.width, width), height=height, title=chart.title, description=chart.description
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    x: float
    y: float
    width: float
    height: float


def _cell(place: _Cell, value: float | None, text: str, largest: float) -> Iterator[Markup]:
    if value is not None:
        shade = round(_SHADES * abs(value) / largest)
        class_ = f"h{shade}" if value >= 0 else f"h{shade} ng"
        width, height = place.width - 2, place.height - 2
        yield element("rect", class_=class_, x=place.x + 1, y=place.y + 1, width=width, height=height)
    centre = place.x + place.width / 2
    yield label(centre, place.y + place.height / 2 + 4.2, shortened(text, place.width), "", "middle")
