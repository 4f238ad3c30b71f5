"""Numbers as a reader meets them: rounded to what the interval supports, with a scaled unit beside."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from auditkit.records import Measurement, Unit
from auditkit.reporting.language import mark

MINUS = "\N{MINUS SIGN}"
ABSENT = "\N{EM DASH}"
_MAX_DECIMALS = 6


class Style(Enum):
    """How a dimensionless figure reads best."""

    PLAIN = "plain"
    PERCENT = "percent"
    POINTS = "points"


@dataclass(frozen=True, slots=True)
class Scale:
    """What a figure is multiplied with before it is shown, and the symbol that then follows it."""

    factor: float = 1.0
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A figure ready for print. ``low`` and ``high`` are empty where there is no sampling error.

    ``bound`` is ``"≥"`` or ``"≤"`` for figures that bound the truth from one side.
    """

    value: str
    low: str = ""
    high: str = ""
    unit: str = ""
    bound: str = ""
    is_absent: bool = False

    @property
    def range(self) -> str:
        """The interval, or nothing."""
        return f"{self.low}\N{NO-BREAK SPACE}\N{EN DASH} {self.high}" if self.low else ""

    @property
    def plain(self) -> str:
        """Value and unit in a row, for text."""
        return join_unit(self.bound + self.value, self.unit)


NO_NUMBER = Number(ABSENT, is_absent=True)

_STYLES = {
    Style.PERCENT: Scale(100.0, "%"),
    Style.POINTS: Scale(100.0, mark("pp")),
}
_LADDERS: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "J": ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")),
    "kWh": ((1e3, "MWh"), (1.0, "kWh"), (1e-3, "Wh"), (1e-6, "mWh"), (1e-9, "µWh")),
    "gCO2e": ((1e6, "t CO₂e"), (1e3, "kg CO₂e"), (1.0, "g CO₂e"), (1e-3, "mg CO₂e"), (1e-6, "µg CO₂e")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "FLOP": ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP")),
    "1/s": ((1.0, "/s"),),
    "nat": ((1.0, "nat"),),
    "bit": ((1.0, "bit"),),
    "count": ((1.0, ""),),
}


def scale_for(unit: Unit, style: Style, values: Iterable[float | None]) -> Scale:
    """One scale for figures that are read together, chosen so that the largest has few digits."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if unit == "1":
        return _STYLES.get(style) or _power_scale(largest)
    ladder = _LADDERS[unit]
    if largest == 0.0:
        return Scale(1.0, next(symbol for size, symbol in ladder if size == 1.0))
    for size, symbol in ladder:
        if largest >= size:
            return Scale(1.0 / size, symbol)
    size, symbol = ladder[-1]
    return Scale(1.0 / size, symbol)


def _power_scale(largest: float) -> Scale:
    """Plain numbers as they are, the very small as multiples of a power of ten."""
    if largest == 0.0 or largest >= 1e-2:
        return Scale()
    exponent = math.floor(math.log10(largest))
    return Scale(10.0**-exponent, f"× {power_of_ten(exponent)}")


def number_of(measurement: Measurement | None, scale: Scale, keep: Iterable[float] = ()) -> Number:
    """A measurement ready for print; ``keep`` are thresholds that rounding must not cross."""
    if measurement is None or measurement.value is None:
        return NO_NUMBER
    interval = measurement.interval
    low, high = (interval.low, interval.high) if interval else (None, None)
    shown = rounded(measurement.value, low, high, scale, keep)
    if measurement.kind == "estimate":
        return shown
    bound = "≥ " if measurement.kind == "lower_bound" else "≤ "
    return Number(shown.value, shown.low, shown.high, shown.unit, bound)


def rounded(
    value: float, low: float | None, high: float | None, scale: Scale, keep: Iterable[float] = ()
) -> Number:
    """A value and its interval, as many decimals as the interval's width has significance.

    That is two significant digits of the width where it begins with 1 to 4, else one.

    Decimals are added while rounding would move the value or an end of the interval to another side of a
    threshold in ``keep``, so that the printed numbers support the printed verdict.

    >>> rounded(0.3581, 0.3403, 0.3799, Scale())
    Number(value='0.358', low='0.340', high='0.380', unit='', bound='', is_absent=False)
    """
    points = [value * scale.factor]
    has_range = low is not None and high is not None and high > low
    if low is not None and high is not None and has_range:
        points += [low * scale.factor, high * scale.factor]
    thresholds = [threshold * scale.factor for threshold in keep]
    decimals = _decimals(points)
    for _ in range(4):
        if all(_same_side(point, threshold, decimals) for point in points for threshold in thresholds):
            break
        decimals += 1
    texts = [decimal(point, decimals) for point in points]
    if not has_range:
        return Number(_without_zeros(texts[0]), unit=scale.symbol)
    return Number(texts[0], texts[1], texts[2], scale.symbol)


def _without_zeros(text: str) -> str:
    """Trailing zeros claim a precision; without an interval there is none to claim."""
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def threshold_text(threshold: float, scale: Scale) -> str:
    """A threshold as the user wrote it, in the unit of the figure."""
    return decimal_shortest(threshold * scale.factor)


def decimal(value: float, decimals: int) -> str:
    """Fixed decimals, thousands set apart, a true minus sign; powers of ten for the very small and large.

    >>> decimal(-12345.678, 1)
    '−12,345.7'
    >>> decimal(12345.678, -2)
    '12,300'
    """
    if decimals > _MAX_DECIMALS and value != 0 and abs(value) < 10.0**-_MAX_DECIMALS * 10:
        return _powers_of_ten(value)
    if abs(value) >= 1e12:
        return _powers_of_ten(value)
    shown = round(value, min(decimals, 12)) + 0.0
    text = f"{abs(shown):,.{max(decimals, 0)}f}"
    is_negative = shown < 0
    return MINUS + text if is_negative else text


def decimal_shortest(value: float, digits: int = 6) -> str:
    """The shortest text that gives ``digits`` significant digits.

    >>> decimal_shortest(0.8000000000000002)
    '0.8'
    """
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e12):
        return _powers_of_ten(value)
    text = f"{abs(value):,.{digits}g}" if abs(value) < 10**digits else f"{abs(value):,.0f}"
    if "e" in text:
        text = f"{abs(value):,.{digits}f}".rstrip("0").rstrip(".")
    return MINUS + text if value < 0 else text


def signed(value: str) -> str:
    """A change with its sign.

    >>> signed("0.6"), signed("0.0")
    ('+0.6', '0.0')
    """
    is_zero = not value.strip("0.,")
    return value if is_zero or value.startswith(MINUS) else f"+{value}"


def join_unit(text: str, unit: str) -> str:
    """A number and its unit with a space between that does not break."""
    return f"{text}\N{NO-BREAK SPACE}{unit}" if unit else text


def _decimals(points: list[float]) -> int:
    width = points[2] - points[1] if len(points) == 3 else 0.0
    if width > 0:
        exponent = math.floor(math.log10(width))
        return min((1 if width < 5 * 10.0**exponent else 0) - exponent, 12)
    value = abs(points[0])
    return 0 if value == round(value) else three_digits(value)


def three_digits(value: float) -> int:
    """Decimals that give a number three significant digits."""
    return 0 if value == 0 else max(0, min(2 - math.floor(math.log10(abs(value))), 12))


def decimals_of(text: str) -> int:
    """Decimals of a number as it is written; many for a power of ten.

    >>> decimals_of("1,234"), decimals_of("−0.05"), decimals_of("3 × 10⁻⁷")
    (0, 2, 12)
    """
    return 12 if "10⁻" in text else len(text.partition(".")[2])


def _same_side(point: float, threshold: float, decimals: int) -> bool:
    """Whether a number printed with so many decimals stands to the threshold as the number itself does."""
    shown = round(point, decimals)
    if _is_equal(point, threshold) or _is_equal(shown, threshold):
        return _is_equal(point, threshold) and _is_equal(shown, threshold)
    return (shown > threshold) == (point > threshold)


def _is_equal(a: float, b: float) -> bool:
    # Thresholds carry the rounding of the unit's factor (0.07 * 100), so equality allows for it.
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-15)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """``10⁻³``; 1 and 10 as they are."""
    return {0: "1", 1: "10"}.get(exponent, "10" + str(exponent).translate(_SUPERSCRIPTS))


def _powers_of_ten(value: float) -> str:
    mantissa, exponent = f"{abs(value):.1e}".split("e")
    power = power_of_ten(int(exponent))
    mantissa = mantissa.removesuffix(".0")
    text = power if mantissa == "1" else f"{mantissa} × {power}"
    return MINUS + text if value < 0 else text
