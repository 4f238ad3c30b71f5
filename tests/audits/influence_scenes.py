"""Scenes of influence: modules, subjects, rows, and questions about them."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.influence.influences import (
    Question,
    Setting,
)
from auditkit.audits.explainability.influence.last_layer import LayerRows
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.models.zoo import build_module
from auditkit.randomness import global_generators_seeded, torch_rng
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_dataset

CONTEXT = AuditContext(seed=3)
SETTING = Setting(damping=0.1, exact_parameters=2048, projection=4096)


def made(build, seed=0):
    with global_generators_seeded(seed):
        return build()


def subject_of(module, classes=("no", "yes"), preprocessing=None):
    return TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=tuple(classes), preprocessing=preprocessing
    )


def rows_of(inputs, y_true, classes=("no", "yes"), **more):
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=torch.as_tensor(inputs),
        y_true=np.asarray(y_true, dtype=np.int64),
        classes=tuple(classes),
        **{"features": FeatureSpace(()), **more},
    )


def question_of(training, explained, predicted, against, weights=None):
    weights = np.ones(len(training)) if weights is None else weights
    return Question(training, weights, len(training), explained, predicted, against)


def layer_of(rng, n=40, d=3, k=3):
    """Features and chances of a made-up layer, and labels."""
    features = np.column_stack([rng.normal(size=(n, d)), np.ones(n)])
    logits = features @ rng.normal(size=(d + 1, k))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return LayerRows(features, chances, k), rng.integers(0, k, n)


def trained_to_the_minimum(x, y, ridge, n):
    """Weights of ``sum of losses / n + ridge / 2 |w|^2`` by Newton steps, ``d`` of them."""
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        step = np.linalg.solve(
            x.T @ (x * (p * (1 - p))[:, None]) / n + ridge * np.eye(len(w)), x.T @ (p - y) / n + ridge * w
        )
        w = w - step
        if np.abs(step).max() < 1e-12:
            break
    return w


class Normalised(nn.Module):
    """An LSTM over numbers with a layer norm behind it."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.output = nn.Linear(6, 3)

    def forward(self, inputs):
        states, _ = self.recurrent(inputs)
        return self.output(self.norm(states[:, -1]))


def batch_normed():
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3)
    )
    module[1].running_mean.normal_()
    return module


def zoo(name, **parameters):
    return lambda: build_module(Architecture(name=name, **parameters), rng=torch_rng(0, "test"))


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3)), (5,)),
    "cnn": (zoo("cnn", height=6, width=6, n_classes=3, channels=[3], hidden=[5]), (36,)),
    "lstm with layer norm": (Normalised, (7, 4)),
    "batch norm": (batch_normed, (1, 6, 6)),
    "lstm of tokens": (zoo("rnn", vocabulary_size=11, length=7, n_classes=3, width=5, hidden=6), 11),
    "transformer of tokens": (
        zoo("bert", vocabulary_size=11, length=7, n_classes=3, width=8, heads=2, layers=1),
        11,
    ),
}


def network(name, n, rng):
    """A module in double precision and inputs for it."""
    build, shape = NETWORKS[name]
    module = made(build).double().eval()
    if isinstance(shape, int):
        ids = rng.integers(1, shape, size=(n, 7))
        ids[0, 4:] = 0
        return module, torch.from_numpy(ids)
    return module, torch.from_numpy(rng.normal(size=(n, *shape)))


def one_by_one(module, inputs, labels):
    """The gradient of every row by a backward pass of its own, shape ``(n, parameters)``."""
    found = []
    for row, label in zip(inputs, labels, strict=True):
        module.zero_grad(set_to_none=False)
        functional.cross_entropy(module(row[None]), torch.tensor([label])).backward()
        found.append(torch.cat([parameter.grad.flatten().clone() for parameter in module.parameters()]))
    module.zero_grad()
    return torch.stack(found).numpy()


class Centred(nn.Module):
    """Takes the mean of the batch off every row."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(5, 2)

    def forward(self, inputs):
        return self.output(inputs - inputs.mean(dim=0))


class Squashed(nn.Module):
    """Does something with the outputs of its last layer."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(5, 2)

    def forward(self, inputs):
        return torch.tanh(self.output(inputs))


class WeightedPixels(nn.Module):
    """Ends in a convolution."""

    def __init__(self):
        super().__init__()
        self.output = nn.Conv1d(1, 2, 5)

    def forward(self, inputs):
        return self.output(inputs[:, None]).flatten(1)


def measured(module, **parameters):
    data = tiny_dataset()
    output = Influence(**parameters).measure(subject_of(module), data, CONTEXT)
    return {(one.metric, one.group.get("method")): one for one in output.measurements}, output
