"""Loan decisions with a planted gap between women and men, a model that learned it, and what a model does."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset, GroupColumn
from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.lending import lending_rows
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from auditkit.variants.mitigate import Mitigate
from auditkit.variants.mitigate_task import BinaryTask, Constraint
from auditkit.variants.variant import VariantContext

N_TRAIN, N_TEST = 3000, 4000


@cache
def loans() -> tuple[Dataset, Dataset, TorchSubject]:
    """Training rows, test rows, and a small network trained on the former."""
    sizes = {"n_train": N_TRAIN, "n_test": N_TEST}
    rows = lending_rows("train", **sizes)
    steps = fit_preprocessing(rows)
    train, test = encode(rows, steps), encode(lending_rows("test", **sizes), steps)
    architecture = Architecture.model_validate({"name": "tabular-mlp", "hidden": [32]})
    recipe = TrainingConfig(learning_rate=0.002, batch_size=64, epochs=8)
    return train, test, fit(architecture, train, recipe, seed=0, title="loans", preprocessing=steps)


def with_unknown(data: Dataset, attribute: str, every: int = 7) -> Dataset:
    """The same rows; of every so-many the attribute is not known."""
    column = data.sensitive_features[attribute]
    values = [None if row % every == 0 else column.levels[code] for row, code in enumerate(column.codes)]
    features = {**data.sensitive_features, attribute: GroupColumn.from_values(values)}
    return replace(data, sensitive_features=features)


def without(data: Dataset, *attributes: str) -> Dataset:
    kept = {name: column for name, column in data.sensitive_features.items() if name not in attributes}
    return replace(data, sensitive_features=kept)


def mitigated(
    parameters: dict, *, baseline: Subject | None = None, train: Dataset | None = None, seed: int = 3
):
    """The subject that the variant derives for ``sex``, unless told otherwise."""
    rows = loans()[0] if train is None else train
    context = VariantContext(name="less", seed=seed, folder=Path(), training_data=lambda: rows)
    variant = Mitigate.model_validate({"attribute": "sex", **parameters})
    return variant.derive(baseline or loans()[2], context)


def outcome(subject: Subject, data: Dataset, constraint: Constraint) -> tuple[float, float]:
    """Accuracy and gap between women and men."""
    task = BinaryTask.of(data, "sex")
    selected = subject.predict(data, batch_size=512).y_pred == data.positive_index
    gap = task.gap(selected, constraint)
    assert gap is not None
    return task.accuracy(selected), gap


def simple(n: int = 200, *, seed: int = 0, **changes) -> Dataset:
    """Two numbers, a group, and a label that follows both."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    inputs = rng.standard_normal((n, 2)) + (group == "a")[:, None]
    label = (inputs[:, 0] + rng.standard_normal(n) > 0.5).astype(np.int64)
    values = {
        "name": "simple",
        "source": "test",
        "split": None,
        "inputs": torch.tensor(inputs, dtype=torch.float32),
        "y_true": label,
        "classes": ("no", "yes"),
        "positive": "yes",
        "sensitive_features": {"group": GroupColumn.from_values(group.tolist())},
    }
    return Dataset(**{**values, **changes})
