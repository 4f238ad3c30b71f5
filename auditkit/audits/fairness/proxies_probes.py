"""Small models that foretell a sensitive feature of rows they were not trained on."""

import numpy as np
from scipy.special import logit
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from auditkit.audits.fairness.proxies_inputs import ProbeInputs
from auditkit.audits.fairness.proxies_rows import AttributeRows
from auditkit.data.dataset import FloatArray
from auditkit.records import Interval
from auditkit.statistics.intervals import critical_value
from auditkit.statistics.linear_probe import ProbeResult, area_of
from auditkit.statistics.linear_probe import linear_probe as linear

TREES = 40
LEAVES = 8
RATE = 0.15


def linear_probe(
    columns: FloatArray,
    rows: AttributeRows,
    *,
    n_permutations: int,
    rng: np.random.Generator,
    confidence: float,
) -> ProbeResult:
    """Ridge regression, see :func:`auditkit.statistics.linear_probe.linear_probe`.

    Args:
        columns: Standardised, shape ``(n, d)``.
        rows: The rows they belong to.
        n_permutations: Of the levels.
        rng: Draws them.
        confidence: Of the interval.
    """
    return linear(columns, rows.probed, n_permutations=n_permutations, rng=rng, confidence=confidence)


def boosted_probe(inputs: ProbeInputs, rows: AttributeRows, *, seed: int, confidence: float) -> ProbeResult:
    """Gradient-boosted trees, which also find what needs two inputs together; the interval gives p.

    Args:
        inputs: Of the same rows.
        rows: Rows and folds.
        seed: Of the trees.
        confidence: Of the interval.
    """
    scores = np.zeros((len(rows), len(rows.columns)))
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    for fold in np.unique(rows.folds):
        held = rows.folds == fold
        model = HistGradientBoostingClassifier(
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            learning_rate=RATE,
            early_stopping=False,
            categorical_features=inputs.categorical,
            random_state=seed % 2**32,
        )
        found = np.zeros((int(held.sum()), len(rows.levels)))
        # so few rows gain nothing from threads, which wait for each other on a busy machine
        with threadpool_limits(1, user_api="openmp"):
            model.fit(inputs.compact[~held], rows.codes[~held], sample_weight=weights[~held])
            found[:, model.classes_] = model.predict_proba(inputs.compact[held])
        scores[held] = found[:, list(rows.columns)]
    auc, interval = area_of(scores, rows.probed, confidence)
    return ProbeResult(auc, interval, _p_of(auc, interval), len(rows))


def _p_of(auc: float, interval: Interval) -> float:
    """One-sided, of an area of one half, from the wider side of the interval on the logit scale."""
    if not 0.5 < auc < 1:
        return 0.0 if auc == 1 and interval.low > 0.5 else 1.0
    reach = float(logit(auc) - logit(interval.low)) / critical_value(interval.confidence)
    return float(norm.sf(logit(auc) / reach)) if reach > 0 else 1.0
