"""A small regression whose right answers are known: the outcome is linear in the inputs, plus noise."""

import numpy as np
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, FloatArray, GroupColumn
from auditkit.data.preprocessing import NumericFeature, ValueTablePreprocessing
from auditkit.errors import DataError
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng
from auditkit.subjects.torch_subject import TorchSubject

FEATURES = ("size", "age", "distance")
SLOPES = (2.0, -1.0, 0.5)
CENTRE, SPREAD, NOISE = 100.0, 10.0, 1.0


def tiny_value_dataset(
    n: int = 120, *, seed: int = 0, groups: tuple[str, ...] = ("a", "b"), member_share: float | None = 0.5
) -> Dataset:
    """Rows whose outcome is ``100 + 10 (inputs @ (2, -1, 0.5) + noise)``, noise standard normal.

    Args:
        n: Rows, at least 1.
        seed: Another seed draws other rows from the same rule.
        groups: Levels of the sensitive feature ``group``, assigned at random and independent of all else.
        member_share: Share of rows marked as training rows (the first ones); ``None`` leaves it unknown.

    Raises:
        DataError: ``n`` is too small, or there is no group.
    """
    if n < 1 or not groups:
        raise DataError(f"tiny_value_dataset: got n={n}, groups={list(groups)}; expected n >= 1 and a group")
    rng = numpy_rng(seed, "tiny_value_dataset")
    inputs = rng.normal(size=(n, len(FEATURES))).astype(np.float32)
    noise = rng.normal(size=n) * NOISE
    return Dataset(
        name="tiny values",
        source="auditkit.testing",
        split=None,
        inputs=torch.from_numpy(inputs),
        y_true=np.zeros(n, dtype=np.int64),
        classes=(),
        target="price",
        features=FeatureSpace(FEATURES, tuple(range(len(FEATURES)))),
        sensitive_features={"group": GroupColumn(groups, rng.integers(0, len(groups), n))},
        is_member=None if member_share is None else np.arange(n) < round(member_share * n),
        outcome=CENTRE + SPREAD * (inputs @ np.array(SLOPES) + noise),
        task="regression",
        synthetic=True,
    )


def tiny_value_subject(*, seed: int = 0, name: str = "baseline") -> TorchSubject:
    """A linear model that knows the rule of :func:`tiny_value_dataset`, up to a small error from the seed."""
    error = 0.05 * numpy_rng(seed, "tiny_value_subject").normal(size=len(SLOPES))
    return linear_value_subject(np.array(SLOPES) + error, name=name)


def linear_value_subject(
    weights: FloatArray, *, centre: float = CENTRE, spread: float = SPREAD, name: str = "baseline"
) -> TorchSubject:
    """A subject that foretells ``centre + spread * (inputs @ weights)``; weights of shape ``(d,)``."""
    row = torch.from_numpy(np.asarray(weights, dtype=np.float32))[None]
    features = tuple(
        NumericFeature(name=f"x{index}", mean=0.0, scale=1.0, fill=0.0) for index in range(row.shape[1])
    )
    return TorchSubject.build(
        nn.Sequential(nn.Flatten(), linear_layer(row)),
        name=name,
        title="planted",
        kind="baseline" if name == "baseline" else "other",
        source="auditkit.testing",
        architecture=Architecture(name="planted"),
        classes=(),
        preprocessing=ValueTablePreprocessing(target="price", mean=centre, scale=spread, features=features),
    )
