"""The 2-2-1 sigmoid network in NumPy alone: a black box without torch gradients.

The documents update the weights by products whose shapes do not match those of the weights. Here every
gradient has the shape of what it changes. With rows ``(n, 2)``, hidden activations ``(n, 2)`` and the
derivative ``delta`` of the loss by the logits ``(n, 1)``:

- output weights: ``hidden.T @ delta``, shape ``(2, 1)``;
- hidden weights: ``rows.T @ (delta @ output.T * hidden * (1 - hidden))``, shape ``(2, 2)``;
- biases: the same sums without the factor on the left, shapes ``(1,)`` and ``(2,)``.

The loss is cross-entropy, so ``delta`` is probability minus label, without the derivative of the last
sigmoid.

As a subject: ``subject: {function: "auditkit.models.xor_numpy:predict"}`` with ``data: {source: xor}``.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.randomness import numpy_rng

CORNERS: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
DIFFER: tuple[float, ...] = (0.0, 1.0, 1.0, 0.0)
_SEED = 0


@dataclass(frozen=True, slots=True)
class XorWeights:
    """Parameters of the network, or a gradient by them.

    Attributes:
        hidden: Shape ``(2, 2)``, inputs by units.
        hidden_bias: Shape ``(2,)``.
        output: Shape ``(2, 1)``.
        output_bias: Shape ``(1,)``.
    """

    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: FloatArray

    def moved(self, gradient: "XorWeights", learning_rate: float) -> "XorWeights":
        """One step of gradient descent."""
        return XorWeights(
            self.hidden - learning_rate * gradient.hidden,
            self.hidden_bias - learning_rate * gradient.hidden_bias,
            self.output - learning_rate * gradient.output,
            self.output_bias - learning_rate * gradient.output_bias,
        )


def initial(rng: np.random.Generator) -> XorWeights:
    """The start that :mod:`auditkit.models.xor` explains, drawn from ``rng``."""
    direction = rng.uniform(-1, 1, size=(2, 1)) / np.sqrt(2)
    sign = rng.choice([-1.0, 1.0])
    return XorWeights(
        np.repeat(direction, 2, axis=1),
        np.array([-1.0, 1.0]),
        sign * np.array([[-1.0], [1.0]]),
        np.zeros(1),
    )


def sigmoid(values: FloatArray) -> FloatArray:
    """``1 / (1 + exp(-values))``, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def hidden_activations(weights: XorWeights, rows: FloatArray) -> FloatArray:
    """Shape ``(n, 2)``, each within (0, 1)."""
    return sigmoid(rows @ weights.hidden + weights.hidden_bias)


def logits(weights: XorWeights, rows: FloatArray) -> FloatArray:
    """Log-odds that the corners differ; rows ``(n, 2)`` in, ``(n, 1)`` out."""
    return np.asarray(hidden_activations(weights, rows) @ weights.output + weights.output_bias)


def gradients(weights: XorWeights, rows: FloatArray, labels: FloatArray) -> XorWeights:
    """Gradient of the mean cross-entropy over rows ``(n, 2)`` with labels 0 or 1, shape ``(n,)``."""
    hidden = hidden_activations(weights, rows)
    delta = (sigmoid(hidden @ weights.output + weights.output_bias) - labels[:, None]) / len(rows)
    delta_hidden = delta @ weights.output.T * hidden * (1.0 - hidden)
    return XorWeights(rows.T @ delta_hidden, delta_hidden.sum(axis=0), hidden.T @ delta, delta.sum(axis=0))


def fit(
    rows: FloatArray,
    labels: FloatArray,
    rng: np.random.Generator,
    *,
    steps: int = 2000,
    learning_rate: float = 2.0,
) -> XorWeights:
    """Gradient descent on all rows at once, from :func:`initial` values drawn from ``rng``."""
    weights = initial(rng)
    for _ in range(steps):
        weights = weights.moved(gradients(weights, rows, labels), learning_rate)
    return weights


def predict(frame: Any) -> FloatArray:
    """Probability that the corners differ, shape ``(n,)``, of a data frame with the columns x1 and x2.

    The network is trained on the four corners, moved to -1 and 1, when it is first asked.
    """
    return sigmoid(logits(_trained(), _centred(np.asarray(frame[["x1", "x2"]], dtype=np.float64))))[:, 0]


@lru_cache(maxsize=1)
def _trained() -> XorWeights:
    return fit(_centred(np.array(CORNERS)), np.array(DIFFER), numpy_rng(_SEED, "xor in numpy"))


def _centred(rows: FloatArray) -> FloatArray:
    """From the square between 0 and 1 to the one between -1 and 1."""
    return 2.0 * rows - 1.0
