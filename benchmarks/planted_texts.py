"""Texts whose class is one planted word, or that there is none, and small models that learned it.

The third class makes both words needed: of two classes one word would tell, and a model may learn but that.
"""

from typing import Any

import numpy as np
import torch

from auditkit.config import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit

KEYWORDS = (2, 3)
"""The word that makes a text of the first class, and that of the second."""

LONGEST, N_FILLERS = 16, 120
VOCABULARY = ("<pad>", "<unknown>", "dreadful", "splendid", *(f"w{index}" for index in range(N_FILLERS)))
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "lstm": {"name": "rnn", "cell": "lstm", "width": 32, "hidden": 32},
    "bert": {"name": "bert", "width": 32, "layers": 2, "heads": 4},
}


def planted_texts(n: int, *, seed: int) -> tuple[Dataset, np.ndarray]:
    """``n`` texts of 6 to 16 words with at most one keyword, and its places, shape ``(n,)``; -1 for none."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(2 + len(KEYWORDS), len(VOCABULARY), (n, LONGEST))
    lengths = rng.integers(6, LONGEST + 1, n)
    labels = rng.integers(0, 3, n)
    places = np.where(labels < len(KEYWORDS), rng.integers(0, lengths), -1)
    has_word = np.flatnonzero(places >= 0)
    ids[has_word, places[has_word]] = np.array(KEYWORDS)[labels[has_word]]
    ids[np.arange(LONGEST) >= lengths[:, None]] = 0
    data = Dataset(
        name="planted texts",
        source="memory",
        split=None,
        inputs=torch.from_numpy(ids),
        y_true=labels,
        classes=("negative", "positive", "neutral"),
        features=FeatureSpace((), tokens=TokenSpace(VOCABULARY)),
    )
    return data, places


def trained(name: str) -> TorchSubject:
    """A small model of :data:`ARCHITECTURES` trained on 4,000 planted texts."""
    data, _ = planted_texts(4000, seed=1)
    config = TrainingConfig(
        optimizer="adamw", learning_rate=0.003, batch_size=64, epochs=4, gradient_clip=1.0
    )
    return fit(Architecture(**ARCHITECTURES[name]), data, config, seed=0, title=name)
