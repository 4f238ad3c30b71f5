"""Tables whose figures are planted, for tests of private training."""

from collections.abc import Iterable

import numpy as np
import torch

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import NumericFeature, TablePreprocessing

CLASSES = ("no", "yes")
PLANTED = {"age": (40.0, 12.0), "year": (2010.0, 5.0), "balance": (-3e4, 8e3)}
"""Mean and scale of each column."""


def steps_of(names: Iterable[str]) -> TablePreprocessing:
    """Numeric columns in their own unit."""
    return TablePreprocessing(
        target="t",
        classes=CLASSES,
        features=tuple(NumericFeature(name=name, mean=0.0, scale=1.0, fill=0.0) for name in names),
    )


def table(n: int = 1500, seed: int = 0, *, persons: bool = False) -> Dataset:
    """Rows in their own unit, two classes that age and year tell apart."""
    rng = np.random.default_rng(seed)
    standard = rng.normal(size=(n, len(PLANTED)))
    means, scales = (np.array(part) for part in zip(*PLANTED.values(), strict=True))
    return Dataset(
        name="planted",
        source="test",
        split=None,
        inputs=torch.tensor(standard * scales + means),
        y_true=(standard[:, 0] + standard[:, 1] > 0).astype(np.int64),
        classes=CLASSES,
        person=np.arange(n, dtype=np.int64) // 2 if persons else None,
    )
