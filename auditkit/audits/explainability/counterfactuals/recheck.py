"""Constraints checked again on the finished rows, by other code than that which kept them.

What is checked are the inputs that the subject was asked about, beside those of the row as it is. Nothing
here calls the projection, the bounds or the decoding of the search.
"""

import numpy as np

from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.features import (
    FeatureTable,
    LevelFeature,
    NumberFeature,
)
from auditkit.data.dataset import BoolArray, FloatArray

_SINGLE = 2.0**-21
"""Relative error of a value that went through single precision and back."""


def violations(
    before: FloatArray, after: FloatArray, table: FeatureTable, constraints: Constraints
) -> BoolArray:
    """Rows that break a constraint, shape ``(n,)``.

    Args:
        before: Inputs of the rows as they are, shape ``(n, d)``.
        after: Inputs of their counterfactuals.
        table: What the columns mean.
        constraints: What was asked for.
    """
    missing = np.isnan(before)
    same = (before == after) | (missing & np.isnan(after))
    broken = np.asarray((missing != np.isnan(after)).any(axis=1))
    may_differ = np.zeros(before.shape[1], dtype=np.bool_)
    for feature in table.features:
        columns = list(feature.columns)
        may_differ[columns] = True
        changed = ~same[:, columns].all(axis=1)
        if feature.name in constraints.immutable or feature.name in constraints.sensitive:
            broken |= changed
        if isinstance(feature, LevelFeature):
            broken |= changed & ~_is_a_level(feature, after[:, columns])
        else:
            broken |= changed & ~_is_permitted(feature, before, after, constraints)
    return np.asarray(broken | ~same[:, ~may_differ].all(axis=1))


def _is_a_level(feature: LevelFeature, block: FloatArray) -> BoolArray:
    """Whether exactly one level that is offered is set."""
    offered = np.array(feature.offered, dtype=np.bool_)
    if feature.is_code:
        whole = (block[:, 0] % 1 == 0) & (block[:, 0] >= 0) & (block[:, 0] < len(offered))
        return np.asarray(whole & offered[np.where(whole, block[:, 0], 0).astype(np.int64)])
    of_zeros_and_one = ((block == 0) | (block == 1)).all(axis=1) & (block.sum(axis=1) == 1)
    return np.asarray(of_zeros_and_one & (block[:, offered[: block.shape[1]]].sum(axis=1) == 1))


def _is_permitted(
    feature: NumberFeature, before: FloatArray, after: FloatArray, constraints: Constraints
) -> BoolArray:
    """Direction, range and decimals of a number that changed; one that was missing may not."""
    was, now = before[:, feature.column], after[:, feature.column]
    value = feature.mean + feature.scale * now
    slack = _SINGLE * np.abs(feature.scale * now) + 1e-9 * (1 + abs(feature.mean))
    low, high = constraints.ranges.get(feature.name, (feature.low, feature.high))
    fine = (value >= low - slack) & (value <= high + slack)
    direction = constraints.monotone.get(feature.name)
    if direction == "increasing":
        fine &= now > was
    elif direction == "decreasing":
        fine &= now < was
    if feature.decimals is not None:
        units = value * 10.0**feature.decimals
        fine &= np.abs(units - np.rint(units)) <= slack * 10.0**feature.decimals
    if feature.flag is not None:
        fine &= before[:, feature.flag] == 0
    return np.asarray(fine)
