"""What is sampled, clipped and protected as one: a row, or all rows of a person.

A person is in a step with all of up to K of their rows; the mean of those rows' gradients is clipped as a
whole, so that a person adds no more to a sum than the clipping norm, however many rows they have and whatever
stands in them (McMahan et al. 2018, arXiv:1710.06963). Which rows of a person are used in a step, and with
what weight, depends on the number of that person's own rows and on the number of the step, never on another
person: with one person more or fewer everyone else contributes what they contributed.

Of augmented copies of a row the gradients are averaged before clipping too (De et al. 2022,
arXiv:2204.13650): any number of copies is one contribution.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from auditkit.data.dataset import Dataset, IntArray
from auditkit.data.sequences import targets_of
from auditkit.errors import UsageError

Unit = Literal["person", "row"]
Batch = tuple[Tensor, Tensor, Tensor | None]
"""Inputs, targets and weights of rows, those of a unit in sequence, as the engine takes them."""

ROWS_PER_PERSON = 4
"""Of a person in one step where the user says nothing. A constant: the largest number of rows that anyone has
would tell about that person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRows:
    """Which rows belong to whom.

    Attributes:
        rows: All rows, those of a person in sequence, shape ``(n_rows,)``.
        first: Where those of each person begin in ``rows``, shape ``(n_persons,)``.
        n: How many each has, shape ``(n_persons,)``.
        per_step: K, the most rows that a person is in one step with.
    """

    rows: IntArray
    first: IntArray
    n: IntArray
    per_step: int

    @classmethod
    def of(cls, person: IntArray, per_step: int) -> "PersonRows":
        """From whatever numbers tell persons apart, one per row.

        Raises:
            UsageError: ``per_step`` is not positive.
        """
        if per_step < 1:
            raise UsageError(f"private training: rows_per_person must be at least 1, got {per_step}")
        rows = np.argsort(person, kind="stable").astype(np.int64)
        _, first, n = np.unique(person[rows], return_index=True, return_counts=True)
        return cls(rows=rows, first=first.astype(np.int64), n=n.astype(np.int64), per_step=per_step)

    def chosen(self, persons: IntArray, step: int) -> tuple[IntArray, Tensor]:
        """The rows of some persons in a step, ``per_step`` of each in sequence, and their weights.

        Whoever has more rows takes part with a window that moves on by K from step to step, so that all
        rows get their turn. Whoever has fewer is filled up with rows of their own that have weight 0.

        Args:
            persons: Indices, shape ``(m,)``.
            step: Number of the step.

        Returns:
            Rows and weights, shape ``(m * per_step,)`` each; the weights of a person add up to 1.
        """
        n, place = self.n[persons, None], np.arange(self.per_step)
        start = step * self.per_step % n * (n > self.per_step)
        rows = self.rows[self.first[persons, None] + (start + place) % n]
        used = np.minimum(n, self.per_step)
        weights = np.where(place < used, 1 / used, 0.0).astype(np.float32)
        return rows.ravel(), torch.from_numpy(weights.ravel())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateUnits:
    """The private rows on the device of the model, and the units that they make.

    Attributes:
        inputs: All rows, shape ``(n_rows, *d)``.
        targets: Of all rows.
        persons: ``None`` where every row is a unit of its own.
        copies: Augmented copies of each row.
        augment: Changes every row of a batch in a way of its own; ``None`` takes rows as they are. Its
            randomness is part of the mechanism: certified, it must be secret.
    """

    inputs: Tensor
    targets: Tensor
    persons: PersonRows | None = None
    copies: int = 1
    augment: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(
        cls,
        data: Dataset,
        device: torch.device,
        persons: PersonRows | None = None,
        *,
        copies: int = 1,
        augment: Callable[[Tensor], Tensor] | None = None,
    ) -> "PrivateUnits":
        """Of encoded rows, with what a model is to answer.

        Raises:
            UsageError: Copies are asked for without anything that tells them apart.
        """
        refuse_equal_copies(copies, is_changed=augment is not None)
        return cls(
            inputs=data.inputs.to(device),
            targets=targets_of(data).to(device),
            persons=persons,
            copies=copies,
            augment=augment,
        )

    def __len__(self) -> int:
        return len(self.inputs) if self.persons is None else len(self.persons.n)

    @property
    def unit(self) -> Unit:
        """What is one."""
        return "row" if self.persons is None else "person"

    @property
    def rows_per_unit(self) -> int:
        """Rows that a unit has in a batch."""
        return self.copies * (1 if self.persons is None else self.persons.per_step)

    def batch(self, units: IntArray, step: int) -> Batch:
        """The rows of some units in a step.

        Args:
            units: Indices; may be empty.
            step: Number of the step.
        """
        rows, weights = units, None
        if self.persons is not None:
            rows, weights = self.persons.chosen(units, step)
        index = torch.from_numpy(rows).to(self.inputs.device)
        inputs, targets = self.inputs[index], self.targets[index]
        if self.augment is None or not len(index):
            return inputs, targets, None if weights is None else weights.to(inputs.device)
        inputs = self.augment(inputs.repeat_interleave(self.copies, dim=0))
        targets = targets.repeat_interleave(self.copies, dim=0)
        if weights is not None:
            weights = weights.repeat_interleave(self.copies).to(inputs.device) / self.copies
        return inputs, targets, weights


def refuse_equal_copies(copies: int, *, is_changed: bool) -> None:
    """Refuse several copies of a row that nothing tells apart.

    Raises:
        UsageError: That is so, or there would be none.
    """
    if copies < 1 or (copies > 1 and not is_changed):
        raise UsageError(
            f"private training: augmentation_multiplicity is {copies}; above 1 it needs an augmentation, "
            "such as augmentation: {shift: 2}, or all copies of a row are alike"
        )


class MayNamePersons(Protocol):
    """Rows, encoded or not, that may say which of them are of one person."""

    @property
    def name(self) -> str:
        """What a reader calls them."""
        ...

    @property
    def person(self) -> object | None:
        """``None`` where persons are not told apart."""
        ...


def unit_of(data: MayNamePersons, wanted: Unit | None) -> Unit:
    """The unit that is protected: persons wherever the data tell them apart, unless rows are asked for.

    Raises:
        UsageError: Persons are asked for and the data do not tell them apart.
    """
    if wanted == "person" and data.person is None:
        raise UsageError(
            f"{data.name}: unit: person needs to know which rows are of one person; name the column in "
            "data.person, or write unit: row"
        )
    return wanted or ("row" if data.person is None else "person")


def persons_of(data: Dataset, unit: Unit, rows_per_person: int) -> PersonRows | None:
    """The persons of ``data``; ``None`` where rows are the unit."""
    if unit == "row" or data.person is None:
        return None
    return PersonRows.of(data.person, rows_per_person)
