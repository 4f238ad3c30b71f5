"""How far methods agree with one another: a figure, not a hidden choice."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.agreement import agreement
from auditkit.audits.explainability.quality.agreement_figures import AgreementMetrics
from auditkit.audits.explainability.quality.figures import Figures
from auditkit.audits.explainability.quality.resampling import row_means
from auditkit.audits.explainability.quality.scores import MethodRows
from auditkit.data.dataset import BoolArray, IntArray
from auditkit.records import Measurement, Message, Table

_METRICS = AgreementMetrics(
    metrics.PAIR_OVERLAP, metrics.PAIR_OVERLAP_OVER, metrics.PAIR_SIGNS, metrics.PAIR_RANKS
)


def pair_figures(
    methods: Sequence[MethodRows],
    present: BoolArray,
    person: IntArray | None,
    *,
    n_draws: int,
    rng: np.random.Generator,
    confidence: float,
) -> list[Measurement]:
    """Agreement of every pair of methods on the same rows; nothing for a single method."""
    found: list[Measurement] = []
    for first, second in combinations(methods, 2):
        both = agreement(first.attributions, second.attributions, present)
        scores = _METRICS.scores(both, signed=first.method.signed and second.method.signed)
        means = row_means(scores, person, n_draws=n_draws, rng=rng)
        names = Figures({"methods": f"{first.method.name} ~ {second.method.name}"}, len(present), confidence)
        found += [names.of(metric, mean) for metric, mean in means.items()]
    return found


def pair_table(pairs: Sequence[Measurement]) -> Table:
    """One line for each pair."""
    return _METRICS.table(
        pairs,
        "methods",
        Message(text="Methods"),
        title=Message(text="How far methods agree on which units matter"),
        caption=Message(
            text="Means over rows. Top units are a fifth of the units of a row; two random tops would "
            "share a fifth of them. Signs are compared where both methods have signs."
        ),
    )
