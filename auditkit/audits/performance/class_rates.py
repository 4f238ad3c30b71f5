"""Recall and precision of every class, their balance, and the confusion matrix."""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from auditkit.records import Dots, Estimate, Heatmap, Interval, Mark, Measurement, Message
from auditkit.statistics.counts import METRICS, CountTable, Rates, rates, share
from auditkit.statistics.intervals import rate, rate_bounds


def class_rates(table: CountTable, classes: Sequence[str], confidence: float) -> list[Measurement]:
    """Recall and precision of every class."""
    return [
        *_measurements("recall", recalls(table), classes, confidence),
        *_measurements("precision", precisions(table), classes, confidence),
    ]


def recalls(table: CountTable) -> Rates:
    """Share of each class's rows that are predicted as it."""
    return _diagonal_share(table, axis=1)


def precisions(table: CountTable) -> Rates:
    """Share of the rows predicted as each class that belong to it."""
    return _diagonal_share(table, axis=0)


def accuracy(table: CountTable, classes: Sequence[str], confidence: float) -> Measurement:
    """Share of right predictions, beside that of always predicting the most frequent class."""
    found = rates(table.cells(None), METRICS["accuracy"])
    label_weights = table.weight[0].sum(axis=1)
    most_frequent = int(label_weights.argmax())
    return Measurement(
        metric="accuracy",
        value=float(found.value[0]),
        n=int(table.n.sum()),
        better="higher",
        interval=rate(float(found.successes[0]), float(found.effective_n[0]), confidence=confidence),
        note=Message(
            text="Always predicting {label}, the most frequent class, would reach {percent} %.",
            values={
                "label": classes[most_frequent],
                "percent": f"{100 * float(label_weights[most_frequent] / label_weights.sum()):.1f}",
            },
        ),
    )


def balanced_accuracy(table: CountTable, classes: Sequence[str], confidence: float) -> Measurement:
    """Mean recall of the classes that occur; the errors of their intervals add up in squares."""
    found = recalls(table)
    present = found.defined
    values = found.value[present]
    low, high = rate_bounds(found.successes[present], found.effective_n[present], confidence=confidence)
    value = float(values.mean())
    absent = [label for label, occurs in zip(classes, present, strict=True) if not occurs]
    return Measurement(
        metric="balanced_accuracy",
        value=value,
        n=int(table.n.sum()),
        better="higher",
        interval=Interval(
            low=value - float(np.linalg.norm(values - low)) / len(values),
            high=value + float(np.linalg.norm(high - values)) / len(values),
            confidence=confidence,
            method="wilson, combined",
        ),
        note=Message(text="No row has the label: {labels}.", values={"labels": "; ".join(absent)})
        if absent
        else None,
    )


def confusion_heatmap(table: CountTable, classes: Sequence[str]) -> Heatmap:
    """Rows per label and prediction, unweighted."""
    counts = table.n[0]
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    true, predicted = np.unravel_index(int(wrong.argmax()), wrong.shape)
    title = Message(text="Every row is predicted right")
    if wrong.any():
        title = Message(
            text="Most frequent error: {label} taken for {prediction}, {n} of {rows} rows",
            values={
                "label": classes[int(true)],
                "prediction": classes[int(predicted)],
                "n": int(wrong.max()),
                "rows": int(counts[true].sum()),
            },
        )
    return Heatmap(
        title=title,
        row_axis=Message(text="Label"),
        column_axis=Message(text="Prediction"),
        row_labels=tuple(classes),
        column_labels=tuple(classes),
        values=tuple(tuple(float(count) for count in row) for row in counts),
    )


def recall_chart(table: CountTable, classes: Sequence[str], confidence: float) -> Dots:
    """Recall of every class with its interval."""
    found = recalls(table)
    worst = int(np.nanargmin(found.value))
    return Dots(
        title=Message(
            text="Recall is lowest for {label}: {percent} % of its rows are found",
            values={"label": classes[worst], "percent": f"{100 * found.value[worst]:.1f}"},
        ),
        axis=Message(text="Recall: share of a class's rows predicted as it"),
        marks=tuple(
            Mark(label=label, estimate=_estimate(found, index, confidence))
            for index, label in enumerate(classes)
        ),
        low=0.0,
        high=1.0,
    )


_EMPTY = MappingProxyType(
    {
        "recall": Message(text="No row has this label."),
        "precision": Message(text="No row is predicted as this class."),
    }
)


_WEIGHTLESS = Message(text="The rows it rests on carry no weight.")


def _diagonal_share(table: CountTable, *, axis: int) -> Rates:
    weight, squared, n = table.weight[0], table.weight_squared[0], table.n[0]
    return share(np.diagonal(weight), weight.sum(axis=axis), squared.sum(axis=axis), n.sum(axis=axis))


def _reason(found: Rates, index: int, name: str) -> Message:
    return _WEIGHTLESS if found.n[index] else _EMPTY[name]


def _interval(found: Rates, index: int, confidence: float) -> Interval:
    return rate(float(found.successes[index]), float(found.effective_n[index]), confidence=confidence)


def _estimate(found: Rates, index: int, confidence: float) -> Estimate:
    n = int(found.n[index])
    if not found.defined[index]:
        return Estimate(value=None, n=n, missing=_reason(found, index, "recall"))
    interval = _interval(found, index, confidence)
    return Estimate(value=float(found.value[index]), low=interval.low, high=interval.high, n=n)


def _measurements(name: str, found: Rates, classes: Sequence[str], confidence: float) -> list[Measurement]:
    return [
        Measurement(
            metric=name,
            value=float(found.value[index]) if found.defined[index] else None,
            n=int(found.n[index]),
            better="higher",
            group={"class": label},
            interval=_interval(found, index, confidence) if found.defined[index] else None,
            missing=None if found.defined[index] else _reason(found, index, name),
        )
        for index, label in enumerate(classes)
    ]
