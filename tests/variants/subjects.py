"""Subjects and data for the tests of variants."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.randomness import global_generators_seeded
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from auditkit.variants.variant import VariantContext

CLASSES = ("a", "b", "c")


def data(n: int = 900, seed: int = 0) -> Dataset:
    """Three classes along three of eight directions, overlapping a little."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 3, n)
    inputs = 2 * np.eye(3, 8)[y_true] + rng.standard_normal((n, 8))
    return Dataset(
        name="three",
        source="test",
        split=None,
        inputs=torch.tensor(inputs, dtype=torch.float32),
        y_true=y_true.astype(np.int64),
        classes=CLASSES,
    )


def trained(**hidden) -> TorchSubject:
    """A tabular network of the zoo, trained for a moment."""
    architecture = Architecture.model_validate({"name": "tabular-mlp", **({"hidden": [24]} | hidden)})
    return fit(architecture, data(), TrainingConfig(epochs=5), seed=0, title="three classes")


def subject(module: nn.Module) -> TorchSubject:
    """A subject around a module that no zoo knows."""
    return TorchSubject.build(module, architecture=Architecture(name="own"), classes=CLASSES)


def built(make) -> nn.Module:
    with global_generators_seeded(0):
        return make()


def convolutional() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 4, 3, padding=1),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(2),
            flatten=nn.Flatten(),
            output=nn.Linear(16, 3),
        )
    )


class Attending(nn.Module):
    """A transformer layer, whose fused kernel reads the weights of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(self.layer(inputs).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 4, batch_first=True)
        self.output = nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(self.gru(inputs)[0][:, -1])


def context(
    folder: Path, *, seed: int = 0, rows=data, name: str = "variant", progress=None
) -> VariantContext:
    return VariantContext(
        name=name,
        seed=seed,
        folder=folder,
        training_data=rows,
        report_progress=progress or (lambda _done, _total, _text: None),
    )
