"""Directions from rows without a concept to rows with it (concept activation vectors).

Sources: Kim et al. (2018), arXiv:1711.11279, section 3.2; the difference of means in place of a trained
classifier: Schmalwasser, Penzel, Denzler and Niebling (2025), FastCAV, arXiv:2505.17883.
"""

from typing import Literal

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.clustered import clustered_rate
from auditkit.statistics.cross_validated_auc import overlap_factor

Direction = Literal["mean-difference", "ridge"]

FOLDS = 5

PENALTY = 1.0
"""Of ridge regression, in units of the mean squared length of the activations."""


def coefficients(kernel: FloatArray, shows: BoolArray, how: Direction) -> FloatArray:
    """Directions as sums over examples: ``coefficients @ activations``, shape ``(k, n)``.

    They are as long as the step from rows without the concept to rows with it, and 0 where a side is empty.
    Written like this, thousands of directions cost the same however wide the layer is.

    Args:
        kernel: Products of the activations of all examples, ``activations @ activations.T``.
        shows: Which examples show the concept, shape ``(k, n)``: ``k`` ways of dealing it out.
        how: ``mean-difference`` is the step between the two means. ``ridge`` is the direction of a ridge
            regression, with the length of that step along it.
    """
    step = _step(shows)
    if how == "mean-difference":
        return step
    centred = kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + kernel.mean()
    penalty = PENALTY * float(np.trace(centred)) / len(centred) or 1.0
    targets = shows - shows.mean(axis=1, keepdims=True)
    along = np.linalg.solve(centred + penalty * np.eye(len(centred)), targets.T).T
    squares = ((along @ centred) * along).sum(axis=1, keepdims=True)
    length = ((along @ centred) * step).sum(axis=1, keepdims=True)
    return np.asarray(along * np.divide(length, squares, out=np.zeros_like(length), where=squares > 0))


def _step(shows: BoolArray) -> FloatArray:
    """Weights of rows whose sum is the mean with the concept minus that without, shape ``(k, n)``."""
    with_it, without = shows.sum(axis=1, keepdims=True), (~shows).sum(axis=1, keepdims=True)
    found = np.where(shows, 1 / np.maximum(with_it, 1), -1 / np.maximum(without, 1))
    return np.where((with_it > 0) & (without > 0), found, 0.0)


def held_out_accuracy(
    activations: FloatArray,
    shows: BoolArray,
    folds: IntArray,
    units: IntArray,
    *,
    how: Direction,
    confidence: float,
) -> tuple[float, Interval]:
    """Share of examples that the direction of the other folds puts on their side; a half is chance.

    The border lies midway between the two means. The interval is that of a rate, over persons, widened
    because the directions share rows (Nadeau and Bengio 2003); it is about directions of as many rows.

    Args:
        activations: Shape ``(n, d)``.
        shows: Shape ``(n,)``; as many do as do not.
        folds: Fold of each row, shape ``(n,)``.
        units: Which rows belong to one person.
        how: As in :func:`coefficients`.
        confidence: Of the interval.
    """
    hits = np.zeros(len(shows), dtype=np.bool_)
    for fold in np.unique(folds):
        held = folds == fold
        rows, side = activations[~held], shows[~held]
        if side.all() or not side.any():
            continue
        direction = coefficients(rows @ rows.T, side[None], how)[0] @ rows
        middle = (rows[side].mean(axis=0) + rows[~side].mean(axis=0)) / 2
        hits[held] = ((activations[held] - middle) @ direction > 0) == shows[held]
    own = None if len(np.unique(units)) == len(units) else units
    value, interval = clustered_rate(hits, units=own, confidence=confidence)
    wider = float(np.sqrt(overlap_factor(FOLDS)))
    return value, Interval(
        low=max(0.0, value - wider * (value - interval.low)),
        high=min(1.0, value + wider * (interval.high - value)),
        confidence=confidence,
        method=f"{interval.method}, overlap",
    )
