"""How few units an explanation rests on. No value is good or bad in itself.

Source: Chalasani et al. (2020), arXiv:1810.06583 (Gini); Bhatt, Weller and Moura (2020), arXiv:2005.00631
(entropy); Nguyen and Martinez (2020), arXiv:2007.07584 (units needed).
"""

from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray

MASS = 0.8


@dataclass(frozen=True, slots=True)
class Complexity:
    """Of each row, shape ``(n,)``; NaN where a row has no attribution, or a single unit for what compares.

    Attributes:
        gini: 0 where all units weigh the same, near 1 where one carries all.
        entropy: Of the shares of absolute attribution, relative to that of equal shares, in ``[0, 1]``.
        needed: Units that together carry 80 % of absolute attribution.
    """

    gini: FloatArray
    entropy: FloatArray
    needed: FloatArray


def complexity(attributions: FloatArray, present: BoolArray) -> Complexity:
    """Of absolute attributions, shape ``(n, m)``, over the units that each row has."""
    size = np.where(present, np.abs(attributions), 0.0)
    total, has = size.sum(axis=1), present.sum(axis=1)
    any_mass = total > 0
    shares = size / np.where(any_mass, total, 1.0)[:, None]
    several = any_mass & (has > 1)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    entropy = -(shares * logs).sum(axis=1) / np.log(np.maximum(has, 2))
    falling = -np.sort(-shares, axis=1)
    # the slack keeps a sum such as 0.7999999999999999 from costing one more unit
    needed = 1 + (falling.cumsum(axis=1) < MASS - 1e-12).sum(axis=1)
    return Complexity(
        gini=np.where(several, _gini(falling, has), np.nan),
        entropy=np.where(several, entropy, np.nan),
        needed=np.where(any_mass, needed, np.nan),
    )


def _gini(falling: FloatArray, has: np.ndarray) -> FloatArray:
    """From shares in falling order; units that a row does not have stand at the end with 0."""
    place = np.arange(falling.shape[1])[None, :]
    weight = has[:, None] - 1 - 2 * place
    return np.asarray((falling * weight).sum(axis=1) / np.maximum(has, 1))
