"""Every method that Captum has too, on every system, against Captum.

Bars: where both give attributions that are what they promise, the largest deviation is below 1e-5 of the
largest absolute attribution; no method of ours is silent about a sum that does not come out.
"""

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.averaged import between, mean_gradients
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.gradient import gradients
from auditkit.audits.explainability.methods.safe_front import Attributed, attributed, score_changes
from auditkit.data.dataset import FloatArray
from auditkit.randomness import torch_rng
from auditkit.records import Message
from benchmarks.attribution_systems import (
    CAPTUM,
    DRAWS,
    STEPS,
    SYSTEMS,
    Asked,
    asked_of,
    captum_gradient_shap,
    captum_says,
    rows_of,
    system,
)

TOLERANCE = 1e-5
"""Of the largest absolute attribution."""

SHARED_DRAWS = ("gradient-shap", "smoothgrad")
"""Methods that draw; both sides get the same draws."""

CAPTUM_REFUSES = (TypeError, RuntimeError, AssertionError, AttributeError, KeyError)
_NOISE = 0.1

Row = dict[str, float | str | None]


def run() -> dict[str, object]:
    """One row per method and system: the deviation, or who refuses and why."""
    table = {name: agreement_on(name) for name in SYSTEMS}
    deviations = [
        float(row["deviation"])
        for rows in table.values()
        for row in rows.values()
        if row["deviation"] is not None
    ]
    return {
        "systems": table,
        "pairs_compared": len(deviations),
        "largest_deviation": max(deviations),
        "bar": {"largest_deviation": TOLERANCE},
        "holds": max(deviations) < TOLERANCE,
    }


def agreement_on(name: str, *, n: int = 12, seed: int = 0) -> dict[str, Row]:
    """What both say of ``n`` rows of one system, by method."""
    subject, data = system(name, n=n, seed=seed)
    rows = rows_of(subject, data)
    asked = asked_of(subject, data, rows)
    found = {method: _one(method, asked) for method in CAPTUM}
    return found | {
        "gradient-shap": _row(*_gradient_shap(asked)),
        "smoothgrad": _row(*_smooth(asked)),
    }


def _one(method: str, asked: Asked) -> Row:
    rows = asked.rows
    ours = _ours(method, rows)
    try:
        theirs = np.where(rows.present, captum_says(method, asked).cpu().numpy(), 0.0)
    except CAPTUM_REFUSES as error:
        said = f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"
        return {"deviation": None, "ours": _said(ours), "captum": f"refused: {said}"}
    gap = float(np.abs(theirs.sum(axis=1) - score_changes(rows)).max())
    if METHODS[method].exact and gap > 1e-3 * float(np.abs(score_changes(rows)).max()):
        return {"deviation": None, "ours": _said(ours), "captum": f"does not add up: off by {gap:.2g}"}
    if isinstance(ours, Message):
        return {"deviation": None, "ours": _said(ours), "captum": "gives attributions"}
    return _row(ours.values, theirs)


def _ours(method: str, rows: ExplainedRows) -> Attributed | Message:
    if method != "integrated-gradients":
        return attributed(METHODS[method], rows, torch_rng(0, method))
    # The same points and weights as Captum's: where gradients are best taken is proven elsewhere.
    total = torch.zeros_like(rows.inputs)
    for step in range(STEPS):
        at = rows.baseline + (step + 0.5) / STEPS * (rows.inputs - rows.baseline)
        total += gradients(rows, at, rows.target) / STEPS
    values = rows.pooled((total * (rows.inputs - rows.baseline)).double())
    return Attributed(METHODS[method], values.cpu().numpy())


def _said(ours: Attributed | Message) -> str:
    return f"refused: {ours}" if isinstance(ours, Message) else "gives attributions"


def _row(ours: FloatArray, theirs: FloatArray) -> Row:
    size = max(float(np.abs(theirs).max()), 1e-12)
    return {"deviation": float(np.abs(ours - theirs).max()) / size, "ours": "given", "captum": "given"}


def _gradient_shap(asked: Asked) -> tuple[FloatArray, FloatArray]:
    theirs, shares = captum_gradient_shap(asked, seed=3)
    ours = between(asked.rows, asked.rows.inputs, asked.rows.target, shares)
    return ours.double().cpu().numpy(), theirs.double().cpu().numpy()


def _smooth(asked: Asked) -> tuple[FloatArray, FloatArray]:
    """Captum's gradient at the same noisy inputs, averaged; its own noise comes from the global generator."""
    rng = torch_rng(0, "noise")
    noise = torch.stack([_NOISE * torch.randn(asked.rows.inputs.shape, generator=rng) for _ in range(DRAWS)])
    theirs = torch.stack([asked.gradient_at(asked.rows.inputs + one) for one in noise]).double().mean(dim=0)
    points = asked.rows.inputs.unsqueeze(1) + noise.transpose(0, 1)
    ours = mean_gradients(asked.rows, points, asked.rows.target)
    return ours.cpu().numpy(), theirs.cpu().numpy()
