"""Numbers that are foretold: too large for everyone, or for one group alone."""

from functools import partial

import numpy as np
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FloatArray, GroupColumn
from auditkit.data.preprocessing import NumericFeature, ValueTablePreprocessing
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.subjects.torch_subject import TorchSubject


def shifted_numbers() -> Plant:
    """Everything is foretold too large by a constant, of outcomes without noise but for a sign."""
    return Plant(
        audit="regression-error",
        fault=Message(text="every number is foretold 0.5 too large"),
        figure="regression-error/bias",
        above=0.25,
        faulty=partial(_shifted, 0.5),
        sound=partial(_shifted, 0.0),
        expected=0.5,
    )


def numbers_by_group() -> Plant:
    """Members of one group are foretold too little."""
    return Plant(
        audit="regression-fairness",
        fault=Message(text="for one group numbers are foretold 1 too small"),
        figure="regression-fairness/bias.difference[group]",
        above=0.5,
        faulty=partial(_by_group, 1.0),
        sound=partial(_by_group, 0.0),
        parameters={"n_permutations": 49, "n_bootstrap": 50},
    )


def _shifted(shift: float) -> Scene:
    inputs = numpy_rng(0, "selftest", "numbers").normal(size=(600, 1))
    noise = np.where(np.arange(600) % 2 == 0, 1.0, -1.0)
    return Scene(_linear([1.0, shift]), _rows(np.column_stack([inputs, np.ones(600)]), inputs[:, 0] + noise))


def _by_group(penalty: float) -> Scene:
    rng = numpy_rng(0, "selftest", "numbers by group")
    is_b = rng.random(1200) < 0.5
    inputs = np.column_stack([rng.normal(size=1200), is_b])
    outcome = inputs[:, 0] + rng.normal(size=1200)
    groups = np.where(is_b, "b", "a").tolist()
    return Scene(_linear([1.0, -penalty]), _rows(inputs, outcome, groups))


def _linear(weights: list[float]) -> TorchSubject:
    """A subject that foretells ``inputs @ weights``."""
    features = tuple(
        NumericFeature(name=f"x{index}", mean=0.0, scale=1.0, fill=0.0) for index in range(len(weights))
    )
    return TorchSubject.build(
        nn.Sequential(linear_layer(torch.tensor([weights]))),
        title="planted",
        source="auditkit.selftest",
        architecture=Architecture(name="planted"),
        classes=(),
        preprocessing=ValueTablePreprocessing(target="number", mean=0.0, scale=1.0, features=features),
    )


def _rows(inputs: FloatArray, outcome: FloatArray, groups: list[str] | None = None) -> Dataset:
    return Dataset(
        name="planted",
        source="auditkit.selftest",
        split=None,
        inputs=torch.from_numpy(inputs.astype(np.float32)),
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=(),
        target="number",
        sensitive_features={} if groups is None else {"group": GroupColumn.from_values(groups)},
        outcome=outcome,
        task="regression",
        synthetic=True,
    )
