"""Exclusive or: points around the four corners of the unit square, positive where the corners differ."""

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import FloatArray
from auditkit.data.memory_table import MemoryTable
from auditkit.data.roles import rows_of_table, with_defaults
from auditkit.data.rows import ObjectArray, Rows, texts
from auditkit.randomness import numpy_rng

ROWS = {"train": 2000, "test": 1000}
SPREAD = 0.1
CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def xor_rows(config: DataConfig, split: str) -> Rows:
    """As many points around every corner, moved by normal noise of 0.1; always the same points."""
    if split == "all":
        return xor_rows(config, "train").followed_by(xor_rows(config, "test"), split="all")
    corner = np.arange(ROWS[split]) % 4
    points = CORNERS[corner] + SPREAD * numpy_rng(0, "xor", split).standard_normal((ROWS[split], 2))
    differ = CORNERS[corner, 0] != CORNERS[corner, 1]
    columns: dict[str, FloatArray | ObjectArray] = {
        "x1": points[:, 0],
        "x2": points[:, 1],
        "differ": texts(["yes" if value else "no" for value in differ]),
    }
    full = with_defaults(config, target="differ", positive="yes")
    return rows_of_table(MemoryTable("xor", columns), full, name="XOR", split=split)
