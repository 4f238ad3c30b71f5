"""Influence of every training row on the explained predictions, by two methods that share no step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch

from auditkit.audits.explainability.influence.curvature import curvature_of, is_exact
from auditkit.audits.explainability.influence.gradient_products import gradient_products
from auditkit.audits.explainability.influence.last_layer import last_linear, layer_rows
from auditkit.audits.explainability.influence.row_gradients import row_gradients
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

Method = Literal["last-layer", "gradients"]

METHODS: Final[tuple[Method, ...]] = ("last-layer", "gradients")
"""The better founded one first. What retraining on random halves of the rows does to a network, it foretells
with a rank correlation of 0.66 to 0.76, gradients with 0.22 to 0.48 (``benchmarks/influence.py``)."""


@dataclass(frozen=True, slots=True)
class Influences:
    """By one method.

    Attributes:
        on_predictions: Of training row ``i`` on the explained prediction ``j``, shape ``(m, n)``: positive
            where the row argued for what was predicted. In the last layer by how much its log-odds would
            fall without the row, in nats; by gradients how much they rise for a step on the row, per unit of
            the learning rate.
        on_itself: Of every training row on its own loss, not negative, shape ``(n,)``.
        note: What else there is to know.
    """

    on_predictions: FloatArray
    on_itself: FloatArray
    note: Message


@dataclass(frozen=True, slots=True)
class Question:
    """Whose influence on what.

    Attributes:
        training: The training rows.
        weights: With which their losses count, mean 1, shape ``(n,)``.
        n_trained: Rows that the model was trained on, of which ``training`` may be a sample.
        explained: The rows whose predictions are explained.
        predicted: Their predicted classes, shape ``(m,)``.
        against: The classes against which the log-odds of the predicted ones are taken, shape ``(m,)``.
    """

    training: Dataset
    weights: FloatArray
    n_trained: int
    explained: Dataset
    predicted: IntArray
    against: IntArray


@dataclass(frozen=True, slots=True)
class Setting:
    """How influence is computed: see the parameters of the audit."""

    damping: float
    exact_parameters: int
    projection: int


def influences(
    subject: WhiteBox, question: Question, setting: Setting, rng: Callable[[], torch.Generator]
) -> Mapping[Method, Influences | Message]:
    """By each method, or why it gives nothing.

    Args:
        subject: The model; left as it was.
        question: Rows.
        setting: Numbers.
        rng: Makes the generator of a projection.
    """
    return {
        "last-layer": _if_finite(by_last_layer(subject, question, setting)),
        "gradients": _if_finite(by_gradients(subject, question, setting, rng)),
    }


def _if_finite(found: Influences | Message) -> Influences | Message:
    if isinstance(found, Message) or (
        np.isfinite(found.on_predictions).all() and np.isfinite(found.on_itself).all()
    ):
        return found
    return Message(
        text="Influences are not finite: gradients or losses of the model are too large for its precision."
    )


def by_last_layer(subject: WhiteBox, question: Question, setting: Setting) -> Influences | Message:
    """By how much leaving row ``i`` out would lower the log-odds of prediction ``j``: ``c_j' H^-1 g_i / n``.

    ``g`` is the gradient of the row's loss and ``c`` that of the log-odds, turned round, in the last layer,
    all before it taken as it is; ``H`` is that of the loss without the row where the layer is small enough.

    Source:
        Koh and Liang (2017), arXiv:1703.04730, equation 2; see :mod:`curvature`.
    """
    layer = last_linear(subject, question.training)
    if isinstance(layer, Message):
        return layer
    training = layer_rows(subject, layer, question.training)
    explained = layer_rows(subject, layer, question.explained)
    if isinstance(training, Message):
        return training
    if isinstance(explained, Message):
        return explained
    curvature = curvature_of(
        training, question.weights, damping=setting.damping, exact_parameters=setting.exact_parameters
    )
    if curvature is None:
        return Message(text="The loss of the training rows is flat in every direction of the last layer.")
    followed = explained.residuals(question.predicted) - explained.residuals(question.against)
    solved = curvature.solve(followed[:, :, None] * explained.features[:, None, :])
    shares = question.weights / question.n_trained
    left_out = curvature.left_out(training, question.training.y_true, shares)
    products = [((left_out.residuals @ one) * training.features).sum(axis=1) for one in solved]
    whole = is_exact(training, setting.exact_parameters)
    return Influences(
        np.array(products) * shares,
        left_out.own * shares,
        Message(text=_EXACT if whole else _KRONECKER, values={"parameters": training.n_parameters}),
    )


_EXACT: Final = (
    "Influence in the last layer: its {parameters} parameters, with the whole Hessian of the training loss, "
    "damped; the layers before it are taken as they are."
)
_KRONECKER: Final = (
    "Influence in the last layer: its {parameters} parameters, with Kronecker factors of the Hessian of the "
    "training loss, damped; the layers before it are taken as they are."
)


def by_gradients(
    subject: WhiteBox, question: Question, setting: Setting, rng: Callable[[], torch.Generator]
) -> Influences | Message:
    """``c_j' g_i`` over all parameters: what a step on row ``i`` adds to the log-odds of prediction ``j``."""
    training = question.training
    gradients = row_gradients(subject, training.inputs, training.y_true)
    if isinstance(gradients, Message):
        return gradients
    found = gradient_products(
        gradients,
        (question.explained.inputs, question.predicted, question.against),
        (training.inputs, training.y_true),
        projection=setting.projection,
        rng=rng,
    )
    values: dict[str, str | int | float] = {"parameters": gradients.n_parameters}
    note = Message(
        text="Influence by gradients: inner products over all {parameters} parameters.", values=values
    )
    if found.projected_on is not None:
        note = Message(
            text="Influence by gradients: inner products over all {parameters} parameters, projected on "
            "{directions} random directions; products are off by about {percent} % of the product of "
            "lengths.",
            values={
                **values,
                "directions": found.projected_on,
                "percent": round(100 / found.projected_on**0.5, 1),
            },
        )
    return Influences(found.products * question.weights, found.squared_lengths * question.weights, note)
