"""Adjusted p-values for many tests at once."""

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError

FloatArray = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down adjustment: bounds the chance of even one false finding, under any dependence.

    Args:
        p_values: In ``[0, 1]``, shape ``(m,)``, any order.

    Returns:
        Adjusted p-values in the order given, never below the raw ones and at most 1.

    Raises:
        DataError: A p-value lies outside ``[0, 1]``.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65-70.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _restored(stepped, order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Benjamini and Hochberg's step-up adjustment: bounds the expected share of false findings.

    Holds for independent or positively dependent tests.

    Args:
        p_values: In ``[0, 1]``, shape ``(m,)``, any order.

    Returns:
        Adjusted p-values in the order given, never below the raw ones and at most 1.

    Raises:
        DataError: A p-value lies outside ``[0, 1]``.

    Source:
        Benjamini and Hochberg (1995), JRSS B 57:289-300.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _restored(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _checked(p_values: npt.ArrayLike) -> FloatArray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"p-values must be in [0, 1] and one-dimensional, got {p.tolist()}")
    return p


def _restored(adjusted: FloatArray, order: npt.NDArray[np.intp]) -> FloatArray:
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return result
