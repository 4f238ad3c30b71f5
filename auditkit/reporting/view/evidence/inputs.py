"""Attributions shown on the input itself: pictures and text."""

from collections.abc import Sequence

from auditkit.data.token_text import visible
from auditkit.records import Panel, Picture, Tokens
from auditkit.reporting.charts.picture import enlargement, picture_data_uri
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import NO_NUMBER, Number, decimal_shortest
from auditkit.reporting.view.evidence.shapes import (
    CellView,
    EvidenceView,
    PanelView,
    TableView,
    TokenView,
)

_STEPS_OF_WEIGHT = 5
_STRONGEST = 3
_TOKENS_IN_TABLE = 24
_COVERED = 64 * 64
"""Pixels up to which an overlay hides what the picture shows; it then stands above without one."""


def picture_view(picture: Picture, title: str, caption: str, texts: Texts) -> EvidenceView:
    """Pictures with overlays; the table names the strongest places."""
    panels = tuple(_panel_view(panel, texts) for panel in picture.panels)
    weights = [weight for panel in picture.panels for row in panel.overlay for weight in row]
    return EvidenceView(
        "picture",
        title,
        caption,
        panels=panels,
        scale=texts.message(picture.scale),
        table=_picture_table(picture.panels, texts) if weights else None,
        is_signed=any(weight < 0 for weight in weights),
    )


def _panel_view(panel: Panel, texts: Texts) -> PanelView:
    label, width = texts.message(panel.label), len(panel.pixels[0]) if panel.pixels else 0
    is_covered = bool(panel.overlay) and len(panel.pixels) * width <= _COVERED
    return PanelView(
        label=label,
        alt=_in_words(panel, texts) or label,
        uri=picture_data_uri(panel.pixels, panel.overlay),
        plain=picture_data_uri(panel.pixels) if is_covered else "",
        width=enlargement(panel.pixels) * width,
        height=enlargement(panel.pixels) * len(panel.pixels),
    )


def _in_words(panel: Panel, texts: Texts) -> str:
    """Where an overlay is strongest; nothing without one."""
    if not panel.overlay:
        return ""
    sides = {1: texts.text("strongest for (row, column: weight)")}
    if any(weight < 0 for row in panel.overlay for weight in row):
        sides[-1] = texts.text("strongest against (row, column: weight)")
    return texts.series_of(f"{words} {_strongest(panel, sign, texts)}" for sign, words in sides.items())


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


def tokens_view(tokens: Tokens, title: str, caption: str, texts: Texts) -> EvidenceView:
    """Highlighted text; the table holds the heaviest weights in the order of the text."""
    by_weight = sorted(range(len(tokens.tokens)), key=lambda place: -abs(tokens.tokens[place].weight))
    shown = sorted(by_weight[:_TOKENS_IN_TABLE])
    views = tuple(
        TokenView(token.text, class_, _written(token.weight) if class_ and place in shown else "")
        for place, token in enumerate(tokens.tokens)
        for class_ in (_weight_class(token.weight),)
    )
    rows = tuple(
        (
            CellView(number=Number(grouped(place + 1))),
            CellView(visible(tokens.tokens[place].text.removesuffix("\n"))),
            CellView(number=Number(decimal_shortest(round(tokens.tokens[place].weight, 3)))),
        )
        for place in shown
    )
    n_more = len(views) - len(shown)
    table = TableView(
        columns=(texts.text("position"), texts.text("text"), texts.text("weight")),
        rows=rows,
        numeric=(True, False, True),
        note=texts.plural("{n} lighter one is in run.json.", "{n} lighter ones are in run.json.", n_more)
        if n_more
        else "",
    )
    return EvidenceView(
        "tokens",
        title,
        caption,
        tokens=views,
        separator=tokens.separator,
        scale=texts.message(tokens.scale),
        table=table,
        is_signed=any(token.weight < 0 for token in tokens.tokens),
    )


def _written(weight: float) -> str:
    return ("+" if weight > 0 else "") + decimal_shortest(round(weight, 2))


def _weight_class(weight: float) -> str:
    step = min(_STEPS_OF_WEIGHT, round(abs(weight) * _STEPS_OF_WEIGHT))
    if step == 0:
        return ""
    return f"p{step}" if weight > 0 else f"n{step}"
