"""The methods that a user chose, as far as each can be used here, and what stands in for the first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability import attribution_measurements as figures
from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.integrated_gradients import Attributions, Precision
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.methods.safe_front import attributed, not_finite
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.records import Measurement, Message, Table, Unit

PATH = "integrated-gradients"
"""Works wherever gradients do."""

STAND_INS = (PATH, "kernel-shap")
"""The first of them that can be used stands in for a method that cannot; the last only asks for answers."""


@dataclass(frozen=True, slots=True)
class Usable:
    """What one method gave.

    Attributes:
        method: Its name.
        values: Attributions of units, shape ``(n, m)``, finite.
        signed: Whether they speak for and against.
        unit: Of the attributions: what is signed adds to the score.
        complete: Rows whose attributions add up, shape ``(n,)``; ``None`` where the method promises nothing.
        completeness: Figures of that.
    """

    method: str
    values: FloatArray
    signed: bool
    unit: Unit
    complete: BoolArray | None
    completeness: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """All methods asked for.

    Attributes:
        usable: The one that is shown in detail, then the others.
        refused: Name and reason of those that cannot be used.
        stands_in: Whether the first of ``usable`` was not asked for.
    """

    usable: tuple[Usable, ...]
    refused: tuple[tuple[str, Message], ...]
    stands_in: bool

    @property
    def first(self) -> Usable:
        """The one that is shown in detail."""
        return self.usable[0]

    def refusals(self) -> list[Measurement]:
        """A figure without a value for every method that cannot be used."""
        return [figures.refused(method, reason) for method, reason in self.refused]

    def refusal_table(self, asked: Sequence[str]) -> Table:
        """Which methods cannot be used, why, and what is shown in place of the first."""
        return Table(
            title=Message(
                text="{n} of {total} methods cannot be used on this model",
                values={"n": len(self.refused), "total": len(asked)},
            ),
            columns=(Message(text="Method"), Message(text="Reason"), Message(text="Used in its place")),
            rows=tuple(
                (method, reason, self.first.method if self.stands_in and method == asked[0] else "–")
                for method, reason in self.refused
            ),
        )


@dataclass(frozen=True, slots=True)
class Methods:
    """How methods are applied.

    Attributes:
        names: Of the catalogue, the one that is shown in detail first.
        precision: Of the path.
        confidence: Of the intervals.
        rng_of: The generator of a method by its name.
    """

    names: tuple[str, ...]
    precision: Precision
    confidence: float
    rng_of: Callable[[str], torch.Generator]

    def applied(self, rows: ExplainedRows) -> Chosen | Message:
        """All of them; a reason where not even the method that stands in can be used."""
        refused: list[tuple[str, Message]] = []
        first = self.by(self.names[0], rows, named=False)
        if isinstance(first, Message):
            refused.append((self.names[0], first))
            reason, first = first, self._stand_in(rows)
            if isinstance(first, Message):
                return reason
        usable = [first]
        for name in self.names[1:]:
            if name == first.method:
                continue
            found = self.by(name, rows, named=True)
            if isinstance(found, Message):
                refused.append((name, found))
            else:
                usable.append(found)
        return Chosen(tuple(usable), tuple(refused), first.method not in self.names)

    def _stand_in(self, rows: ExplainedRows) -> Usable | Message:
        found: Usable | Message = Message(text="")
        for name in STAND_INS:
            found = self.by(name, rows, named=False)
            if not isinstance(found, Message):
                break
        return found

    def by(self, name: str, rows: ExplainedRows, *, named: bool) -> Usable | Message:
        """One method; ``named`` figures carry its name."""
        if name == PATH:
            return self._along_the_path(rows, named=named)
        found = attributed(METHODS[name], rows, self.rng_of(name))
        if isinstance(found, Message):
            return found
        return Usable(
            name,
            found.values,
            found.method.signed,
            rows.unit if found.method.signed else "1",
            found.complete if found.change is not None else None,
            tuple(figures.completeness_of_method(found, self.confidence, named=named)),
        )

    def _along_the_path(self, rows: ExplainedRows, *, named: bool) -> Usable | Message:
        if rows.no_gradients is not None:
            return rows.no_gradients
        path: Attributions = along_the_path(rows, self.precision)
        reason = not_finite(path.values, path.change)
        if reason is not None:
            return reason
        measured = figures.completeness(path, self.confidence)
        group = {"method": PATH} if named else {}
        return Usable(
            PATH,
            path.values,
            True,
            rows.unit,
            np.asarray(path.complete),
            tuple(figure.model_copy(update={"group": group}) for figure in measured),
        )
