"""The only place where tolerances live.

``EXACT`` figures (counts, rates made of counts) are compared with ``==``. ``FLOAT`` is for the same
arithmetic in another order. ``statistical`` bounds a simulated rate by its sampling error.
"""

import math

FLOAT = {"rel": 1e-9, "abs": 1e-12}
"""Double precision, same formula in another order (``pytest.approx(x, **FLOAT)``)."""

FLOAT32 = {"rel": 1e-4, "abs": 1e-5}
"""Single precision through a network."""

SAME_RUN = {"rel": 1e-6, "abs": 1e-6}
"""One figure computed with other batch sizes or worker counts."""


def statistical(n: int, *, p: float = 0.5, k: float = 4.0) -> float:
    """``k`` standard errors of a rate ``p`` estimated from ``n`` independent draws.

    At ``k=4`` a correct implementation fails about once in 16,000 tests; with a fixed seed, never by chance.
    """
    return k * math.sqrt(p * (1 - p) / n)
