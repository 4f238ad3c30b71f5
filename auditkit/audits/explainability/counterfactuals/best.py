"""The nearest counterfactual that is known of each row."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.constraints import Bounds
from auditkit.audits.explainability.counterfactuals.distances import Distance
from auditkit.audits.explainability.counterfactuals.judge import Judge
from auditkit.data.dataset import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Best:
    """Fills up while it is searched, so that what was found before the time was up is kept.

    Attributes:
        values: Shape ``(n, f)``; the own ones where nothing is known.
        distance: Shape ``(n,)``; infinite where nothing is known.
    """

    values: FloatArray
    distance: FloatArray

    @classmethod
    def none_of(cls, own: FloatArray) -> "Best":
        """Nothing is known yet."""
        return cls(own.copy(), np.full(len(own), np.inf))

    @property
    def known(self) -> BoolArray:
        """Rows with a counterfactual, shape ``(n,)``."""
        return np.isfinite(self.distance)

    def offer(self, rows: IntArray, values: FloatArray, distance: FloatArray) -> None:
        """Take what is nearer; ``rows`` are all different, ``values`` turn the decision."""
        nearer = distance < self.distance[rows]
        self.values[rows[nearer]] = values[nearer]
        self.distance[rows[nearer]] = distance[nearer]


@dataclass(frozen=True, slots=True)
class Search:
    """Everything that a search needs to know.

    Attributes:
        judge: Tells what turns a decision.
        bounds: What each row may be given.
        distance: What is to be small.
        best: What is known so far.
    """

    judge: Judge
    bounds: Bounds
    distance: Distance
    best: Best

    def far(self, values: FloatArray, rows: IntArray) -> FloatArray:
        """Distance of changed rows from what they were."""
        return self.distance.total(values, self.judge.own[rows])

    def propose(self, rows: IntArray, values: FloatArray) -> FloatArray:
        """Ask about permitted values, keep those that turn the decision and are nearer; the leads."""
        lead = self.judge.lead(values, rows)
        turns = self.judge.is_turned(lead)
        self.best.offer(rows[turns], values[turns], self.far(values[turns], rows[turns]))
        return lead
