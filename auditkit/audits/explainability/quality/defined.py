"""Quotients and means of scores that are undefined in some rows: NaN stands for undefined, here alone."""

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray


def quotient(numerator: FloatArray, denominator: FloatArray, where: BoolArray) -> FloatArray:
    """Elementwise; NaN where it is not defined. All of one shape."""
    found = np.full(np.shape(where), np.nan)
    np.divide(numerator, denominator, out=found, where=where)
    return found


def mean_of_defined(values: FloatArray) -> FloatArray:
    """Over axis 0; NaN where nothing is defined."""
    defined = np.isfinite(values)
    count = np.asarray(defined.sum(axis=0), dtype=np.float64)
    return quotient(np.where(defined, values, 0.0).sum(axis=0), count, np.asarray(count > 0))
