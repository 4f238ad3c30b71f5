"""Explaining rows again: other inputs, other draws, another model, with the same methods."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.randomness import derive_seed

Explain = Callable[[ExplainedRows, int], FloatArray]
"""Attributions of rows, shape ``(n, m)``, from the draws of that number; the same ones each time it is asked.
What compares explanations takes other draws for each: a method whose draws decide does not repeat itself."""

AT_ONCE = 16
"""Rows in one evaluation where explanations are subtracted from one another: the last digits, which depend on
how many rows stand beside one, would show in the small differences."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """A method with a seed.

    Attributes:
        method: What explains.
        seed: Of all draws.
        is_coarse: Whether the cheaper form of the method is used where it has one.
    """

    method: AttributionMethod
    seed: int
    is_coarse: bool = False

    def __call__(self, rows: ExplainedRows, draw: int = 0) -> FloatArray:
        """Attributions, shape ``(n, m)``; a row whose attributions are not finite explains nothing: 0."""
        attribute = (self.method.coarse if self.is_coarse else None) or self.method.attribute
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.method.name, str(draw)))
        found = attribute(rows, generator)
        return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, 0.0)


def some_of(rows: ExplainedRows, index: IntArray) -> ExplainedRows:
    """The rows at ``index``, in that order, evaluated few at a time."""
    return replace(rows.take(index), batch_size=min(rows.batch_size, AT_ONCE))
