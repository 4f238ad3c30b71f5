"""Linear models, weighted, that keep a constraint on rates, and the subject that they make together.

Source: Agarwal, Beygelzimer, Dudik, Langford and Wallach (2018), arXiv:1803.02453, as in Fairlearn's
``ExponentiatedGradient``.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from fairlearn import reductions
from scipy.linalg import LinAlgWarning
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.data.scores import log_of
from auditkit.records import SubjectCard
from auditkit.subjects.subject import Capability, Predictions, Subject, preprocessing_of
from auditkit.variants.mitigate_correlation import flat_numbers
from auditkit.variants.mitigate_task import BinaryTask, Constraint

MOMENTS: Mapping[Constraint, str] = {
    "demographic_parity": "DemographicParity",
    "equalized_odds": "EqualizedOdds",
    "equal_opportunity": "TruePositiveRateParity",
    "false_positive_rate": "FalsePositiveRateParity",
}
"""Classes of Fairlearn."""

CAPABILITIES: frozenset[Capability] = frozenset({"predictions", "probabilities", "losses"})

_MOST_ITERATIONS = 1000
_CERTAIN = 50.0
"""Log-odds of an answer that is always the same."""


@dataclass(frozen=True, slots=True)
class LinearMixture:
    """Logistic models and the weight of each.

    Attributes:
        coefficients: One row per model, shape ``(m, d)``.
        intercepts: Shape ``(m,)``.
        weights: Sum to 1, shape ``(m,)``; none is 0.
        n_unfinished: Models whose fit ended before it converged.
    """

    coefficients: FloatArray
    intercepts: FloatArray
    weights: FloatArray
    n_unfinished: int = 0

    def __call__(self, columns: FloatArray) -> FloatArray:
        """Weighted mean of the probabilities, shape ``(n,)``, for rows of shape ``(n, d)``."""
        stated = expit(columns @ self.coefficients.T + self.intercepts)
        return np.asarray(np.clip((stated * self.weights).sum(axis=1), 0.0, 1.0))


def columns_of(baseline: Subject, data: Dataset, positive: int, *, batch_size: int) -> FloatArray:
    """What the linear models read: the inputs, then the log-odds that the baseline states.

    With the inputs alone they would give up whatever the baseline found beyond straight lines.

    Raises:
        UsageError: The inputs are not numbers.
    """
    inputs = flat_numbers(data, "exponentiated-gradient")
    logs = baseline.predict(data, batch_size=batch_size).log_probabilities
    return np.column_stack([inputs, logs[:, positive] - logs[:, 1 - positive]])


def fit_reduction(
    columns: FloatArray, task: BinaryTask, constraint: Constraint, slack: float
) -> reductions.ExponentiatedGradient:
    """Fairlearn's reduction around logistic regression, on the rows with a known attribute.

    Args:
        columns: Shape ``(n, d)``.
        task: Labels and groups of the same rows; their weights play no part.
        constraint: The rates to be made equal.
        slack: How far the rate of a group may lie from the rate of all.
    """
    known = np.flatnonzero(task.known)
    moment = getattr(reductions, MOMENTS[constraint])(difference_bound=slack)
    reduction = reductions.ExponentiatedGradient(
        LogisticRegression(solver="newton-cholesky", max_iter=_MOST_ITERATIONS), moment, eps=slack
    )
    labels, groups = task.positive[known].astype(int), task.group[known]
    with warnings.catch_warnings():
        # Fairlearn 0.15 writes to its series in ways that pandas 4 will refuse; pandas 2 says FutureWarning.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # Counted in LinearMixture.n_unfinished.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Where Newton's method meets a singular matrix, scikit-learn goes on with L-BFGS.
        warnings.simplefilter("ignore", LinAlgWarning)
        reduction.fit(columns[known], labels, sensitive_features=groups)
    return reduction


def mixture_of(reduction: reductions.ExponentiatedGradient, n_columns: int) -> LinearMixture:
    """The models that have weight, as plain values."""
    used = [index for index, weight in reduction.weights_.items() if weight > 0]
    linear = [_linear(reduction.predictors_[index], n_columns) for index in used]
    weights = np.array([reduction.weights_[index] for index in used], dtype=np.float64)
    return LinearMixture(
        np.stack([coefficients for coefficients, _, _ in linear]),
        np.array([intercept for _, intercept, _ in linear]),
        weights / weights.sum(),
        sum(not finished for _, _, finished in linear),
    )


def _linear(predictor: Any, n_columns: int) -> tuple[FloatArray, float, bool]:
    """Coefficients, intercept, and whether the fit converged; a constant answer has coefficients 0."""
    if isinstance(predictor, LogisticRegression):
        finished = int(predictor.n_iter_.max()) < _MOST_ITERATIONS
        return np.asarray(predictor.coef_[0]), float(predictor.intercept_[0]), finished
    return np.zeros(n_columns), _CERTAIN if predictor.constant == 1 else -_CERTAIN, True


@dataclass(frozen=True, slots=True)
class MixtureSubject:
    """Logistic models on the inputs and the answer of the baseline; their weighted mean is the answer.

    The reduction promises its constraint for a model that is picked by chance, by the weights. The mean
    answers alike every time, and keeps the constraint less exactly; the audits measure how far.
    """

    card: SubjectCard
    baseline: Subject
    mixture: LinearMixture
    positive: int

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Predictions, probabilities and losses."""
        return CAPABILITIES

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw rows become the inputs of the baseline."""
        return preprocessing_of(self.baseline)

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Log-probabilities of all rows; none is below the smallest that counts."""
        stated = self.mixture(columns_of(self.baseline, data, self.positive, batch_size=batch_size))
        columns = np.empty((len(data), 2))
        columns[:, self.positive], columns[:, 1 - self.positive] = stated, 1 - stated
        return Predictions(log_of(columns))
