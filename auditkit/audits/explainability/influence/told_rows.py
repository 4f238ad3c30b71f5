"""Training rows and explained rows with what the model says of them, and the sentences about both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from auditkit.audits.explainability.example_rows import ExampleRow
from auditkit.audits.explainability.influence.influences import Influences, Method
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import Message
from auditkit.subjects.subject import Predictions

Values = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Told:
    """Rows with what the model says of them.

    Attributes:
        data: The rows.
        predicted: Their predicted classes, shape ``(n,)``.
        probabilities: Shape ``(n, k)``.
    """

    data: Dataset
    predicted: IntArray
    probabilities: FloatArray

    @classmethod
    def of(cls, data: Dataset, said: Predictions) -> "Told":
        """Rows and their predictions, in the same order."""
        return cls(data, said.y_pred, said.probabilities)

    def take(self, rows: IntArray) -> "Told":
        """A selection."""
        return Told(self.data.take(rows), self.predicted[rows], self.probabilities[rows])

    def label(self, row: int) -> str:
        """The class that the data say."""
        return self.data.classes[int(self.data.y_true[row])]

    def prediction(self, row: int) -> str:
        """The class that the model says."""
        return self.data.classes[int(self.predicted[row])]

    def chance_of_label(self, row: int) -> float:
        """The probability of the class that the data say."""
        return float(self.probabilities[row, self.data.y_true[row]])

    def outcome(self, row: int) -> Values:
        """What was predicted, how surely, and what is true."""
        chance = float(self.probabilities[row, self.predicted[row]])
        return {
            "predicted": self.prediction(row),
            "probability": round(chance, 3),
            "true": self.label(row),
        }

    @property
    def contradicted(self) -> np.ndarray:
        """Whether the model says another class than the data, shape ``(n,)``."""
        return np.asarray(self.predicted != self.data.y_true)


@dataclass(frozen=True, slots=True)
class Findings:
    """Who influenced what.

    Attributes:
        training: The training rows.
        explained: The rows whose predictions are explained.
        against: Classes with which these predictions are compared, shape ``(m,)``.
        by_method: Methods that give any influence; the first of them ranks.
    """

    training: Told
    explained: Told
    against: IntArray
    by_method: Mapping[Method, Influences]

    @property
    def method(self) -> Method:
        """The one that ranks."""
        return next(iter(self.by_method))

    @property
    def others(self) -> tuple[Influences, ...]:
        """By the methods that do not rank."""
        return tuple(self.by_method.values())[1:]

    def on(self, example: ExampleRow) -> FloatArray:
        """Influence of every training row on one explained prediction, shape ``(n,)``."""
        return np.asarray(self.by_method[self.method].on_predictions[example.row])

    def strongest(self, example: ExampleRow, most: int) -> tuple[IntArray, IntArray]:
        """Training rows that argued most for a prediction and most against it, the strongest first.

        At most ``most`` of each kind; fewer where fewer have that sign.
        """
        influence = self.on(example)
        order = np.argsort(-influence, kind="stable")
        back = order[::-1]
        return order[influence[order] > 0][:most], back[influence[back] < 0][:most]

    def suspects(self, most: int) -> IntArray:
        """The training rows with the highest self-influence, the highest first."""
        return np.argsort(-self.by_method[self.method].on_itself, kind="stable")[:most]


def lead(findings: Findings, example: ExampleRow, for_it: IntArray) -> Message:
    """How many of the rows that argued most for a prediction carry its class as their label."""
    if not len(for_it):
        return Message(text="No training row argued for this prediction")
    explained = findings.explained
    same = int((findings.training.data.y_true[for_it] == explained.predicted[example.row]).sum())
    return Message(
        text=_ERROR if example.reason == "confident error" else _UNCERTAIN,
        values={"same": same, "n": len(for_it), "predicted": explained.prediction(example.row)},
    )


_ERROR: Final = "{same} of the {n} training rows that argued most for this error carry the label {predicted}"
_UNCERTAIN: Final = (
    "{same} of the {n} training rows that argued most for this uncertain prediction carry the label "
    "{predicted}"
)


def caption(findings: Findings, example: ExampleRow) -> Message:
    """What was predicted, what is true, and how influence is to be read."""
    explained, row = findings.explained, example.row
    other = explained.data.classes[int(findings.against[row])]
    return Message(
        text=_LEFT_OUT if findings.method == "last-layer" else _STEPPED_ON,
        values={**explained.outcome(row), "other": other},
    )


_LEFT_OUT: Final = (
    "Predicted {predicted} with probability {probability}, true is {true}. Influence is by how much the "
    "log-odds of {predicted} over {other} would fall without the row; negative rows argued against it."
)
_STEPPED_ON: Final = (
    "Predicted {predicted} with probability {probability}, true is {true}. Influence is how much a training "
    "step on the row raises the log-odds of {predicted} over {other}; negative rows argue against it."
)


def suspects_lead(training: Told, rows: IntArray) -> Message:
    """Of how many of the rows with the highest self-influence the model contradicts the label."""
    return Message(
        text="The model contradicts the label of {wrong} of the {n} training rows with the highest "
        "self-influence",
        values={"n": len(rows), "wrong": int(training.contradicted[rows].sum())},
    )
