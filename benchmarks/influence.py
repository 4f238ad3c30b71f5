"""Influence against what it stands for: leaving rows out and training again, and wrong labels.

- Logistic regressions at their minimum: influence on the log-odds of held-out predictions against leaving
  every row out and training again. Bar: Pearson correlation above 0.95, damped by the ridge or by default.
- A tenth of the labels flipped, digits and MNIST, perceptron and small convolutional network, three seeds:
  the share of flipped rows in the top tenth by self-influence, where chance gives a tenth. Bar: 60 % each.
- Networks trained again on random halves of digits: rank correlation between the log-odds that come of it and
  the sum of the influences of the half (linear datamodelling score, Park et al. 2023, arXiv:2303.14186,
  section 2.3), mean over explained predictions. Bar: the last layer above 0.6 with the default damping.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from auditkit.audits.explainability.influence.curvature import mean_hessian
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.influence.influence_figures import top_tenth
from auditkit.audits.explainability.influence.influences import (
    Influences,
    Question,
    Setting,
    by_gradients,
    by_last_layer,
)
from auditkit.audits.explainability.influence.last_layer import LayerRows
from auditkit.config.model import Architecture, DataConfig, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.loading import load_training_data
from auditkit.randomness import numpy_rng, torch_rng
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from benchmarks.real_data import use_real_data

CORRELATION, CAUGHT, FORETOLD = 0.95, 0.6, 0.6
DAMPINGS = (0.001, 0.01, 0.1, 0.3, 1.0, 10.0)
REGRESSIONS = {"n200_d5": (200, 5, 1e-2), "n300_d20": (300, 20, 1e-2), "n500_d10": (500, 10, 1e-3)}
SCENES = {"digits_mlp": 20, "digits_cnn": 10, "mnist_mlp": 10, "mnist_cnn": 5}
SEEDS, MNIST_ROWS = 3, 4000
HALVES, REPEATS, NETS = 96, 3, {"8_epochs": 8, "20_epochs": 20, "60_epochs": 60}


def dataset(inputs: Tensor, labels: np.ndarray, classes: tuple[str, ...]) -> Dataset:
    """Rows in memory."""
    return Dataset(name="made", source="memory", split=None, inputs=inputs, y_true=labels, classes=classes)


def subject_of(module: nn.Module, classes: tuple[str, ...]) -> TorchSubject:
    """The module as a subject."""
    return TorchSubject.build(module, architecture=Architecture(name="made"), classes=classes)


def setting(damping: float) -> Setting:
    """Of the audit but for the damping."""
    return Setting(damping, Influence().exact_parameters, Influence().projection)


def both(subject: TorchSubject, question: Question, damping: float) -> dict[str, Influences]:
    """By both methods."""
    found = {
        "last_layer": by_last_layer(subject, question, setting(damping)),
        "gradients": by_gradients(subject, question, setting(damping), lambda: torch_rng(0, "projection")),
    }
    return {method: one for method, one in found.items() if isinstance(one, Influences)}


# --- leaving one row out ---------------------------------------------------------------------------


def minimum(x: np.ndarray, y: np.ndarray, ridge: float, n: int, start: np.ndarray) -> np.ndarray:
    """Weights of ``sum of losses / n + ridge / 2 |w|^2``, by Newton steps to convergence."""
    w = start.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = x.T @ (x * (p * (1 - p))[:, None]) / n + ridge * np.eye(len(w))
        step = np.linalg.solve(hessian, x.T @ (p - y) / n + ridge * w)
        w -= step
        if np.abs(step).max() < 1e-12:
            break
    return w


def left_out(n: int, d: int, ridge: float, m: int = 100) -> dict[str, float]:
    """One regression: how influence goes with what leaving every row out does."""
    rng = numpy_rng(0, "left out", f"{n} {d}")
    x = np.column_stack([rng.normal(size=(n + m, d)), np.ones(n + m)])
    truth = rng.normal(size=d + 1) * 1.5
    y = (rng.random(n + m) < 1 / (1 + np.exp(-x @ truth))).astype(np.int64)
    w = minimum(x[:n], y[:n], ridge, n, np.zeros(d + 1))
    layer = nn.Linear(d, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w[None, :d]))
        layer.bias.copy_(torch.from_numpy(w[d:]))
    subject = subject_of(layer, ("no", "yes"))
    training, held_out = (
        dataset(torch.from_numpy(x[part, :d]), y[part], ("no", "yes")) for part in (slice(n), slice(n, None))
    )
    predicted = subject.predict(held_out, batch_size=256).y_pred
    question = Question(training, np.ones(n), n, held_out, predicted, 1 - predicted)
    without = [minimum(np.delete(x[:n], i, 0), np.delete(y[:n], i), ridge, n, w) for i in range(n)]
    sign = np.where(predicted == 1, 1.0, -1.0)[:, None]
    true = sign * (x[n:] @ (w[:, None] - np.array(without).T))
    p = 1 / (1 + np.exp(-x[:n] @ w))
    rows = LayerRows(x[:n], np.column_stack([1 - p, p]), 1)
    own = ridge / (np.trace(mean_hessian(rows, np.ones(n))) / (d + 1))
    result = {}
    for name, damping in (("ridge", own), ("default", Influence().damping)):
        found = by_last_layer(subject, question, setting(damping))
        assert isinstance(found, Influences)
        estimated = found.on_predictions
        result[f"pearson_{name}"] = round(float(np.corrcoef(estimated.ravel(), true.ravel())[0, 1]), 4)
        result[f"slope_{name}"] = round(float(np.polyfit(true.ravel(), estimated.ravel(), 1)[0]), 3)
    return result


# --- wrong labels ----------------------------------------------------------------------------------


def caught(scene: str, seed: int) -> dict[str, float]:
    """Share of the flipped rows that are in the top tenth by self-influence."""
    source, architecture = scene.split("_")
    data, steps = load_training_data(DataConfig(source=source), preprocessing=None, seed=0, folder=Path())
    rng = numpy_rng(seed, "wrong labels", scene)
    data = data.take(np.sort(rng.permutation(len(data))[:MNIST_ROWS]))
    n, k = len(data), len(data.classes)
    flipped = np.zeros(n, dtype=bool)
    flipped[rng.permutation(n)[: n // 10]] = True
    wrong = (data.y_true + rng.integers(1, k, n)) % k
    data = replace(data, y_true=np.where(flipped, wrong, data.y_true))
    recipe = TrainingConfig(epochs=SCENES[scene], batch_size=32, learning_rate=1e-3)
    subject = fit(Architecture(name=architecture), data, recipe, seed=seed, preprocessing=steps)
    few = data.take(np.arange(2))
    question = Question(data, np.ones(n), n, few, few.y_true, (few.y_true + 1) % k)
    found = both(subject, question, Influence().damping)
    shares = {
        method: round(float(flipped[top_tenth(one.on_itself)].sum() / flipped.sum()), 3)
        for method, one in found.items()
    }
    learned = subject.predict(data, batch_size=256).y_pred == data.y_true
    return {**shares, "flips_learned": round(float(learned[flipped].mean()), 3)}


# --- training again on halves ----------------------------------------------------------------------


def networks(x: Tensor, y: Tensor, masks: Tensor, epochs: int, seed: int) -> list[Tensor]:
    """Perceptrons 64-64-10, one per mask of rows, trained side by side in the same order of rows."""
    rng, e, hidden = torch_rng(seed, "networks"), len(masks), 64
    shapes = ((e, 64, hidden), (e, 1, hidden), (e, hidden, 10), (e, 1, 10))
    weights = [(torch.rand(shape, generator=rng) * 2 - 1) / 8 * (shape[1] > 1) for shape in shapes]
    for one in weights:
        one.requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=rng).split(32):
            mask = masks[:, batch]
            losses = functional.cross_entropy(
                answers(weights, x[batch]).flatten(0, 1), y[batch].repeat(e), reduction="none"
            )
            loss = ((losses.view(e, -1) * mask).sum(1) / mask.sum(1).clamp(min=1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [one.detach() for one in weights]


def answers(weights: list[Tensor], x: Tensor) -> Tensor:
    """Logits of every network, shape ``(networks, n, 10)``."""
    first, bias, second, shift = weights
    return torch.relu(x @ first + bias) @ second + shift


def foretold(epochs: int, n: int = 1000) -> dict[str, float]:
    """How sums of influence go with what training on random halves does."""
    inputs, labels = load_digits(return_X_y=True)
    order = numpy_rng(0, "digits").permutation(len(labels))
    x = torch.from_numpy((inputs[order] / 16 - 0.3) / 0.37).float()
    y = torch.from_numpy(labels[order].astype(np.int64))
    classes = tuple("0123456789")
    weights = networks(x[:n], y[:n], torch.ones(1, n), epochs, seed=1)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        for parameter, one in zip(module.parameters(), weights, strict=True):
            parameter.copy_(one[0].T if parameter.ndim > 1 else one[0, 0])
    top = answers(weights, x[n:])[0].topk(2)
    wrong = top.indices[:, 0] != y[n:]
    chosen = torch.cat([torch.where(wrong)[0], (top.values[:, 0] - top.values[:, 1]).argsort()[:40]]).unique()
    predicted = top.indices[chosen, 0]
    against = torch.where(wrong[chosen], y[n:][chosen], top.indices[chosen, 1])
    masks = (torch.rand(HALVES, n, generator=torch_rng(0, "halves")) < 0.5).float()
    places = torch.arange(len(chosen))
    true = np.mean(
        [
            (said[:, places, predicted] - said[:, places, against]).numpy()
            for said in (
                answers(networks(x[:n], y[:n], masks, epochs, seed=100 + r), x[n:][chosen])
                for r in range(REPEATS)
            )
        ],
        axis=0,
    )
    question = Question(
        dataset(x[:n], y[:n].numpy(), classes),
        np.ones(n),
        n,
        dataset(x[n:][chosen], y[n:][chosen].numpy(), classes),
        predicted.numpy(),
        against.numpy(),
    )

    def score(found: Influences) -> float:
        sums = masks.numpy() @ found.on_predictions.T
        return round(
            float(np.mean([spearmanr(sums[:, j], true[:, j]).statistic for j in range(len(chosen))])), 3
        )

    subject = subject_of(module, classes)
    found = both(subject, question, Influence().damping)
    by_damping = {
        f"last_layer_damping_{damping:g}": score(both(subject, question, damping)["last_layer"])
        for damping in DAMPINGS
    }
    return {"last_layer": score(found["last_layer"]), "gradients": score(found["gradients"]), **by_damping}


def run() -> dict[str, object]:
    """All figures."""
    use_real_data()
    regressions = {name: left_out(*sizes) for name, sizes in REGRESSIONS.items()}
    flips = {f"{scene}_seed_{seed}": caught(scene, seed) for scene in SCENES for seed in range(SEEDS)}
    halves = {name: foretold(epochs) for name, epochs in NETS.items()}
    correlation = min(value for one in regressions.values() for key, value in one.items() if "pearson" in key)
    least = min(one[method] for one in flips.values() for method in ("last_layer", "gradients"))
    lowest = min(one["last_layer"] for one in halves.values())
    return {
        "left_out": regressions,
        "smallest_correlation": correlation,
        "wrong_labels_in_top_tenth": flips,
        "smallest_share_caught": least,
        "retrained_on_halves": halves,
        "lowest_score_last_layer": lowest,
        "holds": correlation > CORRELATION and least >= CAUGHT and lowest > FORETOLD,
    }
