"""Reweighing: rows weigh so much that attribute and label are independent.

Source: Kamiran and Calders (2012), Knowledge and Information Systems 33:1-33, section 4.3.
"""

from dataclasses import replace

import numpy as np

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.variants.mitigate_task import BinaryTask


def reweighing_factors(task: BinaryTask) -> FloatArray:
    """``P(a) P(y) / P(a, y)`` of every row, shape ``(n,)``; 1 where the attribute is unknown.

    The probabilities are weighted shares of the rows with a known attribute.
    """
    known = task.known
    cells = np.zeros((len(task.levels), 2))
    np.add.at(cells, (task.group[known], task.positive[known].astype(np.int64)), task.weight[known])
    joint = cells / cells.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    factors = np.divide(independent, joint, out=np.ones_like(joint), where=joint > 0)
    of_rows = np.ones(len(task.group))
    of_rows[known] = factors[task.group[known], task.positive[known].astype(np.int64)]
    return of_rows


def reweighed(data: Dataset, task: BinaryTask) -> Dataset:
    """The same rows, with their weights multiplied by :func:`reweighing_factors`."""
    return replace(data, sample_weight=task.weight * reweighing_factors(task))


def single_label_levels(task: BinaryTask) -> tuple[str, ...]:
    """Groups whose rows all have the same label: no weights make their rate that of the others."""
    found = []
    for group, level in enumerate(task.levels):
        labels = task.positive[(task.group == group) & (task.weight > 0)]
        if labels.all() or not labels.any():
            found.append(level)
    return tuple(found)
