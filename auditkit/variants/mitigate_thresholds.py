"""Thresholds per group on the scores of the baseline, and the subject that decides by them.

Source: Hardt, Price and Srebro (2016), arXiv:1610.02413, as fitted by Fairlearn's ``ThresholdOptimizer``.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairlearn.postprocessing import ThresholdOptimizer
from sklearn.base import BaseEstimator, ClassifierMixin

from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import UsageError
from auditkit.records import SubjectCard
from auditkit.subjects.answers import certain
from auditkit.subjects.subject import Capability, Predictions, Subject, preprocessing_of
from auditkit.variants.mitigate_task import NOT_KNOWN, BinaryTask, Constraint, groups_of

CONSTRAINTS: Mapping[Constraint, str] = {
    "demographic_parity": "demographic_parity",
    "equalized_odds": "equalized_odds",
    "equal_opportunity": "true_positive_rate_parity",
    "false_positive_rate": "false_positive_rate_parity",
}
"""What Fairlearn calls each."""

CAPABILITIES: frozenset[Capability] = frozenset({"predictions"})


@dataclass(frozen=True, slots=True)
class Threshold:
    """Favourable where the score is above ``at``, or with ``below`` where it is below."""

    at: float
    below: bool = False

    def __call__(self, scores: FloatArray) -> FloatArray:
        """1 where favourable, else 0."""
        return np.asarray(scores < self.at if self.below else scores > self.at, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class GroupRule:
    """How often a score of one group is decided favourably.

    With probability ``ignoring`` the decision is favourable with probability ``constant``, whatever the
    score; else the first threshold decides with probability ``first_share``, or the second.

    Attributes:
        share: Of the group among the rows the rules were fitted on.
    """

    level: str
    share: float
    first: Threshold
    second: Threshold
    first_share: float
    ignoring: float = 0.0
    constant: float = 0.0

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Probability of a favourable decision, shape ``(n,)``."""
        by_score = self.first_share * self.first(scores) + (1 - self.first_share) * self.second(scores)
        return self.ignoring * self.constant + (1 - self.ignoring) * by_score


@dataclass(frozen=True, slots=True)
class GroupThresholds:
    """One rule per group; where the group is not known, their average by shares."""

    attribute: str
    rules: tuple[GroupRule, ...]

    @property
    def levels(self) -> tuple[str, ...]:
        """Of the groups that have a rule."""
        return tuple(rule.level for rule in self.rules)

    def probability(self, scores: FloatArray, group: IntArray) -> FloatArray:
        """Of a favourable decision about each row, shape ``(n,)``; ``group`` indexes ``rules``."""
        by_rule = np.stack([rule(scores) for rule in self.rules])
        shares = np.array([rule.share for rule in self.rules])
        pooled = shares / shares.sum() @ by_rule
        own = by_rule[np.maximum(group, 0), np.arange(len(scores))]
        return np.asarray(np.where(group == NOT_KNOWN, pooled, own))


class _GivenScores(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A fitted estimator whose single feature is the score itself."""

    classes_ = np.array([0, 1])

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, _rows: Any, _labels: Any) -> "_GivenScores":
        return self

    def predict_proba(self, rows: Any) -> FloatArray:
        score = np.asarray(rows, dtype=np.float64)[:, 0]
        return np.column_stack([1 - score, score])


def fit_optimizer(scores: FloatArray, task: BinaryTask, constraint: Constraint) -> ThresholdOptimizer:
    """Fairlearn's optimiser for accuracy, fitted on the rows of ``task`` whose group has both labels.

    Raises:
        UsageError: Fewer than two groups have rows of both labels.
    """
    fitted = _rows_that_fit(task)
    optimizer = ThresholdOptimizer(
        estimator=_GivenScores(),
        constraints=CONSTRAINTS[constraint],
        objective="accuracy_score",
        prefit=True,
        predict_method="predict_proba",
    )
    names = np.array(task.levels, dtype=object)[task.group[fitted]]
    optimizer.fit(scores[fitted, None], task.positive[fitted].astype(int), sensitive_features=names)
    return optimizer


def fit_thresholds(scores: FloatArray, task: BinaryTask, constraint: Constraint) -> GroupThresholds:
    """The rules that :func:`fit_optimizer` finds, as plain values.

    Args:
        scores: Probabilities of the favourable label, shape ``(n,)``.
        task: Labels and groups of the same rows. Their weights play no part.
        constraint: The rates to be made equal.
    """
    optimizer = fit_optimizer(scores, task, constraint)
    fitted = _rows_that_fit(task)
    found = optimizer.interpolated_thresholder_.interpolation_dict
    rules = [
        _rule(level, found[level], float(np.mean(task.group[fitted] == group)))
        for group, level in enumerate(task.levels)
        if level in found
    ]
    return GroupThresholds(task.attribute, tuple(rules))


def _rows_that_fit(task: BinaryTask) -> BoolArray:
    """Rows of groups that have both labels: others have no curve of rates to choose a point on."""
    both = [
        group for group in range(len(task.levels)) if len(np.unique(task.positive[task.group == group])) == 2
    ]
    if len(both) < 2:
        raise UsageError(
            f"mitigate: threshold-optimiser needs training rows of both labels in two groups of "
            f"{task.attribute}; only {len(both)} of {len(task.levels)} groups have them"
        )
    return np.asarray(np.isin(task.group, both))


def _rule(level: str, found: Any, share: float) -> GroupRule:
    return GroupRule(
        level,
        share,
        _threshold(found.operation0),
        _threshold(found.operation1),
        float(found.p0),
        float(found.get("p_ignore", 0.0)),
        float(found.get("prediction_constant", 0.0)),
    )


def _threshold(operation: Any) -> Threshold:
    return Threshold(float(operation.threshold), operation.operator == "<")


@dataclass(frozen=True, slots=True)
class ThresholdedSubject:
    """The baseline, deciding by a threshold per group. It answers with labels alone.

    Where a rule leaves a decision to chance, a number made from the inputs of the row and the seed decides:
    the same row always gets the same answer, whatever stands beside it, and rows with equal inputs share
    theirs.
    """

    card: SubjectCard
    baseline: Subject
    thresholds: GroupThresholds
    positive: int
    seed: int

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Predictions alone: a decision is not a probability."""
        return CAPABILITIES

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw rows become the inputs of the baseline."""
        return preprocessing_of(self.baseline)

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Near certainty about the label that was decided on.

        Raises:
            DataError: The data do not have the attribute.
        """
        probability = self.selection_probability(data, batch_size=batch_size)
        selected = row_draws(data.inputs, self.seed) < probability
        return Predictions(certain(np.where(selected, self.positive, 1 - self.positive), 2))

    def selection_probability(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """How often the rules would decide favourably about each row, shape ``(n,)``."""
        group = groups_of(data, self.thresholds.attribute, self.thresholds.levels)
        scores = self.baseline.predict(data, batch_size=batch_size).probabilities[:, self.positive]
        return self.thresholds.probability(scores, group)


def row_draws(inputs: torch.Tensor, seed: int) -> FloatArray:
    """A number in ``[0, 1)`` for every row, as if drawn at random, from its inputs and the seed alone."""
    rows = inputs.detach().cpu().contiguous()
    if rows.is_floating_point():
        rows = rows + 0.0  # minus zero is the same input as zero
    flat = rows.flatten(1).numpy()
    key = seed.to_bytes(8, "big")
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in flat]
    return np.array([(int.from_bytes(one, "big") >> 11) * math.ldexp(1, -53) for one in hashes])
