"""Subjects and rows for the plants: small, exact, and made without training."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.data.dataset import BoolArray, Dataset, FeatureSpace, FloatArray, GroupColumn
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng
from auditkit.subjects.torch_subject import TorchSubject

CLASSES = ("no", "yes")


def subject_of(module: nn.Module, classes: tuple[str, ...] = CLASSES) -> TorchSubject:
    """The module as a subject without training record."""
    return TorchSubject.build(
        module,
        title="planted",
        source="auditkit.selftest",
        architecture=Architecture(name="planted"),
        classes=classes,
    )


def logistic(weights: Sequence[float]) -> TorchSubject:
    """Log-odds of ``yes`` are ``inputs @ weights``, split evenly between the two logits."""
    half = torch.tensor(weights, dtype=torch.float32) / 2
    return subject_of(linear_layer(torch.stack([-half, half])))


def dense_stack(width: int, layers: int) -> TorchSubject:
    """``layers`` layers of ``width`` units with ReLU, and one output layer."""
    rng = numpy_rng(0, "dense_stack")
    parts: list[nn.Module] = []
    for _ in range(layers):
        weight = torch.from_numpy(rng.normal(size=(width, width)) / width**0.5).float()
        parts += [linear_layer(weight, torch.zeros(width)), nn.ReLU()]
    return subject_of(nn.Sequential(*parts, linear_layer(torch.ones(2, width), torch.zeros(2))))


class Remembering(nn.Module):
    """Answers 9 to 1 for the stored label of a row that it has seen, and evenly for any other."""

    def __init__(self, rows: torch.Tensor, y_true: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows.clone())
        self.register_buffer("answers", np.log(9.0) * nn.functional.one_hot(y_true, 2).float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, 2)``."""
        rows, answers = self.get_buffer("rows"), self.get_buffer("answers")
        known = (inputs[:, None, :] == rows[None]).all(dim=2)
        return known.to(answers.dtype) @ answers


def rows_of(
    inputs: FloatArray,
    yes: BoolArray,
    *,
    features: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    is_member: BoolArray | None = None,
) -> Dataset:
    """Rows with two classes, ``yes`` the favourable one."""
    n = len(inputs)
    names = tuple(features) or tuple(f"x{index}" for index in range(inputs.shape[1]))
    return Dataset(
        name="planted",
        source="auditkit.selftest",
        split=None,
        inputs=torch.from_numpy(inputs.astype(np.float32)),
        y_true=yes.astype(np.int64),
        classes=CLASSES,
        positive="yes",
        features=FeatureSpace(names, tuple(range(inputs.shape[1]))),
        sensitive_features={
            name: GroupColumn.from_values(list(values)) for name, values in (groups or {}).items()
        },
        is_member=np.zeros(n, dtype=bool) if is_member is None else is_member,
        synthetic=True,
    )
