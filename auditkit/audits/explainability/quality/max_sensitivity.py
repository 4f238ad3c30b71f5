"""How far an explanation moves when the row moves by almost nothing.

Source: Yeh et al. (2019), arXiv:1901.09392 (max-sensitivity); Agarwal et al. (2022), arXiv:2203.06877
(relative output stability).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.quality.defined import quotient
from auditkit.audits.explainability.quality.explaining import Explain
from auditkit.audits.explainability.quality.outputs import at_inputs, class_of, logits_of
from auditkit.audits.explainability.quality.random_order import permuted_within
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.randomness import numpy_rng

RADIUS = 0.02
"""Largest change of each number, in its standard deviations over the rows."""


@dataclass(frozen=True, slots=True)
class MaxSensitivity:
    """Of each row, shape ``(n,)``; NaN where nothing can be compared.

    Attributes:
        relative: Largest distance of the explanation moved to, relative to the length of the explanation.
        random: The same where both explanations are put in random order.
        per_output: ``relative`` divided by the distance that the logits moved; its largest value.
    """

    relative: FloatArray
    random: FloatArray
    per_output: FloatArray


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Rows moved a little.

    Attributes:
        rows: Where they moved to.
        same_class: Rows whose explained class is still the predicted one, shape ``(n,)``.
        logits_moved: Distance between the logits, shape ``(n,)``.
    """

    rows: ExplainedRows
    same_class: BoolArray
    logits_moved: FloatArray


def neighbours(rows: ExplainedRows, n_neighbours: int, rng: np.random.Generator) -> Iterator[Neighbour]:
    """Rows moved within a box around them, one move of all rows at a time."""
    logits = logits_of(rows)
    before, target = at_inputs(rows, logits), class_of(rows.target).cpu().numpy()
    radius = RADIUS * rows.inputs.double().std(dim=0, correction=0)
    for _ in range(n_neighbours):
        steps = torch.from_numpy(rng.uniform(-1.0, 1.0, rows.inputs.shape)).to(radius) * radius
        moved = replace(rows, inputs=rows.inputs + steps.to(rows.inputs.dtype))
        after = at_inputs(moved, logits)
        yield Neighbour(moved, after.argmax(axis=1) == target, np.linalg.norm(after - before, axis=1))


def max_sensitivity(
    rows: ExplainedRows, explainers: Mapping[str, Explain], near: Iterable[Neighbour], seed: int
) -> dict[str, MaxSensitivity]:
    """Largest relative movement of each method's explanations, all on the same neighbours.

    Args:
        rows: Where they start.
        explainers: By name.
        near: Of :func:`neighbours`.
        seed: Of the random orders.
    """
    rng = numpy_rng(seed, "random neighbours")
    before = {name: explain(rows, 0) for name, explain in explainers.items()}
    found = {name: np.full((3, len(rows.inputs)), np.nan) for name in explainers}
    for draw, neighbour in enumerate(near, start=1):
        for name, explain in explainers.items():
            moves = _moves(before[name], explain(neighbour.rows, draw), neighbour, rng)
            found[name] = np.fmax(found[name], np.where(neighbour.same_class, moves, np.nan))
    return {name: MaxSensitivity(*values) for name, values in found.items()}


def _moves(
    before: FloatArray, after: FloatArray, neighbour: Neighbour, rng: np.random.Generator
) -> FloatArray:
    """The three quantities of :class:`MaxSensitivity` for one neighbour, shape ``(3, n)``."""
    present, moved = neighbour.rows.present, neighbour.logits_moved
    relative = _relative(after - before, before)
    shuffled = permuted_within(after, present, rng) - permuted_within(before, present, rng)
    per_output = quotient(relative, moved, np.asarray(moved > 0))
    return np.stack([relative, _relative(shuffled, before), per_output])


def _relative(distance: FloatArray, whole: FloatArray) -> FloatArray:
    norms, length = np.linalg.norm(distance, axis=1), np.linalg.norm(whole, axis=1)
    return quotient(norms, length, np.asarray(length > 0))
