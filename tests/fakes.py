"""Small hand-written subjects with known answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.data.dataset import Dataset, GroupColumn
from auditkit.records import SubjectCard
from auditkit.subjects.subject import Capability, Predictions


@dataclass(frozen=True, slots=True)
class TableSubject:
    """A subject that looks its predictions up: row ``i`` of the table belongs to inputs ``[i]``.

    Made for data from :func:`table_data`, whose inputs are row numbers, so that shards, subsets and shuffles
    of the rows keep their predictions.
    """

    card: SubjectCard
    log_probabilities: np.ndarray

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"predictions", "probabilities", "losses"})

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        rows = data.inputs[:, 0].numpy().astype(np.int64)
        return Predictions(self.log_probabilities[rows])


def table_card(classes: Sequence[str] = ("no", "yes"), name: str = "baseline") -> SubjectCard:
    """A card for a subject without weights."""
    return SubjectCard(
        name=name,
        title="table of predictions",
        source="memory",
        digest="0" * 64,
        architecture="table",
        n_parameters=None,
        size_b=None,
        classes=tuple(classes),
        capabilities=("losses", "predictions", "probabilities"),
    )


def predicting(
    y_pred: Sequence[int] | np.ndarray,
    *,
    classes: Sequence[str] = ("no", "yes"),
    name: str = "baseline",
    confidence: float = 0.9,
) -> TableSubject:
    """A subject that predicts these classes, each with the same confidence."""
    y_pred = np.asarray(y_pred, dtype=np.int64)
    rest = (1 - confidence) / (len(classes) - 1)
    probabilities = np.full((len(y_pred), len(classes)), rest)
    probabilities[np.arange(len(y_pred)), y_pred] = confidence
    return TableSubject(table_card(classes, name), np.log(probabilities))


def scoring(
    scores: Sequence[float] | np.ndarray, *, classes: Sequence[str] = ("no", "yes"), name: str = "baseline"
) -> TableSubject:
    """A binary subject whose probability of the second class is the score."""
    scores = np.clip(np.asarray(scores, dtype=np.float64), 1e-12, 1 - 1e-12)
    return TableSubject(table_card(classes, name), np.log(np.column_stack([1 - scores, scores])))


def table_data(
    y_true: Sequence[int] | np.ndarray,
    *,
    classes: Sequence[str] = ("no", "yes"),
    positive: str | None = "yes",
    sensitive_features: Mapping[str, Sequence[object]] | None = None,
    sample_weight: Sequence[float] | np.ndarray | None = None,
) -> Dataset:
    """Data whose inputs are row numbers."""
    y_true = np.asarray(y_true, dtype=np.int64)
    return Dataset(
        name="table",
        source="memory",
        split=None,
        inputs=torch.arange(len(y_true), dtype=torch.float64)[:, None],
        y_true=y_true,
        classes=tuple(classes),
        positive=positive,
        sensitive_features={
            key: GroupColumn.from_values(list(values)) for key, values in (sensitive_features or {}).items()
        },
        sample_weight=None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64),
    )
