"""Colours of the style sheet meet WCAG 2.2 AA in light and dark."""

import re

import pytest

from auditkit.reporting.html import read_template


def palettes() -> dict[str, dict[str, str]]:
    css = read_template("report.css")
    light = dict(
        re.findall(r"--(\w+):(#[0-9a-f]{3,6})", css[: css.index("@media(prefers-color-scheme:dark)")])
    )
    dark_rules = css[css.index("@media(prefers-color-scheme:dark)") : css.index("*{box-sizing")]
    return {"light": light, "dark": {**light, **dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", dark_rules))}}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "soft", "accent", "fail", "open", "pass", "none"])
def test_text_can_be_read_on_paper(scheme, ink):
    palette = palettes()[scheme]
    assert contrast(palette[ink], palette["paper"]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shade", ["w1", "w2", "w3", "w4", "w5", "a1", "a2", "a3", "a4", "a5", "tint"])
def test_ink_can_be_read_on_every_shade(scheme, shade):
    palette = palettes()[scheme]
    assert contrast(palette["ink"], palette[shade]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_stand_out_from_paper(scheme):
    palette = palettes()[scheme]
    for mark in ("accent", "fail", "open", "pass", "ag"):
        assert contrast(palette[mark], palette["paper"]) >= 3.0
