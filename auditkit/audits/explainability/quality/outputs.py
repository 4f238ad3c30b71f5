"""What the model says of rows that are changed in many ways: flat batches of (row, change)."""

from collections.abc import Callable

import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.token_embedding import vectors_in_place
from auditkit.audits.explainability.token_score import PathScore
from auditkit.data.dataset import FloatArray

Output = Callable[[Tensor, Tensor], Tensor]
"""From ``(inputs, target)`` of ``b`` rows to one number each, shape ``(b,)``, or several, ``(b, k)``."""


def logits_of(rows: ExplainedRows) -> Output:
    """Of all classes, shape ``(b, k)``, as a function of the inputs that are explained."""
    score, subject = rows.score, rows.white_box
    if not isinstance(score, PathScore):
        return lambda inputs, _target: subject.logits(inputs)
    embedding = score.embedding

    def of_vectors(vectors: Tensor, target: Tensor) -> Tensor:
        ids = target[:, 1:]
        with vectors_in_place(embedding, ids, vectors):
            return subject.logits(ids)

    return of_vectors


def class_of(target: Tensor) -> Tensor:
    """The explained class, shape ``(b,)``; targets of texts hold the ids of the row behind it."""
    return target if target.ndim == 1 else target[:, 0]


def probability_of(rows: ExplainedRows) -> Output:
    """Of the explained class, shape ``(b,)``."""
    logits = logits_of(rows)

    def probability(inputs: Tensor, target: Tensor) -> Tensor:
        all_classes = torch.softmax(logits(inputs, target).double(), dim=1)
        return all_classes.gather(1, class_of(target).unsqueeze(1)).squeeze(1)

    return probability


def evaluated(
    rows: ExplainedRows, output: Output, row: Tensor, changed: Callable[[slice], Tensor]
) -> FloatArray:
    """``output`` for a flat list of changed rows, without gradients.

    Args:
        rows: Whose targets are used.
        output: What is computed.
        row: Which row each entry of the list changes, shape ``(q,)``.
        changed: The inputs of a part of the list, shape ``(b, *d)``; only so many are held at once.

    Returns:
        Shape ``(q,)`` or ``(q, k)``, float64.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, len(row), rows.batch_size):
            part = slice(start, start + rows.batch_size)
            parts.append(output(changed(part), rows.target[row[part]]).double().cpu())
    return torch.cat(parts).numpy() if parts else torch.zeros(0, dtype=torch.float64).numpy()


def at_inputs(rows: ExplainedRows, output: Output) -> FloatArray:
    """``output`` for the rows themselves."""
    every = torch.arange(len(rows.inputs), device=rows.inputs.device)
    return evaluated(rows, output, every, lambda part: rows.inputs[part])


def at_baseline(rows: ExplainedRows, output: Output) -> FloatArray:
    """``output`` for the baseline, with the target of every row."""
    every = torch.arange(len(rows.inputs), device=rows.inputs.device)
    return evaluated(
        rows,
        output,
        every,
        lambda part: rows.baseline.expand(len(every[part]), *rows.baseline.shape[1:]),
    )
