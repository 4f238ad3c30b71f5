"""Axes: from data to place, with ticks at round numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from auditkit.reporting.numbers import decimal, power_of_ten


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps ``low..high`` of the data to ``start..end`` of the drawing, in equal steps or equal factors."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; values beyond the axis stay at its end."""
        low, high, shown = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, shown = math.log10(low), math.log10(high), math.log10(shown)
        share = (shown - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 4) -> list[tuple[float, str]]:
        """About ``count`` round values within the axis, with their texts."""
        if self.is_log:
            return self._powers(count)
        step = nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        exponent = math.floor(math.log10(step) + 1e-9)
        is_quarter = round(step / 10**exponent, 3) == 2.5
        decimals = max(0, is_quarter - exponent)
        return [(index * step, decimal(index * step, decimals)) for index in range(first, last + 1)]

    def _powers(self, count: int) -> list[tuple[float, str]]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        stride = max(1, math.ceil((last - first) / count))
        return [(10.0**power, power_of_ten(power)) for power in range(first, last + 1, stride)]


def nice_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten that is not below ``rough``."""
    size = 10.0 ** math.floor(math.log10(rough))
    return next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * (1 - 1e-9))


def linear_axis(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    low: float | None = None,
    high: float | None = None,
    pad: float = 0.06,
) -> Axis:
    """An axis that holds all values, with zero where zero is near; ``low`` and ``high`` fix an end."""
    known = [value for value in values if math.isfinite(value)]
    known += [end_ for end_ in (low, high) if end_ is not None]
    least, most = (min(known), max(known)) if known else (0.0, 1.0)
    if least == most:
        least, most = (min(0.0, least), max(0.0, most)) if least != 0 else (0.0, 1.0)
    room = pad * (most - least)
    bottom = 0.0 if 0 <= least < 0.5 * most else least - room
    top = 0.0 if most == 0 else most + room
    if least >= 0:
        bottom = max(0.0, bottom)
    return Axis(low if low is not None else bottom, high if high is not None else top, start, end)


def log_axis(values: Iterable[float], start: float, end: float) -> Axis:
    """A logarithmic axis over the positive values, from power of ten to power of ten."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    least, most = (min(positive), max(positive)) if positive else (0.1, 1.0)
    low, high = 10.0 ** math.floor(math.log10(least)), 10.0 ** math.ceil(math.log10(most))
    return Axis(low, high if high > low else low * 10, start, end, is_log=True)
