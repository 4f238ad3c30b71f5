"""Every method goes through here: refused where it would be wrong, checked afterwards, leaving no trace."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.watched_calls import PROBED, NoRuleError, evaluation_mode
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.randomness import global_generators_seeded
from auditkit.records import Message
from auditkit.subjects.subject import Subject, WhiteBox

PRECISION: Final = Precision()
"""That of integrated gradients, asked of every method that promises to add up."""

ENOUGH: Final = 0.99
"""Share of rows whose attributions must add up where a method promises that exactly."""

_DRAWN: Final = 1e-4
"""Change of a score between two evaluations, relative to its size, that rounding does not explain."""


@dataclass(frozen=True, slots=True)
class Attributed:
    """What one method gives.

    Attributes:
        method: Which one.
        values: Of the units, shape ``(n, m)``, finite, 0 where a unit is not present.
        change: Score minus score of the baseline, shape ``(n,)``, for a method that promises to add up to it.
    """

    method: AttributionMethod
    values: FloatArray
    change: FloatArray | None = None

    @property
    def precision(self) -> Precision:
        """What is asked of the sums."""
        return PRECISION

    @property
    def gap_allowed(self) -> FloatArray:
        """Gap allowed for each row, shape ``(n,)``: relative to its change and to the spread over rows."""
        change = np.zeros(len(self.values)) if self.change is None else self.change
        return np.asarray(PRECISION.tolerance * (np.abs(change) + change.std()))

    @property
    def gap(self) -> FloatArray:
        """How far the attributions of each row are from adding up, shape ``(n,)``."""
        change = self.values.sum(axis=1) if self.change is None else self.change
        return np.asarray(np.abs(self.values.sum(axis=1) - change))

    @property
    def complete(self) -> BoolArray:
        """Rows whose gap is within the tolerance, shape ``(n,)``."""
        return np.asarray(self.gap <= self.gap_allowed)


def at_rest(subject: Subject) -> AbstractContextManager[None]:
    """Layers in evaluation mode within the block; nothing for a subject that only answers."""
    return evaluation_mode(subject.module) if isinstance(subject, WhiteBox) else nullcontext()


def attributed(method: AttributionMethod, rows: ExplainedRows, rng: torch.Generator) -> Attributed | Message:
    """Attributions by ``method``, or why there are none.

    Layers are in evaluation mode meanwhile, whatever they were in. The global generators are neither read nor
    moved by a method; a model that draws from them is refused.

    Args:
        method: Of the catalogue.
        rows: What to explain.
        rng: Where all draws come from.
    """
    with at_rest(rows.subject), global_generators_seeded(0):
        reason = drawn_at_random(rows) or method.obstacle(rows)
        if reason is not None:
            return reason
        try:
            values = method.attribute(rows, rng)
        except NoRuleError as error:
            return error.reason
        change = score_changes(rows) if method.adds_up else None
        reason = not_finite(values, change)
        if reason is not None:
            return reason
        found = Attributed(method, values, change)
    return _withheld(found) or found


def not_finite(values: FloatArray, change: FloatArray | None = None) -> Message | None:
    """Why attributions of shape ``(n, m)`` cannot be shown; ``None`` where they and their sums are finite."""
    finite = np.isfinite(values).all(axis=1)
    unusable = int((~finite if change is None else ~(finite & np.isfinite(change))).sum())
    if not unusable:
        return None
    return Message(
        text="attributions of {n} of {total} rows are not finite",
        values={"n": unusable, "total": len(values)},
    )


def _withheld(found: Attributed) -> Message | None:
    complete = float(found.complete.mean())
    if not found.method.exact or complete >= ENOUGH:
        return None
    worst = float(found.gap[~found.complete].max())
    return Message(
        text="attributions add up in {percent} % of rows only, with a gap of up to {gap} nat, so something "
        "in the model is not what {method} takes it for",
        values={
            "percent": float(f"{100 * complete:.3g}"),
            "gap": float(f"{worst:.3g}"),
            "method": found.method.name,
        },
    )


def score_changes(rows: ExplainedRows) -> FloatArray:
    """Score of each row minus that of the baseline with the same target, shape ``(n,)``."""
    parts = []
    with torch.no_grad():
        for at in range(0, len(rows.inputs), rows.batch_size):
            inputs, target = rows.inputs[at : at + rows.batch_size], rows.target[at : at + rows.batch_size]
            start = rows.baseline.expand_as(inputs)
            parts.append(rows.score(inputs, target).double() - rows.score(start, target).double())
    return np.asarray(torch.cat(parts).cpu().numpy())


def drawn_at_random(rows: ExplainedRows) -> Message | None:
    """Why a model cannot be explained that answers the same rows in two ways."""

    def scores() -> Tensor:
        with torch.no_grad():
            return rows.score(rows.inputs[:PROBED], rows.target[:PROBED])

    first, second = scores(), scores()
    if torch.allclose(first, second, rtol=_DRAWN, atol=_DRAWN * float(first.abs().mean()), equal_nan=True):
        return None
    return Message(
        text="the model draws at random in evaluation mode, too, so its scores are not those of the row"
    )
