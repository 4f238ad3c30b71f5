"""The nearest point at which a linear model would turn its decision, within bounds.

For every row: the smallest ``sum a|w_j| + e w_j^2 / 2`` such that ``start + slope.w >= wanted`` and
``low <= w <= high``. It is the minimum of that sum plus ``t`` times the hinge of the missing lead, for the
smallest weight ``t`` that closes it; ``w`` is then the slope times ``t``, shrunk by ``a``, divided by ``e``
and cut to the bounds, and the lead rises with ``t``, so that ``t`` is found by bisection for all rows at
once.
"""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.distances import Norm
from auditkit.data.dataset import FloatArray

_HALVINGS = 50
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Cost:
    """``linear |w| + quadratic w^2 / 2`` of each feature."""

    linear: float
    quadratic: float


COSTS: dict[Norm, tuple[Cost, ...]] = {"L1": (Cost(1.0, 0.1), Cost(1.0, 1e-3)), "L2": (Cost(0.0, 1.0),)}
"""Of the L1 norm first a smooth relative, whose steps are steady, then one that changes as few features as it
can."""


def nearest_turn(
    slope: FloatArray, missing: FloatArray, low: FloatArray, high: FloatArray, cost: Cost
) -> FloatArray:
    """The step ``w`` of each row; as far as the bounds let it where they do not let it turn.

    Args:
        slope: Rise of the lead per unit of each feature, shape ``(n, f)``.
        missing: Lead that is wanted minus the one at ``w = 0``, shape ``(n,)``.
        low: At most 0, shape ``(n, f)``.
        high: At least 0, likewise.
        cost: Of the step.
    """
    size = np.abs(slope)
    largest = size.max(axis=1, initial=0.0)
    largest = np.where(largest > 0, largest, 1.0)
    counted = np.maximum(size, _SMALLEST * largest[:, None])
    reach = np.maximum(-low, high)
    weight_high = ((cost.linear + cost.quadratic * reach) / counted).max(axis=1, initial=1e-300)
    weight_low = np.minimum(weight_high, max(cost.linear, 1e-6 * cost.quadratic) / largest * 1e-3)
    for _ in range(_HALVINGS):
        weight = np.sqrt(weight_low * weight_high)
        enough = _rise(slope, _step(slope, weight, low, high, cost)) >= missing
        weight_high = np.where(enough, weight, weight_high)
        weight_low = np.where(enough, weight_low, weight)
    step = _step(slope, weight_high, low, high, cost)
    return np.where((missing > 0)[:, None], step, 0.0)


def _step(slope: FloatArray, weight: FloatArray, low: FloatArray, high: FloatArray, cost: Cost) -> FloatArray:
    pull = slope * weight[:, None]
    shrunk = np.sign(pull) * np.maximum(np.abs(pull) - cost.linear, 0.0) / cost.quadratic
    return np.asarray(np.clip(shrunk, low, high))


def _rise(slope: FloatArray, step: FloatArray) -> FloatArray:
    return np.asarray((slope * step).sum(axis=1))
