"""The number of rows that may be known: sampling rate, batches, steps and delta follow from it alone.

Whether one row is there must not be seen in how the training went, so that the true number is not used. The
true one rounded down is the same for neighbours but at its steps; who needs it to be the same for all states
a count that is public anyway.
"""

from typing import Literal

from auditkit.records import PublicCount

SIGNIFICANT_DIGITS = 2


def public_count(n_units: int, stated: int | None = None) -> int:
    """``stated``, or the true number of units rounded down to two significant digits.

    >>> public_count(32561), public_count(60000), public_count(57)
    (32000, 60000, 57)
    """
    if stated is not None:
        return stated
    step: int = 10 ** max(0, len(str(n_units)) - SIGNIFICANT_DIGITS)
    return n_units // step * step


def told_count(n_units: int, stated: int | None = None) -> PublicCount:
    """The same, with where it comes from, as a certificate tells it."""
    origin: Literal["stated", "rounded down"] = "rounded down" if stated is None else "stated"
    return PublicCount(n=public_count(n_units, stated), origin=origin)
