"""A row that tells nothing, made of values that rows as they were read have."""

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_score import Baseline
from auditkit.data.dataset import FeatureSpace, FloatArray
from auditkit.records import Message


def as_read_baseline(inputs: Tensor, features: FeatureSpace) -> Baseline:
    """The middle of each column: a value that its type allows, so that the model reads it as any other.

    Means of numbers; of columns that hold whole numbers alone, which may be counts or codes, the (lower)
    median; of texts the most frequent one, the first of equals. Missing values do not count, except where
    there are no others.

    Args:
        inputs: Shape ``(n, *d)``, NaN where a value is missing.
        features: Tells which columns hold codes of texts.
    """
    columns = inputs.flatten(1).double().numpy().T
    levels = features.levels or ((),) * len(columns)
    middle = np.array([_middle(column, own) for column, own in zip(columns, levels, strict=True)])
    meaning = Message(
        text="The baseline has the mean of each number among the explained rows (the median where all are "
        "whole) and the most frequent level of each text."
    )
    return Baseline(torch.from_numpy(middle).to(inputs.dtype).view(1, *inputs.shape[1:]), meaning)


def _middle(column: FloatArray, levels: tuple[str, ...]) -> float:
    known = np.sort(column[~np.isnan(column)])
    if not len(known):
        return float("nan")
    if levels:
        return float(np.bincount(known.astype(np.int64)).argmax())
    is_whole = bool((known == np.floor(known)).all())
    return float(known[(len(known) - 1) // 2] if is_whole else known.mean())
