"""Three-way decisions on an interval, and how many samples would settle an open one."""

import math
from typing import Literal

from scipy.stats import norm

from auditkit.errors import DataError
from auditkit.records import Interval, Kind

Decision = Literal["pass", "fail", "inconclusive"]

TOO_CLOSE = 1e-3
"""Below this share of the half-width a threshold is too close to the value for a sample size to be told."""


def decide(
    interval: Interval,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    kind: Kind = "estimate",
) -> Decision:
    """Judge an interval against one or two thresholds.

    ``pass`` only if the whole interval clears every threshold, ``fail`` only if the whole interval breaches
    one, else ``inconclusive``. A threshold itself is allowed: ``at_most=0.1`` is met by an interval that ends
    at 0.1.

    A ``lower_bound`` says nothing about how large the truth is, so it can only pass ``at_least`` and fail
    ``at_most``; an ``upper_bound`` can only pass ``at_most`` and fail ``at_least``.

    Args:
        interval: Where the figure lies.
        at_least: Smallest value allowed.
        at_most: Largest value allowed.
        kind: Whether the figure estimates the truth or bounds it from one side.

    Raises:
        DataError: No threshold was given.

    >>> decide(Interval(low=0.02, high=0.08, confidence=0.95, method="wilson"), at_most=0.1)
    'pass'
    """
    if at_least is None and at_most is None:
        raise DataError("decision: got no threshold, expected at_least or at_most; give one of them")
    low, high = _known_range(interval, kind)
    if (at_least is not None and high < at_least) or (at_most is not None and low > at_most):
        return "fail"
    clears_floor = at_least is None or low >= at_least
    clears_ceiling = at_most is None or high <= at_most
    return "pass" if clears_floor and clears_ceiling else "inconclusive"


def needed_n(
    value: float,
    interval: Interval,
    n: int,
    at_least: float | None = None,
    at_most: float | None = None,
    *,
    kind: Kind = "estimate",
) -> int | None:
    """Number of samples that would settle the decision if the value stayed where it is.

    The half-width towards a threshold shrinks with the square root of n, so ``n`` is scaled by
    ``(half-width / distance) ** 2``. A value inside both thresholds must clear both; a value beyond one
    must be shown to breach that one.

    Args:
        value: The figure, inside ``interval``.
        interval: Its interval at ``n`` samples.
        n: Samples the figure rests on.
        at_least: Smallest value allowed.
        at_most: Largest value allowed.
        kind: As in :func:`decide`.

    Returns:
        At least ``n`` (``n`` itself when the sample already decides), or ``None`` where no number can be
        told: the value stands on the threshold or nearly so, there are no samples, or a one-sided bound lies
        on the side from which it can never decide.

    >>> needed_n(0.05, Interval(low=0.0, high=0.15, confidence=0.95, method="t"), 100, at_most=0.1)
    400
    """
    if n <= 0:
        return None
    if at_least is not None and value < at_least:
        return None if kind == "lower_bound" else _scaled(n, interval.high - value, at_least - value)
    if at_most is not None and value > at_most:
        return None if kind == "upper_bound" else _scaled(n, value - interval.low, value - at_most)
    if (at_least is not None and kind == "upper_bound") or (at_most is not None and kind == "lower_bound"):
        return None
    needs = []
    if at_least is not None:
        needs.append(_scaled(n, value - interval.low, value - at_least))
    if at_most is not None:
        needs.append(_scaled(n, interval.high - value, at_most - value))
    known = [need for need in needs if need is not None]
    return max(known) if known and len(known) == len(needs) else None


def minimum_detectable_difference(
    p: float, n1: float, n2: float, *, confidence: float = 0.95, power: float = 0.8
) -> float | None:
    """Smallest true difference of two proportions that a two-sided test finds with the given power.

    ``(z_(1-alpha/2) + z_power) * sqrt(p (1 - p) (1/n1 + 1/n2))`` with the common proportion ``p``.

    Args:
        p: Common proportion, in ``[0, 1]``.
        n1: Samples of the first group; an effective number where rows are weighted.
        n2: Samples of the second group.
        confidence: One minus the level of the test.
        power: Chance to find the difference.

    Returns:
        A difference in ``(0, 1]``; 1 also where not even the largest difference would be found. ``None``
        where the formula cannot tell: a group is empty or ``p`` is 0 or 1.

    Raises:
        DataError: ``p`` lies outside ``[0, 1]``.

    Source:
        Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, chapter 4.

    >>> round(minimum_detectable_difference(0.5, 100, 100), 3)
    0.198
    """
    if not 0 <= p <= 1:
        raise DataError(f"minimum detectable difference: p must be in [0, 1], got {p}")
    if n1 <= 0 or n2 <= 0 or p in {0, 1}:
        return None
    quantiles = float(norm.ppf((1 + confidence) / 2) + norm.ppf(power))
    return min(1.0, quantiles * math.sqrt(p * (1 - p) * (1 / n1 + 1 / n2)))


def _known_range(interval: Interval, kind: Kind) -> tuple[float, float]:
    """What the figure says about the truth: a one-sided bound leaves the other side open."""
    low = -math.inf if kind == "upper_bound" else interval.low
    high = math.inf if kind == "lower_bound" else interval.high
    return low, high


def _scaled(n: int, half_width: float, distance: float) -> int | None:
    if half_width <= distance and distance > 0:
        return n
    if distance <= TOO_CLOSE * half_width:
        return None
    # the slack keeps a ratio such as 2.0000000000000004 from costing one more sample
    return math.ceil(n * (half_width / distance) ** 2 * (1 - 1e-12))
