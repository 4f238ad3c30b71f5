"""Bounds in few decimals that still are bounds."""

from decimal import ROUND_CEILING, Context, Decimal


def rounded_up(bound: float, decimals: int = 3) -> float:
    """The least number with so many decimals that is not below ``bound``.

    >>> rounded_up(2.5233), rounded_up(2.998), -rounded_up(-0.0019)
    (2.524, 2.998, 0.001)
    """
    return float(Decimal(repr(bound)).quantize(Decimal(1).scaleb(-decimals), ROUND_CEILING))


def bound_in_digits(bound: float, digits: int = 3) -> str:
    """The least number with so many significant digits that is not below ``bound``.

    >>> bound_in_digits(2.9912), bound_in_digits(0.12341)
    ('3.00', '0.124')
    """
    return format(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(bound)), "f")
