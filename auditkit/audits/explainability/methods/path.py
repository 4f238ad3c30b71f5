"""Integrated gradients as a method among others."""

from typing import Final

import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows, differentiable_kernels
from auditkit.audits.explainability.integrated_gradients import Attributions, Precision, integrated_gradients
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.watched_calls import fixed_parameters
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.data.dataset import FloatArray

DEFAULT: Final = Precision()

COARSE: Final = Precision(tolerance=2e-2, max_evaluations=64)
"""Where attributions are only ranked."""


def along_the_path(rows: ExplainedRows, precision: Precision = DEFAULT) -> Attributions:
    """Attributions of the units, shape ``(n, m)``, with what tells whether they add up."""
    subject = rows.white_box
    with fixed_parameters(subject.module), differentiable_kernels(subject):
        path = StraightPath(
            rows.score,
            rows.inputs.detach(),
            rows.baseline.detach(),
            rows.target,
            rows.pooled,
            rows.batch_size,
            rows.lengths,
            rows.kinds,
        )
        return integrated_gradients(path, precision)


def _values(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return along_the_path(rows).values


def _coarse_values(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return along_the_path(rows, COARSE).values


INTEGRATED_GRADIENTS: Final = AttributionMethod(
    name="integrated-gradients",
    attribute=_values,
    coarse=_coarse_values,
    adds_up=True,
    sources=("Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365",),
)
