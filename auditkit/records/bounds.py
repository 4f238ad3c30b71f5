"""Bounds in few decimals that still are bounds."""

from decimal import ROUND_CEILING, Decimal


def rounded_up(bound: float, decimals: int = 3) -> float:
    """The least number with so many decimals that is not below ``bound``.

    >>> rounded_up(2.5233), rounded_up(2.998), -rounded_up(-0.0019)
    (2.524, 2.998, 0.001)
    """
    return float(Decimal(repr(bound)).quantize(Decimal(1).scaleb(-decimals), ROUND_CEILING))
