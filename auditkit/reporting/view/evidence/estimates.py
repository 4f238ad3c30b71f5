"""Estimates in one unit."""

from collections.abc import Sequence

from auditkit.records import Estimate
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import NO_NUMBER, Number, Scale, Style, rounded, scale_for

_BRACKETS = str.maketrans("()（）", "    ")


def estimates_scale(estimates: Sequence[Estimate], style: Style, texts: Texts) -> Scale:
    """One scale for estimates that are read together."""
    if not estimates:
        return Scale()
    scale = scale_for(estimates[0].unit, style, [estimate.value for estimate in estimates])
    return Scale(scale.factor, texts.text(scale.symbol))


def estimate_number(estimate: Estimate, scale: Scale) -> Number:
    """An estimate ready for print."""
    if estimate.value is None:
        return NO_NUMBER
    return rounded(estimate.value, estimate.low, estimate.high, scale)


def scaled(value: float | None, scale: Scale) -> float | None:
    """A value in the unit of the scale."""
    return None if value is None else value * scale.factor


def with_unit(axis: str, unit: str, scale: Scale) -> str:
    """A heading with its unit named once: as scaled, in the place of the bare unit where the text has it."""
    words = axis.translate(_BRACKETS).split()
    if not scale.symbol or scale.symbol in words:
        return axis
    return axis.replace(unit, scale.symbol) if unit in words else f"{axis}, {scale.symbol}"
