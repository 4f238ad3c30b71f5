"""How far explanations agree over models that were trained for the same task.

Source: Krishna et al. (2022), The Disagreement Problem in Explainable Machine Learning, arXiv:2202.01602.
"""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.safe_front import attributed
from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.agreement import stability
from auditkit.audits.explainability.quality.agreement_figures import AgreementMetrics
from auditkit.audits.explainability.quality.explaining import Explainer, some_of
from auditkit.audits.explainability.quality.figures import Figures
from auditkit.audits.explainability.quality.resampling import row_means
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.randomness import numpy_rng, torch_rng
from auditkit.records import Measurement, Message, Table

_METRICS = AgreementMetrics(
    metrics.AGAIN_OVERLAP, metrics.AGAIN_OVERLAP_OVER, metrics.AGAIN_SIGNS, metrics.AGAIN_RANKS
)


def agreement_of_models(
    method: AttributionMethod,
    models: Sequence[ExplainedRows],
    person: IntArray | None,
    *,
    seed: int,
    n_draws: int,
    confidence: float,
) -> list[Measurement]:
    """How far explanations of the same rows agree over models, in the mean of all pairs of models.

    Args:
        method: That explains; in its cheaper form where it has one.
        models: The same rows, at least two models, the audited one first.
        person: Which rows belong together, shape ``(n,)``.
        seed: Of all draws.
        n_draws: Of the rows, for intervals.
        confidence: Of the intervals.
    """
    every = np.arange(len(models[0].inputs))
    explanations = [_explanation(method, some_of(rows, every), seed) for rows in models]
    refused = next((one for one in explanations if isinstance(one, Message)), None)
    group, n_rows = {"method": method.name}, len(every)
    if refused is not None:
        facts = metrics.FACTS[metrics.AGAIN_RANKS]
        return [
            Measurement(
                metric=metrics.AGAIN_RANKS, value=None, n=0, better=facts.better, group=group, missing=refused
            )
        ]
    both = stability([one for one in explanations if not isinstance(one, Message)], models[0].present)
    scores = _METRICS.scores(both, signed=method.signed)
    means = row_means(
        scores, person, n_draws=n_draws, rng=numpy_rng(seed, "models trained again", method.name)
    )
    figures = Figures(group, n_rows, confidence)
    return [figures.of(metric, mean) for metric, mean in means.items()]


def _explanation(method: AttributionMethod, rows: ExplainedRows, seed: int) -> FloatArray | Message:
    obstacle = attributed(
        method, some_of(rows, np.arange(min(2, len(rows.inputs)))), torch_rng(seed, "probe", method.name)
    )
    return obstacle if isinstance(obstacle, Message) else Explainer(method, seed, is_coarse=True)(rows)


def models_table(figures: Sequence[Measurement], n_models: int) -> Table:
    """One line for each method."""
    return _METRICS.table(
        figures,
        "method",
        Message(text="Method"),
        title=Message(text="How far explanations of models trained again agree"),
        caption=Message(
            text="Means over rows and over all pairs of {n} models, the audited one among them, for the "
            "class that it predicts. Intervals are about the rows; models from other trainings may differ "
            "more.",
            values={"n": n_models},
        ),
    )
