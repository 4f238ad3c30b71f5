"""Scenes of the quality of attributions: tables, linear rows, a small network."""

from typing import Any

import numpy as np
import torch
from torch import nn

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.quality.checks import Condition
from auditkit.audits.explainability.quality.imputers import Imputer
from auditkit.audits.explainability.quality.random_order import permuted_within
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.records import Interval
from auditkit.testing import linear_subject

CLOSED_FORM = {"abs": 1e-6}
N, M = 40, 20
WEIGHTS = np.random.default_rng(5).normal(size=M)
EFFORT: dict[str, Any] = {
    "n_subsets": 16,
    "n_noise": 8,
    "n_neighbours": 2,
    "n_models": 3,
    "rows_again": 8,
    "n_bootstrap": 100,
}


def rng(seed=0):
    return np.random.default_rng(seed)


def table(n=N, m=M, seed=1):
    """Inputs near -1 and 1, so that no unit weighs much less than its weight."""
    draws = rng(seed)
    inputs = draws.choice([-1.0, 1.0], (n, m)) * (1 + 0.05 * draws.normal(size=(n, m)))
    return data_of(torch.from_numpy(inputs).float())


def data_of(inputs, features=None, **more):
    n_columns = inputs[0].numel()
    names = FeatureSpace(tuple(f"x{j}" for j in range(n_columns)), tuple(range(n_columns)))
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=inputs,
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=("no", "yes"),
        features=features or names,
        **more,
    )


def explained(subject, data, batch_size=64) -> ExplainedRows:
    predicted = subject.predict(data, batch_size=64).y_pred
    found = explained_rows(subject, data, predicted, explained="logit", batch_size=batch_size)
    assert isinstance(found, ExplainedRows)
    return found


def linear_rows(**more) -> tuple[ExplainedRows, np.ndarray]:
    """Two logits, 0 and ``w.x``, explained by their log-odds; and what each unit adds to it."""
    data = table(**more)
    rows = explained(linear_subject(WEIGHTS), data)
    signs = np.where(rows.target.numpy() == 1, 1.0, -1.0)
    return rows, signs[:, None] * WEIGHTS.astype(np.float32) * data.inputs.numpy()


def baseline_of(rows):
    return Imputer("baseline", rows.baseline)


def relu_net(inputs=6, hidden=12, seed=0):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2))


def condition(value, half, **threshold):
    def interval(confidence):
        z = {0.95: 1.0}.get(confidence, -np.log10(max(1 - confidence, 1e-12)) / -np.log10(0.05))
        return Interval(low=value - half * z, high=value + half * z, confidence=confidence, method="made")

    return Condition(value=value, n=100, interval=interval, **threshold)


def random_attributions(rows, generator):
    """Values with the distribution of real ones, in an order that the draws decide."""
    exact = METHODS["input-x-gradient"].attribute(rows, generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return permuted_within(exact, rows.present, rng(seed))
