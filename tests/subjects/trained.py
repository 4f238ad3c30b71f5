"""A small trained subject for the tests of files."""

import numpy as np
import torch

from auditkit.config import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.data.rows import Rows, texts
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit


def rows(n: int = 60) -> Rows:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return Rows(
        name="rows",
        source="memory",
        split="train",
        target="label",
        labels=texts(["yes" if label else "no" for label in labels]),
        positive="yes",
        columns={
            "x": rng.normal(size=n) + 2 * labels,
            "city": texts([f"Zürich {i % 3}" for i in range(n)]),
        },
    )


def trained(**parameters) -> tuple[TorchSubject, Dataset]:
    """A subject with preprocessing and training record, and the rows it was trained on."""
    fitted = fit_preprocessing(rows())
    data = encode(rows(), fitted)
    architecture = Architecture.model_validate({"name": "mlp", "hidden": 5, **parameters})
    config = TrainingConfig(epochs=2, batch_size=16)
    return fit(architecture, data, config, seed=1, title="Two towns", preprocessing=fitted), data


def outputs(subject: TorchSubject, data: Dataset) -> torch.Tensor:
    return torch.from_numpy(subject.predict(data, batch_size=7).log_probabilities)
