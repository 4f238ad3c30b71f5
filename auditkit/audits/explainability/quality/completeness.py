"""Whether attributions add up to what they promise: the score minus the score of the baseline.

Source: Sundararajan, Taly and Yan (2017), arXiv:1703.01365, proposition 1.
"""

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray

TOLERANCE = 1e-3
"""Of the gap, relative to the row's change, plus the same part of the spread of changes over rows."""


def gaps(attributions: FloatArray, change: FloatArray) -> FloatArray:
    """How far the sum of each row is from its change, shape ``(n,)``.

    Args:
        attributions: Shape ``(n, m)``.
        change: Score of the row minus score of the baseline, shape ``(n,)``.
    """
    return np.asarray(np.abs(attributions.sum(axis=1) - change))


def complete(attributions: FloatArray, change: FloatArray) -> BoolArray:
    """Rows whose gap is within the tolerance, shape ``(n,)``."""
    return np.asarray(gaps(attributions, change) <= TOLERANCE * (np.abs(change) + change.std()))
