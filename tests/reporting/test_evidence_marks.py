"""Numbers and names beside bars, and what pictures are accompanied by."""

import re

from auditkit.records import Bars, Dots, Estimate, Mark, Message, Panel, Picture
from auditkit.reporting.charts.curve import CurveChart, Line, curve_chart
from auditkit.reporting.html import render_html
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.evidence.evidence import evidence_view
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import sample_run

EN, ZH = texts_for("en"), texts_for("zh")
TITLE, AXIS = Message(text="t"), Message(text="attribution")


def marks_of(*values: float) -> tuple[Mark, ...]:
    return tuple(Mark(label=f"f{i}", estimate=Estimate(value=value)) for i, value in enumerate(values))


def drawn(evidence) -> str:
    return str(evidence_view(evidence, EN).chart)


def written_beside(evidence) -> list[str]:
    groups = re.findall(r'<g class="e">(.*?)</g>', drawn(evidence))
    return re.findall(r">([^<]+)</text>", groups[0])


def test_bars_are_written_with_as_many_decimals_as_the_longest_needs():
    assert written_beside(Bars(title=TITLE, axis=AXIS, marks=marks_of(1.372, -0.0656, 0.0197))) == [
        "1.37",
        "−0.07",
        "0.02",
    ]


def test_a_bar_of_next_to_nothing_is_written_as_zero_without_a_sign():
    assert written_beside(Bars(title=TITLE, axis=AXIS, marks=marks_of(0.6, -0.000002))) == ["0.6", "0.000"]


def test_the_table_behind_bars_keeps_every_digit():
    view = evidence_view(Bars(title=TITLE, axis=AXIS, marks=marks_of(0.6, -0.000002)), EN)
    assert view.table is not None
    assert view.table.rows[1][1].number.value == "−2 × 10⁻⁶"


def test_dots_keep_the_digits_of_small_rates():
    assert written_beside(Dots(title=TITLE, axis=AXIS, marks=marks_of(45.3, 0.0732))) == ["45.3", "0.0732"]


def test_the_bar_of_all_others_is_named_in_the_language_of_the_report():
    label = Message(text="others ({n})", values={"n": 4})
    bars = Bars(title=TITLE, axis=AXIS, marks=(Mark(label=label, estimate=Estimate(value=1.0)),))
    assert "其余 4 项之和" in str(evidence_view(bars, ZH).chart)


def test_a_name_from_the_data_is_not_taken_for_a_text():
    label = Mark.model_validate_json('{"label": "others ({n})", "estimate": {"value": 1.0}}').label
    assert label == "others ({n})"


def test_names_of_methods_at_the_end_of_lines_are_not_cut():
    names = ("integrated-gradients", "control: guided backpropagation")
    svg = str(curve_chart(CurveChart([Line(name, [0, 1], [0, 1]) for name in names], "x", "y", title="t")))
    assert all(f">{name}</text>" in svg for name in names)


def picture_of(*panels: Panel) -> Picture:
    return Picture(title=TITLE, panels=panels, scale=Message(text="scale"))


COVERED = Panel(label=Message(text="seven"), pixels=((0.0, 1.0),), overlay=((0.5, -1.0),))


def test_a_small_picture_is_shown_without_its_overlay_too():
    (panel,) = evidence_view(picture_of(COVERED), EN).panels
    assert panel.plain.startswith("data:image/png")
    assert panel.plain != panel.uri


def test_a_picture_without_overlay_is_shown_once():
    (panel,) = evidence_view(picture_of(COVERED.model_copy(update={"overlay": ()})), EN).panels
    assert panel.plain == ""


def test_a_picture_of_many_pixels_is_shown_once():
    row = (0.5,) * 100
    large = Panel(label=Message(text="large"), pixels=(row,) * 100, overlay=(row,) * 100)
    assert evidence_view(picture_of(large), EN).panels[0].plain == ""


def test_who_hears_a_picture_is_told_where_it_speaks_for_and_against():
    (panel,) = evidence_view(picture_of(COVERED), EN).panels
    assert panel.alt == (
        "strongest for (row, column: weight) 1, 1: 0.5; strongest against (row, column: weight) 1, 2: −1"
    )


def test_the_caption_of_a_picture_is_not_read_twice():
    page = Page(render_html(sample_run(), "en"))
    spoken = [image["alt"] for image in page.all("img") if image["alt"].startswith("strongest")]
    assert spoken
    assert not any("true 0" in one for one in spoken)
