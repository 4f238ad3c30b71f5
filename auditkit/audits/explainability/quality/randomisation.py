"""Whether an explanation changes when the weights that it explains are drawn anew.

Source: Adebayo et al. (2018), arXiv:1810.03292; Hedstroem et al. (2024), arXiv:2405.02383 (full randomisation
and the rise of entropy, because similarity layer by layer is biased by noise).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import rankdata

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.quality.defined import quotient
from auditkit.audits.explainability.quality.explaining import Explain
from auditkit.audits.explainability.quality.ties import rounded
from auditkit.data.dataset import BoolArray, FloatArray

BINS = 100
"""Of the histogram of an explanation; fewer where there are fewer than four units for each."""

RandomModel = Callable[[], AbstractContextManager[ExplainedRows]]
"""Opens a model drawn anew, as the same rows and targets seen by it."""


@dataclass(frozen=True, slots=True)
class Randomisation:
    """What became of one method's explanations.

    Attributes:
        similarity: Rank correlation with the explanation of the trained model, shape ``(n, models)``.
        entropy_rise: Of the histogram, relative to that of the trained model, same shape.
    """

    similarity: FloatArray
    entropy_rise: FloatArray


Name = TypeVar("Name", bound=Hashable)


def randomisation(
    rows: ExplainedRows, explainers: Mapping[Name, Explain], models: Sequence[RandomModel]
) -> dict[Name, Randomisation]:
    """Explanations of each model drawn anew beside those of the trained one, for every method.

    Args:
        rows: Seen by the trained model.
        explainers: By name; all meet the same random models.
        models: Each is opened once.
    """
    before = {name: explain(rows, 0) for name, explain in explainers.items()}
    similar = {name: np.full((len(rows.inputs), len(models)), np.nan) for name in explainers}
    rises = {name: np.full((len(rows.inputs), len(models)), np.nan) for name in explainers}
    for at, model in enumerate(models):
        with model() as drawn:
            for name, explain in explainers.items():
                after = explain(drawn, at + 1)
                similar[name][:, at] = similarity(before[name], after, rows.present)
                rises[name][:, at] = entropy_rise(before[name], after, rows.present)
    return {name: Randomisation(similar[name], rises[name]) for name in explainers}


def similarity(first: FloatArray, second: FloatArray, present: BoolArray) -> FloatArray:
    """Rank correlation of absolute attributions of each row, shape ``(n,)``.

    Units that both maps give nothing are left out: a pixel that equals the baseline gets 0 from every
    method that asks what it adds, whatever the model, and must not count as agreement.
    """
    a, b = rounded(np.abs(first)), rounded(np.abs(second))
    counted = present & ((a != 0) | (b != 0))
    a, b = _centred_ranks(a, counted), _centred_ranks(b, counted)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.clip(quotient((a * b).sum(axis=1), spread, np.asarray(spread > 0)), -1.0, 1.0)


def _centred_ranks(values: FloatArray, counted: BoolArray) -> FloatArray:
    """Ranks among the counted units of each row minus their mean; ties share a rank; 0 for the others.

    What is not counted is put below everything, which moves all other ranks of the row by the same number.
    """
    ranks = np.where(counted, rankdata(np.where(counted, values, -1.0), axis=1), 0.0)
    n = counted.sum(axis=1, keepdims=True)
    return np.where(counted, ranks - ranks.sum(axis=1, keepdims=True) / np.maximum(n, 1), 0.0)


def entropy_rise(before: FloatArray, after: FloatArray, present: BoolArray) -> FloatArray:
    """Relative rise of the discrete entropy of each explanation, shape ``(n,)``; NaN where it was 0."""
    first, second = (_entropy(attributions, present) for attributions in (before, after))
    return quotient(second - first, first, np.asarray(first > 0))


def _entropy(attributions: FloatArray, present: BoolArray) -> FloatArray:
    """In nats, of the histogram of the values of each row between the smallest and the largest."""
    n_bins = int(np.clip(present.sum(axis=1).max() // 4, 2, BINS))
    low = np.where(present, attributions, np.inf).min(axis=1, keepdims=True)
    high = np.where(present, attributions, -np.inf).max(axis=1, keepdims=True)
    width = np.where(high > low, high - low, 1.0)
    place = np.clip(((attributions - low) / width * n_bins).astype(np.int64), 0, n_bins - 1)
    counts = np.zeros((len(attributions), n_bins))
    np.add.at(counts, (np.nonzero(present)[0], place[present]), 1.0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1))
