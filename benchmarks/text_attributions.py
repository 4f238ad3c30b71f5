"""Attributions of tokens: is the planted word on top, and does removing what is on top cost more than chance.

Bars: the planted word has the largest attribution in at least 95 % of the texts that have one, whatever the
model; comprehensiveness exceeds that of random tokens by more than its interval, on planted texts and on real
reviews; at equal places of the path Captum's figures to single precision.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.token_embedding import find_token_embedding
from auditkit.config import Architecture, DataConfig, TrainingConfig
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.records import Message
from auditkit.statistics.intervals import mean_interval, rate
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from benchmarks.planted_texts import ARCHITECTURES, planted_texts, trained
from benchmarks.real_data import use_real_data

ON_TOP, SAME = 0.95, 1e-5
REMOVED, DRAWS, N_STEPS = 0.2, 10, 32
REVIEWS: dict[str, dict[str, Any]] = {
    "lstm": {"name": "rnn", "cell": "lstm", "width": 32, "hidden": 32},
    "bert": {"name": "bert", "width": 32, "layers": 2, "heads": 4},
}


def run() -> dict[str, object]:
    """Both models on planted texts and on reviews of films."""
    use_real_data()
    planted = {name: _planted(trained(name)) for name in ARCHITECTURES}
    reviews = {name: _reviews(name) for name in REVIEWS}
    return {
        "planted": planted,
        "reviews": reviews,
        "holds": all(found["holds"] for found in (*planted.values(), *reviews.values())),
    }


def _planted(subject: TorchSubject) -> dict[str, Any]:
    data, places = planted_texts(300, seed=2)
    has_word = places >= 0
    data, places = data.take(has_word), places[has_word]
    rows, found = _explained(subject, data)
    on_top = np.abs(found).argmax(axis=1) == places
    interval = rate(int(on_top.sum()), len(on_top))
    captum = _largest_difference_from_captum(subject, data.take(np.arange(16)), rows)
    removed = _comprehensiveness(subject, data, found)
    return {
        "share_on_top": float(on_top.mean()),
        "share_on_top_95": [round(interval.low, 4), round(interval.high, 4)],
        "n": len(on_top),
        "largest_difference_from_captum": captum,
        **removed,
        "holds": bool(on_top.mean() >= ON_TOP and captum < SAME and removed["gain_95"][0] > 0),
    }


def _reviews(name: str) -> dict[str, Any]:
    config = DataConfig(source="sst2")
    data, preprocessing = load_training_data(config, preprocessing=None, seed=0, folder=Path())
    recipe = TrainingConfig(optimizer="adamw", learning_rate=2e-3, epochs=3, gradient_clip=1.0)
    subject = fit(
        Architecture(**REVIEWS[name]), data, recipe, seed=0, title=name, preprocessing=preprocessing
    )
    test = load_dataset(config, preprocessing=subject.preprocessing, seed=0, folder=Path())
    drawn = np.sort(np.random.default_rng(0).choice(len(test), 128, replace=False))
    test = test.take(drawn.astype(np.int64))
    _, found = _explained(subject, test)
    removed = _comprehensiveness(subject, test, found)
    return {**removed, "holds": removed["gain_95"][0] > 0}


def _explained(subject: TorchSubject, data: Dataset) -> tuple[ExplainedRows, FloatArray]:
    target = subject.predict(data, batch_size=256).y_pred
    rows = explained_rows(subject, data, target, explained="logit", batch_size=256)
    if isinstance(rows, Message):
        raise RuntimeError(str(rows))
    return rows, along_the_path(rows).values


def _comprehensiveness(subject: TorchSubject, data: Dataset, attributions: FloatArray) -> dict[str, Any]:
    """Probability of the predicted class that is lost with the top fifth of the tokens, and with random ones.

    Source:
        DeYoung et al. (2020), ERASER, arXiv:1911.03429, section 4.
    """
    real = data.inputs.numpy() != 0
    n_removed = np.ceil(REMOVED * real.sum(axis=1)).astype(np.int64)
    target = subject.predict(data, batch_size=256).y_pred
    top = _lost(subject, data, target, _largest(np.where(real, attributions, -np.inf), n_removed))
    rng = np.random.default_rng(0)
    chance = np.mean(
        [
            _lost(
                subject,
                data,
                target,
                _largest(np.where(real, rng.random(real.shape), -np.inf), n_removed),
            )
            for _ in range(DRAWS)
        ],
        axis=0,
    )
    own, by_chance, gain = mean_interval(top), mean_interval(chance), mean_interval(top - chance)
    assert own is not None
    assert by_chance is not None
    assert gain is not None
    return {
        "comprehensiveness": round(float(top.mean()), 4),
        "comprehensiveness_95": [round(own.low, 4), round(own.high, 4)],
        "of_random_tokens": round(float(chance.mean()), 4),
        "of_random_tokens_95": [round(by_chance.low, 4), round(by_chance.high, 4)],
        "gain_95": [round(gain.low, 4), round(gain.high, 4)],
        "n_texts": len(top),
    }


def _largest(values: FloatArray, n: IntArray) -> BoolArray:
    ranks = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(ranks < n[:, None])


def _lost(subject: TorchSubject, data: Dataset, target: IntArray, removed: BoolArray) -> FloatArray:
    """Probability lost when tokens are cut out and the rest moves up."""
    ids = data.inputs.numpy()
    kept = np.where(removed, 0, ids)
    order = np.argsort(kept == 0, axis=1, kind="stable")
    shorter = torch.from_numpy(np.take_along_axis(kept, order, axis=1))
    rows = np.arange(len(ids))
    with torch.no_grad():
        before = subject.logits(data.inputs).softmax(dim=1).double().numpy()[rows, target]
        after = subject.logits(shorter).softmax(dim=1).double().numpy()[rows, target]
    return np.asarray(before - after)


def _largest_difference_from_captum(subject: TorchSubject, data: Dataset, rows: ExplainedRows) -> float:
    """Both at the places of Gauss and Legendre, of which Captum takes as many as it is told."""
    embedding = find_token_embedding(subject, data.inputs, 0)
    if isinstance(embedding, Message):
        raise RuntimeError(str(embedding))
    n = len(data)
    target = rows.target[:n, 0]
    peer = LayerIntegratedGradients(subject.module, embedding.layer).attribute(
        data.inputs, torch.zeros_like(data.inputs), target=target, n_steps=N_STEPS
    )
    path = StraightPath(rows.score, rows.inputs, rows.baseline, rows.target, rows.pooled, 256)
    places, weights = np.polynomial.legendre.leggauss(N_STEPS)
    _, slopes = path.evaluate(
        torch.arange(n).repeat_interleave(N_STEPS), torch.from_numpy((places + 1) / 2).repeat(n)
    )
    ours = (slopes.view(n, N_STEPS, -1) * torch.from_numpy(weights / 2).view(1, -1, 1)).sum(dim=1)
    return float(f"{float((ours - peer.sum(dim=2).double()).abs().max()):.2g}")
