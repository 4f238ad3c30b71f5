"""Subjects and rows whose importances, effects and rules are known."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn
from auditkit.data.preprocessing import NumericFeature, ValueTablePreprocessing
from auditkit.records import SubjectCard
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject
from tests.fakes import table_card


class Formula(nn.Module):
    """A module that computes a formula, without parameters."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, inputs):
        return self.formula(inputs)


def foretelling(formula, n_inputs, *, features=None):
    """A subject that foretells ``formula(inputs)`` in the unit of the target."""
    given = features or tuple(
        NumericFeature(name=f"x{place}", mean=0.0, scale=1.0, fill=0.0) for place in range(n_inputs)
    )
    return TorchSubject.build(
        Formula(lambda inputs: formula(inputs)[:, None]),
        architecture=Architecture(name="test"),
        classes=(),
        preprocessing=ValueTablePreprocessing(target="price", mean=0.0, scale=1.0, features=given),
    )


def linear(weights):
    w = torch.as_tensor(weights, dtype=torch.float64)
    return foretelling(lambda inputs: inputs @ w.to(inputs.dtype), len(weights))


def numbers(inputs, outcome, **more):
    """Rows of a regression, in double precision."""
    inputs = np.asarray(inputs, dtype=np.float64)
    names = more.pop("names", tuple(f"x{place}" for place in range(inputs.shape[1])))
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=torch.from_numpy(inputs),
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=(),
        target="price",
        features=FeatureSpace(names, more.pop("owner", tuple(range(inputs.shape[1])))),
        outcome=np.asarray(outcome, dtype=np.float64),
        task="regression",
        **more,
    )


def labelled(inputs, y_true, *, classes=("no", "yes"), names=(), owner=(), controls=None, **more):
    """Rows of a classification."""
    inputs = np.asarray(inputs)
    names = names or tuple(f"x{place}" for place in range(inputs.shape[1]))
    space = more.pop("features", FeatureSpace(names, owner or tuple(range(len(names)))))
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=torch.from_numpy(np.asarray(inputs, dtype=np.float64)),
        y_true=np.asarray(y_true, dtype=np.int64),
        classes=tuple(classes),
        positive="yes" if "yes" in classes else None,
        features=space,
        control_features={
            name: GroupColumn.from_values(list(values)) for name, values in (controls or {}).items()
        },
        **more,
    )


@dataclass(frozen=True)
class Deciding:
    """A subject seen from outside: ``rule`` gives the class of each row of inputs, stated with certainty.

    ``asked`` keeps all inputs that it was asked about.
    """

    rule: object
    classes: tuple = ("no", "yes")
    preprocessing: object = None
    answers: frozenset = frozenset({"predictions"})
    asked: list = field(default_factory=list)

    @property
    def card(self) -> SubjectCard:
        return table_card(self.classes)

    @property
    def capabilities(self):
        return self.answers

    def predict(self, data, *, batch_size):
        inputs = data.inputs.numpy()
        self.asked.append(inputs)
        said = np.asarray(self.rule(inputs), dtype=np.int64)
        logs = np.full((len(said), len(self.classes)), -30.0)
        logs[np.arange(len(said)), said] = 0.0
        return Predictions(logs)


def by_feature(output):
    return {(one.metric, one.group.get("feature")): one for one in output.measurements}
