"""Guided backpropagation: the gradient, without what is negative behind any ReLU.

It hardly changes when the weights of a model are drawn anew (Adebayo et al. 2018, arXiv:1810.03292), so it is
here as a control that a test of explanations must fail, not as an explanation to rely on.
"""

from typing import Any, Final

import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.call_rules import Call
from auditkit.audits.explainability.methods.gradient import batchwise
from auditkit.audits.explainability.methods.method import AttributionMethod, with_gradients
from auditkit.audits.explainability.methods.watched_calls import PROBED, Watch, unseen_layer, watched_scores
from auditkit.data.dataset import FloatArray
from auditkit.records import Message


class _Guided(Watch):
    """Cuts gradients below zero off in front of every ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.n_guided = 0

    def answer(self, call: Call) -> Any:
        if call.name != "relu":
            return call.made()
        self.n_guided += 1
        (inputs,) = call.carriers
        before = inputs.clone()
        before.register_hook(lambda gradient: gradient.clamp(min=0))  # type: ignore[no-untyped-call]
        return torch.relu(before)


def guided_gradients(rows: ExplainedRows, inputs: Tensor, target: Tensor) -> Tensor:
    """Of the score to the elements of ``inputs``, same shape."""
    scores, at = watched_scores(rows, inputs, target, _Guided())
    (found,) = torch.autograd.grad(scores.sum(), at)
    return found


def _guided(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return batchwise(rows, lambda inputs, target: guided_gradients(rows, inputs, target).abs())


def _obstacle(rows: ExplainedRows) -> Message | None:
    reason = unseen_layer(rows)
    if reason is not None:
        return reason
    watch = _Guided()
    watched_scores(rows, rows.inputs[:PROBED], rows.target[:PROBED], watch)
    if watch.n_guided:
        return None
    return Message(text="the model has no ReLU, and without one this is the gradient itself (saliency)")


GUIDED_BACKPROP: Final = AttributionMethod(
    name="guided-backprop",
    attribute=_guided,
    obstacle=with_gradients(_obstacle),
    signed=False,
    sources=(
        "Springenberg et al. (2014), Striving for Simplicity, arXiv:1412.6806",
        "Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv:1810.03292",
    ),
)
