"""Do the parts of the score give the group away?"""

import numpy as np

from auditkit.audits.explainability.gap_decomposition.compared_groups import Comparison
from auditkit.audits.explainability.gap_decomposition.score_parts import ScoreParts
from auditkit.data.dataset import Dataset
from auditkit.records import Message
from auditkit.statistics.linear_probe import ProbedRows, ProbeResult, linear_probe, standardised
from auditkit.statistics.units import folds_of


def leakage_of(
    parts: ScoreParts,
    data: Dataset,
    comparison: Comparison,
    *,
    folds: int,
    n_permutations: int,
    confidence: float,
    rng: np.random.Generator,
) -> ProbeResult | Message:
    """AUC of foretelling the group from the parts of a row, on rows that the probe was not trained on.

    Args:
        parts: Of all rows.
        data: The same rows.
        comparison: Groups; rows of none are left out.
        folds: Of the rows; persons stay together.
        n_permutations: Of the groups, for the p-value.
        confidence: Of the interval.
        rng: Deals out folds and permutes.
    """
    rows = np.flatnonzero(comparison.known)
    columns = standardised(parts.values[rows])
    if not columns.shape[1]:
        return Message(text="no feature moves the score differently from row to row")
    units = None if data.person is None else data.person[rows]
    codes = comparison.codes[rows]
    weights = None if data.sample_weight is None else data.sample_weight[rows]
    if weights is not None and bool((weights == weights[0]).all()):
        weights = None
    probed = ProbedRows(codes, len(comparison.levels), folds_of(codes, units, folds, rng), weights, units)
    return linear_probe(columns, probed, n_permutations=n_permutations, rng=rng, confidence=confidence)
