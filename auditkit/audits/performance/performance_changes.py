"""Paired changes between two subjects on the same rows."""

import numpy as np

from auditkit.audits.performance.scores import log_odds, one_class
from auditkit.data.dataset import BoolArray, Dataset, FloatArray
from auditkit.records import Measurement, Message, Unit
from auditkit.statistics.auc import auc_change_delong
from auditkit.statistics.intervals import effective_n, mean_interval
from auditkit.statistics.paired import tango
from auditkit.subjects.subject import Predictions


def accuracy_change(before: Predictions, after: Predictions, data: Dataset, confidence: float) -> Measurement:
    """Change of the share of right predictions, with Tango's interval on the rows judged differently."""
    everyone = np.ones(len(data), dtype=np.bool_)
    return _share_change("accuracy", before, after, data, rows=everyone, group={}, confidence=confidence)


def recall_changes(
    before: Predictions, after: Predictions, data: Dataset, confidence: float
) -> list[Measurement]:
    """The same for the rows of each class."""
    return [
        _share_change(
            "recall",
            before,
            after,
            data,
            rows=data.y_true == index,
            group={"class": label},
            confidence=confidence,
        )
        for index, label in enumerate(data.classes)
    ]


def mean_change(
    name: str,
    before: FloatArray,
    after: FloatArray,
    data: Dataset,
    confidence: float,
    *,
    unit: Unit = "1",
) -> Measurement:
    """Change of a mean of one value per row, lower being better; Student's interval of the differences."""
    change = after - before
    return Measurement(
        metric=f"{name}.change",
        value=float(np.average(change, weights=data.sample_weight)),
        unit=unit,
        n=len(data),
        better="lower",
        interval=mean_interval(change, weights=data.sample_weight, confidence=confidence),
    )


def auc_change(
    before: Predictions, after: Predictions, data: Dataset, positive: int, confidence: float
) -> Measurement:
    """Change of the AUC; its interval knows that both areas come from the same rows."""
    actual = data.y_true == positive
    if actual.all() or not actual.any():
        return Measurement(
            metric="auc.change", value=None, n=len(data), better="higher", missing=one_class(data)
        )
    first, second = log_odds(before, positive), log_odds(after, positive)
    value, interval = auc_change_delong(
        (first[actual], first[~actual]), (second[actual], second[~actual]), confidence=confidence
    )
    return Measurement(metric="auc.change", value=value, n=len(data), better="higher", interval=interval)


def _share_change(
    name: str,
    before: Predictions,
    after: Predictions,
    data: Dataset,
    *,
    rows: BoolArray,
    group: dict[str, str],
    confidence: float,
) -> Measurement:
    weights = np.ones(len(data)) if data.sample_weight is None else data.sample_weight
    total, size = float(weights[rows].sum()), effective_n(weights[rows])
    if total <= 0:
        return Measurement(
            metric=f"{name}.change",
            value=None,
            n=0,
            better="higher",
            group=group,
            missing=Message(text="No row has this label."),
        )
    right_before, right_after = before.y_pred == data.y_true, after.y_pred == data.y_true
    gained = float(weights[rows & right_after & ~right_before].sum()) / total
    lost = float(weights[rows & right_before & ~right_after].sum()) / total
    return Measurement(
        metric=f"{name}.change",
        value=gained - lost,
        n=int(rows.sum()),
        better="higher",
        group=group,
        interval=tango(gained * size, lost * size, size, confidence=confidence),
    )
