"""Which classes are explained, and on which of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.concepts.examples import units_of
from auditkit.data.dataset import Dataset, IntArray
from auditkit.errors import UsageError, closest
from auditkit.statistics.counts import positive_class

FEWEST = 10
"""Rows of a class; a class with fewer is not explained unless it was asked for."""

MOST_CLASSES = 20
"""Explained without being named: those with most rows."""


@dataclass(frozen=True, slots=True)
class ClassRows:
    """Rows that are explained.

    Attributes:
        classes: Names of the classes.
        inputs: Shape ``(n, *d)``.
        target: Index of the class of each row among all classes, shape ``(n,)``.
        of_class: Which of ``classes`` each row belongs to, shape ``(n,)``.
        units: Person or row of each, shape ``(n,)``.
    """

    classes: tuple[str, ...]
    inputs: torch.Tensor
    target: torch.Tensor
    of_class: IntArray
    units: IntArray


def rows_of_classes(data: Dataset, names: Sequence[str], most: int, rng: np.random.Generator) -> ClassRows:
    """At most ``most`` rows of each class, by their true class, drawn with the seed.

    Without names, of two classes the favourable one (else the second), of more all that have enough rows.

    Raises:
        UsageError: A name is no class.
    """
    absent = [name for name in names if name not in data.classes]
    if absent:
        raise UsageError(f"concepts: classes names {absent[0]!r}. {closest(absent[0], data.classes)}")
    chosen = [data.classes.index(name) for name in names] or _usual(data)
    drawn = [rng.permutation(np.flatnonzero(data.y_true == code))[:most] for code in chosen]
    rows = np.concatenate([np.sort(one) for one in drawn]).astype(np.int64)
    return ClassRows(
        classes=tuple(data.classes[code] for code in chosen),
        inputs=data.inputs[torch.from_numpy(rows)],
        target=torch.from_numpy(data.y_true[rows]),
        of_class=np.repeat(np.arange(len(chosen)), [len(one) for one in drawn]),
        units=units_of(data)[rows],
    )


def _usual(data: Dataset) -> list[int]:
    """Of two classes one says all of the other."""
    if len(data.classes) == 2:
        return [positive_class(2, data.positive_index) or 0]
    counts = np.bincount(data.y_true, minlength=len(data.classes))
    frequent = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    return sorted(int(code) for code in frequent if counts[code] >= FEWEST)
