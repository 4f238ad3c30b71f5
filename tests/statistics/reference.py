"""Slow, plain versions of the statistics, written from the definitions."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom


def auc(high, low):
    """Share of pairs won, ties half."""
    return sum((a > b) + 0.5 * (a == b) for a in high for b in low) / (len(high) * len(low))


def auc_variance(high, low):
    """DeLong's variance by its definition: spread of each score's share of pairs won."""
    wins_of_high = [sum((a > b) + 0.5 * (a == b) for b in low) / len(low) for a in high]
    wins_over_low = [sum((a > b) + 0.5 * (a == b) for a in high) / len(high) for b in low]
    return np.var(wins_of_high, ddof=1) / len(high) + np.var(wins_over_low, ddof=1) / len(low)


def group_rate(rows, group, numerator, denominator):
    """A rate by looking at every row; ``None`` where no row counts."""
    inside = [row for row in rows if row["group"] == group and denominator(row)]
    total = sum(row["weight"] for row in inside)
    return sum(row["weight"] for row in inside if numerator(row)) / total if total else None


def clopper_pearson(successes, n, confidence):
    """Ends where the observed count becomes as unlikely as half the error, by bisection on the binomial."""
    tail = (1 - confidence) / 2

    def root(f):
        low, high = 0.0, 1.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if f(middle) else (low, middle)
        return (low + high) / 2

    low = 0.0 if successes == 0 else root(lambda p: binom.sf(successes - 1, n, p) < tail)
    high = 1.0 if successes == n else root(lambda p: binom.cdf(successes, n, p) > tail)
    return low, high


def tango_score(gained, lost, n, delta):
    """Score statistic with the nuisance parameter found by maximising the likelihood numerically."""
    rest = n - gained - lost

    def log_likelihood(share_lost):
        parts = ((gained, share_lost + delta), (lost, share_lost), (rest, 1 - 2 * share_lost - delta))
        total = 0.0
        for count, p in parts:
            if count and p <= 0:
                return -1e18
            total += count * math.log(p) if count else 0.0
        return total

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    best = minimize_scalar(
        lambda q: -log_likelihood(q), bounds=bounds, method="bounded", options={"xatol": 1e-12}
    ).x
    return (gained - lost - n * delta) / math.sqrt(n * (2 * best + delta * (1 - delta)))
