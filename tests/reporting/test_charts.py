"""Charts: marks where the data say, labels inert, pictures that decode."""

import base64
import re
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.reporting.charts.axis import Axis, linear_axis, log_axis
from auditkit.reporting.charts.curve import CurveChart, Line, curve_chart
from auditkit.reporting.charts.heatmap import HeatmapChart, heatmap_chart
from auditkit.reporting.charts.interval import IntervalRow, Thresholds, interval_chart
from auditkit.reporting.charts.picture import enlargement, picture_data_uri
from auditkit.reporting.charts.rows import ChartRow, RowChart, bars_chart, dots_chart
from auditkit.reporting.charts.svg import label, shortened, text_width

values = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-6)


def numbers(pattern: str, svg: str) -> list[float]:
    return [float(x) for x in re.findall(pattern, svg)]


def test_ends_of_an_axis_are_where_they_belong():
    axis = Axis(0.0, 2.0, 10.0, 110.0)
    assert [axis(0), axis(1), axis(2)] == [10, 60, 110]
    assert [axis(-5), axis(7)] == [10, 110]


def test_log_axis_gives_each_decade_the_same_room():
    axis = log_axis([1e-3, 1.0], 0, 300)
    assert axis(1e-2) - axis(1e-3) == pytest.approx(axis(1.0) - axis(1e-1))
    assert [text for _, text in axis.ticks()] == ["10⁻³", "10⁻²", "10⁻¹", "1"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(values, min_size=1, max_size=6))
def test_axis_holds_every_value_and_has_ticks(points):
    axis = linear_axis(points, 0, 100)
    assert all(axis.low <= point <= axis.high for point in points)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 11
    assert all(
        axis.low - 1e-6 * abs(axis.low) <= value <= axis.high + 1e-6 * abs(axis.high) for value, _ in ticks
    )
    assert len({text for _, text in ticks}) == len(ticks)


def test_ticks_of_quarters_have_no_needless_decimals():
    assert [text for _, text in Axis(0, 100, 0, 1).ticks(4)] == ["0", "25", "50", "75", "100"]
    assert [text for _, text in Axis(0, 1, 0, 1).ticks(4)] == ["0.00", "0.25", "0.50", "0.75", "1.00"]


def chart_of(value, low, high, verdict, **thresholds):
    rows = [IntervalRow("baseline", value, low, high, verdict, is_main=True)]
    return interval_chart(rows, Thresholds(**thresholds), title="t", description="d")


def test_failing_interval_lies_wholly_in_the_tinted_zone():
    svg = chart_of(0.4, 0.35, 0.45, "fail", at_least=0.8, at_least_text="at least 0.8")
    x, width = (
        float(v) for v in re.search(r'<rect class="z" x="([\d.]+)" y="19" width="([\d.]+)"', svg).groups()
    )
    start, end = (
        float(v) for v in re.search(r'class="iv v-fail" d="M([\d.]+) [\d.]+H([\d.]+)"', svg).groups()
    )
    assert x <= start < end <= x + width


def test_passing_interval_lies_outside_the_tinted_zone():
    svg = chart_of(0.9, 0.85, 0.95, "pass", at_least=0.8, at_least_text="at least 0.8")
    x, width = (
        float(v) for v in re.search(r'<rect class="z" x="([\d.]+)" y="19" width="([\d.]+)"', svg).groups()
    )
    start = float(re.search(r'class="iv v-pass" d="M([\d.]+)', svg).group(1))
    assert start >= x + width


def test_two_thresholds_tint_both_sides():
    svg = chart_of(0.5, 0.4, 0.6, "pass", at_least=0.3, at_most=0.8, at_least_text="a", at_most_text="b")
    assert svg.count('class="z"') == 2


def test_each_verdict_has_a_shape_of_its_own():
    shapes = {
        verdict: re.search(r'<(\w+) class="p ', chart_of(0.5, 0.4, 0.6, verdict, at_most=0.7)).group(1)
        for verdict in ("fail", "inconclusive", "pass")
    }
    assert len(set(shapes.values())) == 3


def test_dots_are_in_the_order_of_their_values():
    rows = [
        ChartRow(str(i), v, v - 0.05, v + 0.05, text=f"{v}", n="9") for i, v in enumerate((0.2, 0.8, 0.5))
    ]
    svg = dots_chart(RowChart(rows, axis="rate", title="t", low=0.0, high=1.0))
    places = numbers(r"M([\d.]+) [\d.]+h0", svg)
    assert places[0] < places[2] < places[1]
    assert (places[2] - places[0]) / (places[1] - places[0]) == pytest.approx(0.5, abs=0.01)


def test_missing_row_is_named_not_drawn_at_zero():
    rows = [ChartRow("a", 0.5, text="0.5"), ChartRow("b", None, missing="only 3 rows")]
    svg = dots_chart(RowChart(rows, axis="rate", title="t"))
    assert svg.count("h0") == 1
    assert "only 3 rows" in svg


def test_few_samples_are_drawn_hollow():
    rows = [ChartRow("a", 0.5, text="0.5", is_faint=True)]
    assert 'class="p o"' in dots_chart(RowChart(rows, axis="rate", title="t"))


def test_bars_leave_zero_to_both_sides():
    rows = [ChartRow("a", 2.0, text="2"), ChartRow("b", -1.0, text="−1")]
    svg = bars_chart(RowChart(rows, axis="x", title="t"))
    start, end = (float(v) for v in re.search(r'class="br" d="M([\d.]+) [\d.]+H([\d.]+)"', svg).groups())
    left, right = (float(v) for v in re.search(r'class="br ng" d="M([\d.]+) [\d.]+H([\d.]+)"', svg).groups())
    assert right == pytest.approx(start)
    assert (end - start) / (right - left) == pytest.approx(2, abs=0.05)


def test_curve_keeps_its_ends_and_drops_points_that_cannot_be_seen():
    n = 5000
    line = Line("a", [i / n for i in range(n + 1)], [i / n for i in range(n + 1)])
    svg = curve_chart(CurveChart([line], "x", "y", title="t"))
    path = re.search(r'class="ln s0" d="(M[^"]+)"', svg).group(1)
    assert path.count("L") < 1000
    assert path.startswith("M44 230")
    assert path.endswith("428 22")


def test_log_curve_with_zeros_stays_on_the_plane():
    line = Line("a", [0.0, 1e-3, 1.0], [0.0, 0.1, 1.0])
    svg = curve_chart(CurveChart([line], "x", "y", title="t", x_log=True, y_log=True, diagonal=True))
    assert "nan" not in svg
    assert "inf" not in svg


def test_undefined_cell_of_a_matrix_has_no_shade():
    chart = HeatmapChart(["a"], ["b", "c"], [[None, 3.0]], [["—", "3"]], "rows", "columns", title="t")
    svg = heatmap_chart(chart)
    assert svg.count("<rect") == 1
    assert "—" in svg


def test_picture_is_a_valid_png_of_its_size():
    pixels = [[0.0, 0.5, 1.0], [1.0, 0.0, 0.25]]
    overlay = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    times = enlargement(pixels)
    data = base64.b64decode(picture_data_uri(pixels, overlay).removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (3 * times, 2 * times)
    length = struct.unpack(">I", data[33:37])[0]
    assert zlib.crc32(data[37 : 41 + length]) == struct.unpack(">I", data[41 + length : 45 + length])[0]
    raw = zlib.decompress(data[41 : 41 + length])
    width = 1 + 3 * 3 * times
    assert len(raw) == 2 * times * width
    assert raw[1:4] == b"\xff\xff\xff"
    middle = 1 + 3 * (times + times // 2)
    blue, lower = raw[middle : middle + 3], raw[(times + times // 2) * width + 1 :][: 3 * times]
    assert blue[2] > blue[0]
    colours = {lower[3 * x : 3 * x + 3] for x in range(times)}
    (orange,) = colours - {b"\xff\xff\xff"}
    assert orange[0] > orange[2]


def grey_levels(uri):
    """The number of different grey values of a picture as a printer without colour sees it."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    width, length = struct.unpack(">I", data[16:20])[0], struct.unpack(">I", data[33:37])[0]
    raw = zlib.decompress(data[41 : 41 + length])
    line = raw[1 : 1 + 3 * width]
    return len(
        {
            round(0.299 * r + 0.587 * g + 0.114 * b)
            for r, g, b in zip(line[::3], line[1::3], line[2::3], strict=True)
        }
    )


def test_what_speaks_against_is_striped_so_that_print_without_colour_shows_it():
    assert grey_levels(picture_data_uri([[0.5]], [[0.8]])) == 1
    assert grey_levels(picture_data_uri([[0.5]], [[-0.8]])) == 2


def test_a_large_picture_is_not_enlarged():
    assert enlargement([[0.0] * 300] * 200) == 1
    assert enlargement([[0.0] * 28] * 28) == 5


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_label_is_text_whatever_it_says(text):
    svg = str(label(1, 2, text))
    assert svg.count("<") == (2 if text else 1)


def test_long_label_is_cut_to_its_room():
    assert text_width(shortened("x" * 500, 80)) <= 80
    assert shortened("short", 80) == "short"
