"""Columns in memory, with what :mod:`auditkit.data.roles` asks of a table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.data.rows import ObjectArray, as_texts


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """Columns that were made, not read. ``file`` is what messages call them."""

    file: str
    columns: Mapping[str, FloatArray | ObjectArray]

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of ``columns``."""
        return tuple(self.columns)

    @property
    def numeric(self) -> frozenset[str]:
        """Those that hold numbers alone."""
        return frozenset(name for name, column in self.columns.items() if column.dtype != object)

    def column(self, name: str) -> FloatArray | ObjectArray:
        """As it was made."""
        return self.columns[name]

    def numbers(self, name: str) -> FloatArray:
        """As float64. Only for columns in ``numeric``."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def texts(self, name: str) -> ObjectArray:
        """As texts; ``None`` where missing."""
        return as_texts(self.columns[name])
