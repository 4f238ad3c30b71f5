"""DeepLIFT and layer-wise relevance propagation: slopes through every call, times what a row brings."""

from typing import Final

import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.gradient import batchwise
from auditkit.audits.explainability.methods.method import AttributionMethod, with_gradients
from auditkit.audits.explainability.methods.rescaled_calls import ratio_slopes, refusal, secant_slopes
from auditkit.data.dataset import FloatArray
from auditkit.records import Message

_DEEP_LIFT, _LRP = "deep-lift", "lrp"


def _deep_lift(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return batchwise(
        rows,
        lambda inputs, target: secant_slopes(rows, inputs, target, _DEEP_LIFT) * (inputs - rows.baseline),
    )


def _deep_lift_obstacle(rows: ExplainedRows) -> Message | None:
    return refusal(rows, _DEEP_LIFT, ratios=False)


def _relevance(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    """What each unit is given of the score itself; the biases of the model keep their part."""
    return batchwise(rows, lambda inputs, target: ratio_slopes(rows, inputs, target, _LRP) * inputs)


def _relevance_obstacle(rows: ExplainedRows) -> Message | None:
    return refusal(rows, _LRP, ratios=True)


DEEP_LIFT: Final = AttributionMethod(
    name=_DEEP_LIFT,
    attribute=_deep_lift,
    obstacle=with_gradients(_deep_lift_obstacle),
    adds_up=True,
    exact=True,
    sources=(
        "Shrikumar, Greenside and Kundaje (2017), Learning Important Features Through Propagating Activation "
        "Differences, arXiv:1704.02685",
    ),
)

LRP: Final = AttributionMethod(
    name=_LRP,
    attribute=_relevance,
    obstacle=with_gradients(_relevance_obstacle),
    sources=(
        "Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise "
        "Relevance Propagation, doi:10.1371/journal.pone.0130140",
    ),
)
