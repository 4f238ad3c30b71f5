"""Whether stated log-odds are too high or too low, and too bold or too timid: logistic recalibration.

The intercept is what has to be added to all log-odds so that the labels come out as often as stated; 0 is
right. The slope is the factor of the log-odds that fits the labels best; 1 is right, below 1 the
probabilities are too extreme. Variances hold whether or not the logistic form does (sandwich), with weights
too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import t

from auditkit.records import Interval
from auditkit.statistics.intervals import FloatArray, effective_n

MOST_STEPS = 100
FARTHEST = 50.0
"""Beyond this many log-odds past every score all probabilities are 0 or 1."""
WORST_CONDITION = 1e14
"""Of the curvature; beyond it the fit is flat in some direction."""


def calibration_intercept(
    log_odds: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval] | None:
    """Shift ``a`` of the log-odds for which ``expit(a + log_odds)`` is right on average.

    Args:
        log_odds: Stated log-odds of the positive label, finite, shape ``(n,)``.
        outcomes: 0 or 1, shape ``(n,)``.
        weights: Positive, shape ``(n,)``.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        ``None`` where no finite shift does it: a label is absent, or the scores lie so far out that a whole
        range of shifts fits alike.

    Source:
        Cox (1958), Biometrika 45:562-565; Van Calster et al. (2019), BMC Medicine 17:230.
    """
    score, outcome, weight = _arrays(log_odds, outcomes, weights)
    if not 0 < outcome @ weight < weight.sum():
        return None

    def surplus(shift: float) -> float:
        return float(weight @ (expit(score + shift) - outcome))

    reach = float(np.abs(score).max()) + FARTHEST
    if surplus(-reach) >= 0 or surplus(reach) <= 0:
        return None
    value = float(brentq(surplus, -reach, reach, xtol=1e-12))
    chance = expit(score + value)
    return _Fit(np.ones((len(score), 1)), chance, outcome, weight).first(value, confidence)


def calibration_slope(
    log_odds: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval] | None:
    """Factor ``b`` of the best fit ``expit(a + b * log_odds)`` to the outcomes.

    Args:
        log_odds: Stated log-odds of the positive label, finite, shape ``(n,)``.
        outcomes: 0 or 1, shape ``(n,)``.
        weights: Positive, shape ``(n,)``.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        ``None`` where there is no finite factor: the scores of the two labels do not overlap.

    Source:
        Cox (1958), Biometrika 45:562-565. When a finite one exists: Albert and Anderson (1984), Biometrika
        71:1-10.
    """
    score, outcome, weight = _arrays(log_odds, outcomes, weights)
    if not overlapping(score, outcome):
        return None
    centre, spread = float(score.mean()), float(score.std())
    design = np.column_stack([(score - centre) / spread, np.ones(len(score))])
    fitted = _newton(design, outcome, weight)
    if fitted is None:
        return None
    fit = _Fit(design, expit(design @ fitted), outcome, weight)
    found = fit.first(float(fitted[0]), confidence)
    if found is None:
        return None
    value, interval = found
    ends = {"low": interval.low / spread, "high": interval.high / spread}
    return value / spread, interval.model_copy(update=ends)


def overlapping(log_odds: FloatArray, outcomes: FloatArray) -> bool:
    """Whether neither label's scores lie wholly above (or level with) the other's; both must occur."""
    high, low = log_odds[outcomes == 1], log_odds[outcomes == 0]
    if not (len(high) and len(low)):
        return False
    return bool(low.max() > high.min() and high.max() > low.min())


def _arrays(
    log_odds: npt.ArrayLike, outcomes: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    score, outcome = np.asarray(log_odds, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    return score, outcome, weight / weight.mean()


def _newton(design: FloatArray, outcome: FloatArray, weight: FloatArray) -> FloatArray | None:
    """Coefficients of the logistic regression; ``None`` where the steps do not settle."""
    fitted = np.zeros(design.shape[1])
    loss = _loss(design @ fitted, outcome, weight)
    for _ in range(MOST_STEPS):
        chance = expit(design @ fitted)
        gradient = design.T @ (weight * (outcome - chance))
        curvature = (design.T * (weight * chance * (1 - chance))) @ design
        if not np.linalg.cond(curvature) < WORST_CONDITION:
            return None
        step = np.linalg.solve(curvature, gradient)
        while (after := _loss(design @ (fitted + step), outcome, weight)) > loss + 1e-12 * abs(loss):
            step = step / 2
        fitted, loss = fitted + step, after
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(fitted).max()):
            return fitted
    return None


def _loss(score: FloatArray, outcome: FloatArray, weight: FloatArray) -> float:
    return float(weight @ (np.logaddexp(0, score) - outcome * score))


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fitted logistic regression; ``design`` has shape ``(n, k)``, the others one entry per row."""

    design: FloatArray
    chance: FloatArray
    outcome: FloatArray
    weight: FloatArray

    def first(self, value: float, confidence: float) -> tuple[float, Interval] | None:
        """The first coefficient with its interval, from the curvature and the spread of the residuals."""
        n, k = self.design.shape
        curvature = (self.design.T * (self.weight * self.chance * (1 - self.chance))) @ self.design
        if n <= k or not np.linalg.cond(curvature) < WORST_CONDITION:
            return None
        spread = (self.design.T * (self.weight * (self.outcome - self.chance)) ** 2) @ self.design
        inverse = np.linalg.inv(curvature)
        size = effective_n(self.weight)
        # the larger of the two: each is too small where the other assumption fails, in few rows above all
        variance = max(
            float((inverse @ spread @ inverse)[0, 0]) * n / (n - k), float(inverse[0, 0]) * n / size
        )
        reach = float(t.ppf((1 + confidence) / 2, max(1.0, size - k))) * variance**0.5
        return value, Interval(
            low=value - reach, high=value + reach, confidence=confidence, method="wald-robust"
        )
