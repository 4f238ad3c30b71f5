"""The 1,797 handwritten 8x8 digits that scikit-learn carries (Alpaydin and Kaynak 1998)."""

import numpy as np
from sklearn.datasets import load_digits

from auditkit.config.model import DataConfig
from auditkit.data.pictures import rows_of_pictures
from auditkit.data.rows import Rows
from auditkit.data.splits import held_out_by_class

TEST_FRACTION = 0.3
LARGEST_GREY = 16.0


def digits_rows(config: DataConfig, split: str) -> Rows:
    """Train, test (30 % of every digit, always the same rows) or all in file order."""
    bunch = load_digits()
    rows = rows_of_pictures(
        config,
        name="Digits",
        split=split,
        images=np.asarray(bunch.images, dtype=np.uint8),
        labels=np.asarray(bunch.target, dtype=np.int64),
        divisor=LARGEST_GREY,
    )
    if split == "all":
        return rows
    test = held_out_by_class(rows.labels, TEST_FRACTION, name="digits")
    return rows.take(np.flatnonzero(test if split == "test" else ~test))
