"""Which attributions count as equal: differences of rounding must not decide an order."""

import numpy as np

from auditkit.data.dataset import FloatArray

DIGITS = 5
"""Decimals of an attribution relative to the largest of its row: single precision gives about so many."""


def rounded(attributions: FloatArray) -> FloatArray:
    """Attributions relative to the largest absolute one of their row, shape ``(n, m)``, to be ranked."""
    top = np.abs(attributions).max(axis=1, keepdims=True)
    return np.round(attributions / np.where(top > 0, top, 1.0), DIGITS) + 0.0
