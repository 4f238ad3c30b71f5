"""Building SVG text: elements with escaped attributes and labels, widths of words, short numbers."""

import unicodedata
from collections.abc import Iterable
from functools import cache

from markupsafe import Markup, escape

FONT_SIZE = 12.5
"""Size of labels in user units; charts are drawn at about one unit per pixel."""

_NARROW, _WIDE, _FULL = 0.34, 0.66, 1.0


def element(name: str, *content: Markup | str, **attributes: str | float | None) -> Markup:
    """One element. ``class_`` becomes ``class``, underscores hyphens, ``None`` attributes are left out."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inside = "".join(escape(part) for part in content)
    opening = f"<{name}{''.join(parts)}"
    text = f"{opening}>{inside}</{name}>" if inside else f"{opening}/>"
    return Markup(text)  # noqa: S704 - the one place: names are literals, all else was escaped above


def drawing(
    marks: Iterable[Markup],
    *,
    width: float,
    height: float,
    title: str,
    description: str = "",
    class_: str = "c",
) -> Markup:
    """A whole chart, named for those who hear it instead of seeing it."""
    names = [element("title", title)] if title else []
    if description:
        names.append(element("desc", description))
    is_named = bool(title)
    return element(
        "svg",
        *names,
        *marks,
        class_=class_,
        viewBox=f"0 0 {short(width)} {short(height)}",
        width=width,
        height=height,
        role="img" if is_named else None,
        aria_hidden=None if is_named else "true",
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return lines([(x1, y1, x2, y2)], class_)


def lines(segments: Iterable[tuple[float, float, float, float]], class_: str) -> Markup:
    """Straight lines (x1, y1, x2, y2) of one kind as one element; nothing where there are none."""
    path = "".join(_segment(*segment) for segment in segments)
    return element("path", class_=class_, d=path) if path else Markup("")


def dots(places: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Round marks of one kind as one element: lines of no length with round ends."""
    path = "".join(f"M{short(x)} {short(y)}h0" for x, y in places)
    return element("path", class_=class_, d=path) if path else Markup("")


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> Markup:
    """Text with its base line at ``y``; ``anchor`` is start, middle or end. Whole units: no eye sees less."""
    classes = " ".join(part for part in (class_, {"start": "", "middle": "m", "end": "e"}[anchor]) if part)
    return element("text", text, class_=classes or None, x=round(x) or None, y=round(y))


def labels(texts: Iterable[tuple[float, float, str]], class_: str) -> Markup:
    """Texts of one kind in a group: (x, y, text) each."""
    inside = [label(x, y, text) for x, y, text in texts if text]
    return element("g", *inside, class_=class_) if inside else Markup("")


def point(x: float, y: float, shape: str, radius: float, class_: str) -> Markup:
    """A mark: ``square``, ``diamond``, ``ring`` or ``circle``. Shape tells what colour tells."""
    if shape == "square":
        side = radius * 1.8
        return element("rect", class_=class_, x=x - side / 2, y=y - side / 2, width=side, height=side)
    if shape == "diamond":
        r = short(radius * 1.3)
        top = f"M{short(x)} {short(y - radius * 1.3)}"
        return element("path", class_=class_, d=f"{top}l{r} {r}-{r} {r}-{r}-{r}z")
    return element("circle", class_=f"{class_} o" if shape == "ring" else class_, cx=x, cy=y, r=radius)


def short(value: float) -> str:
    """One decimal, without a trailing zero.

    >>> short(12.04), short(-0.04)
    ('12', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


@cache
def text_width(text: str, size: float = FONT_SIZE) -> float:
    """About how wide a text will be; fonts differ, so it errs to the wide side."""
    return size * sum(_advance(character) for character in text)


def shortened(text: str, room: float, size: float = FONT_SIZE) -> str:
    """The text, cut with an ellipsis where it would not fit into ``room``."""
    if text_width(text, size) <= room:
        return text
    kept = text
    while kept and text_width(kept + "…", size) > room:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _segment(x1: float, y1: float, x2: float, y2: float) -> str:
    start = f"M{short(x1)} {short(y1)}"
    if y1 == y2:
        return f"{start}H{short(x2)}"
    if x1 == x2:
        return f"{start}V{short(y2)}"
    return f"{start}L{short(x2)} {short(y2)}"


def _advance(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return _FULL
    if character in "il.,:;'|!()[] ftjrI\N{NO-BREAK SPACE}\N{THIN SPACE}":
        return _NARROW
    return _WIDE if character.isupper() or character in "mw%@—" else 0.56


def _attribute(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else short(value)
