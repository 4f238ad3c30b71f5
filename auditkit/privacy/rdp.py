"""Rényi DP of one step of the Poisson-subsampled Gaussian mechanism, at many orders at once.

Opacus computes order after order and term after term in Python, which took most of the time in which the
noise for a budget is found: where about half of the rows are in a step, an order near 1 has many thousand
terms.

Source: Mironov, Talwar and Zhang (2019), arXiv:1908.10530, section 3.3: the binomial expansion of equation 6
for integer orders, and for others the two series at its end.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import gammaln, gammasgn, log_ndtr, logsumexp

from auditkit.data.dataset import FloatArray

LOG_NEGLIGIBLE: Final = -30.0
"""Logarithm of a term at which a series ends: the sum is at least 1."""

FIRST_TERMS, MOST_TERMS = 128, 2**16
"""Terms of a series that are computed together: twice as many each time."""


@lru_cache(maxsize=4096)
def rdp_of_a_step(noise_multiplier: float, sample_rate: float, orders: tuple[float, ...]) -> FloatArray:
    """RDP of one step.

    Args:
        noise_multiplier: Above 0.
        sample_rate: In ``(0, 1]``.
        orders: Above 1.

    Returns:
        In nats, not negative, shape ``(len(orders),)``. It is kept: not to be written to.
    """
    alpha = np.asarray(orders, dtype=np.float64)
    if sample_rate == 1.0:
        return _fixed(alpha / (2 * noise_multiplier**2))
    logs, whole = np.empty_like(alpha), alpha == np.floor(alpha)
    if whole.any():
        logs[whole] = _of_integer_orders(noise_multiplier, sample_rate, tuple(alpha[whole].tolist()))
    if not whole.all():
        logs[~whole] = _of_other_orders(noise_multiplier, sample_rate, alpha[~whole])
    return _fixed(np.maximum(logs, 0.0) / (alpha - 1))


def _fixed(values: FloatArray) -> FloatArray:
    values.flags.writeable = False
    return values


def _of_integer_orders(noise_multiplier: float, sample_rate: float, orders: tuple[float, ...]) -> FloatArray:
    """Logarithm of the expectation, shape ``(len(orders),)``."""
    binomials, left = _binomials(orders)
    k = np.arange(binomials.shape[1])
    exponents = k * (np.log(sample_rate) + (k - 1) / (2 * noise_multiplier**2))
    return np.asarray(logsumexp(binomials + exponents + left * np.log1p(-sample_rate), axis=1))


@lru_cache(maxsize=8)
def _binomials(orders: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """For each order and k: log(order over k), minus infinity beyond the order; and order - k, 0 beyond."""
    alpha = np.array(orders, dtype=np.float64)[:, None]
    k = np.arange(int(max(orders)) + 1)
    left = np.maximum(alpha - k, 0.0)
    binomials = gammaln(alpha + 1) - gammaln(k + 1) - gammaln(left + 1)
    return np.where(k <= alpha, binomials, -np.inf), left


def _of_other_orders(noise_multiplier: float, sample_rate: float, alpha: FloatArray) -> FloatArray:
    """As of integer orders; every series is summed until its terms no longer count."""
    logs, signs = np.full(len(alpha), -np.inf), np.ones(len(alpha))
    going, start, length = np.arange(len(alpha)), 0, FIRST_TERMS
    while len(going):
        terms, of_terms = _terms(noise_multiplier, sample_rate, alpha[going, None], start, length)
        part, sign = logsumexp(
            np.column_stack([logs[going], terms]),
            b=np.column_stack([signs[going], of_terms]),
            axis=1,
            return_sign=True,
        )
        logs[going], signs[going] = part, sign
        going = going[terms[:, [length - 1, -1]].max(axis=1) >= LOG_NEGLIGIBLE]
        start, length = start + length, min(2 * length, MOST_TERMS)
    return logs


def _terms(
    noise_multiplier: float, sample_rate: float, alpha: FloatArray, start: int, length: int
) -> tuple[FloatArray, FloatArray]:
    """Terms ``start`` and on of the one series, then of the other, ``(a, 2 * length)``, and their signs."""
    turn = noise_multiplier**2 * np.log(1 / sample_rate - 1) + 0.5
    i = np.arange(start, start + length, dtype=np.float64)
    j = alpha - i
    binomials = gammaln(alpha + 1) - gammaln(i + 1) - gammaln(j + 1)
    ones = ((i, j, (turn - i) / noise_multiplier), (j, i, (j - turn) / noise_multiplier))
    below, above = (
        binomials
        + power * np.log(sample_rate)
        + other * np.log1p(-sample_rate)
        + (power * power - power) / (2 * noise_multiplier**2)
        + log_ndtr(tail)
        for power, other, tail in ones
    )
    sign = np.broadcast_to(gammasgn(j + 1), below.shape)
    return np.concatenate([below, above], axis=1), np.concatenate([sign, sign], axis=1)
