"""Numbers as levels that a reader knows: the values themselves where they are few, else quantile bins."""

import math

import numpy as np

from auditkit.data.dataset import UNKNOWN, FloatArray, GroupColumn, IntArray

DIGITS = 3
"""Significant digits of an edge; more only where two edges would otherwise be one."""

ROUNDING = 1e-5
"""Of the spread of a feature: finer steps are lost when inputs are held in single precision."""


def snapped(values: FloatArray, spread: float) -> FloatArray:
    """Values freed of the rounding of single precision: 36.999998 becomes 37.

    Args:
        values: In the units of the reader, NaN where missing.
        spread: Standard deviation of the feature, positive.
    """
    return np.round(values, -math.floor(math.log10(ROUNDING * spread)))


def number_levels(values: FloatArray, bins: int) -> GroupColumn:
    """Each row's bin, as a level such as ``25 to 31``.

    At most ``bins`` different values are levels of their own. Else edges lie at the quantiles, rounded to
    three significant digits where the values are not whole; a bin holds its upper edge. Where many rows share
    one value there are fewer bins. Names do not show the smallest and largest value, which may be about one
    person.

    Args:
        values: NaN where missing, which is the level ``"unknown"``; shape ``(n,)``.
        bins: At most so many levels besides ``"unknown"``.
    """
    known = np.isfinite(values)
    found = np.unique(values[known])
    if len(found) <= bins:
        names = tuple(_text(value) for value in found)
        codes = np.searchsorted(found, values[known])
    else:
        edges = _edges(values[known], bins)
        names = _bin_names(edges, whole=bool((found == np.floor(found)).all()))
        codes = np.searchsorted(edges, values[known], side="left")
    return _column(names, codes, known)


def _column(
    names: tuple[str, ...], codes: IntArray, known: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> GroupColumn:
    column = np.full(len(known), len(names), dtype=np.int64)
    column[known] = codes
    return GroupColumn(names if known.all() else (*names, UNKNOWN), column)


def _edges(values: FloatArray, bins: int) -> FloatArray:
    """Ascending, each with rows on both sides."""
    quantiles = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    if not (values == np.floor(values)).all():
        quantiles = _rounded(quantiles)
    edges = np.unique(quantiles)
    return np.asarray(edges[(edges >= values.min()) & (edges < values.max())])


def _rounded(quantiles: FloatArray) -> FloatArray:
    for digits in range(DIGITS, 16):
        rounded = np.array([float(f"{value:.{digits}g}") for value in quantiles])
        if len(np.unique(rounded)) == len(np.unique(quantiles)):
            return rounded
    return quantiles


def _bin_names(edges: FloatArray, *, whole: bool) -> tuple[str, ...]:
    if len(edges) == 0:
        return ("all",)
    starts = edges[:-1] + 1 if whole else edges[:-1]
    inner = [
        _text(end) if whole and start == end else f"{_text(start)} to {_text(end)}"
        for start, end in zip(starts, edges[1:], strict=True)
    ]
    return (f"up to {_text(edges[0])}", *inner, f"over {_text(edges[-1])}")


def _text(value: float) -> str:
    """A number without superfluous digits: 37, 0.25, -1.5e-07."""
    return str(int(value)) if value == math.floor(value) and abs(value) < 1e15 else repr(float(value))
