"""What was found, checked again: the rows, their counterfactuals, and what is known about both."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.features import FeatureTable, is_other
from auditkit.audits.explainability.counterfactuals.judge import ROWS_AT_ONCE
from auditkit.audits.explainability.counterfactuals.recheck import violations
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Found:
    """Explained rows and their counterfactuals.

    Attributes:
        table: The features.
        data: The explained rows.
        own: Their values, shape ``(n, f)``.
        values: Those of their counterfactuals; the own ones where there is none.
        has: Whether there is one, shape ``(n,)``.
        distance: Shape ``(n,)``; only where there is one does it mean anything.
        parts: Share of each feature in the distance, shape ``(n, f)``.
        broken: Whether a counterfactual breaks a constraint, shape ``(n,)``.
        target: Class that was wanted, shape ``(n,)``.
        before: Log-probabilities of the rows, shape ``(n, k)``.
        after: Those of the counterfactuals; the same where there is none.
        n_searched: Rows whose search came to an end.
        n_fixed: Rows without a feature that may change.
        n_withdrawn: Counterfactuals that did not hold when they were asked about again.
    """

    table: FeatureTable
    data: Dataset
    own: FloatArray
    values: FloatArray
    has: BoolArray
    distance: FloatArray
    parts: FloatArray
    broken: BoolArray
    target: IntArray
    before: FloatArray
    after: FloatArray
    n_searched: int
    n_fixed: int
    n_withdrawn: int

    def __len__(self) -> int:
        return len(self.has)

    @property
    def changed(self) -> BoolArray:
        """Which features differ, shape ``(n, f)``."""
        return is_other(self.values, self.own)


def checked(search: Search, constraints: Constraints, before: FloatArray, n_searched: int) -> Found:
    """Encode what was found, ask about it again, and look at the constraints again.

    The time budget does not stop these last questions, one for each counterfactual.
    """
    judge, known = search.judge, search.best.known
    rows = np.flatnonzero(known)
    after, as_asked = before.copy(), judge.own_inputs.copy()
    if len(rows):
        inputs = torch.from_numpy(judge.inputs_of(search.best.values[rows], rows)).to(judge.data.inputs.dtype)
        asked = replace(judge.data.take(rows), inputs=inputs)
        after[rows] = judge.subject.predict(asked, batch_size=ROWS_AT_ONCE).log_probabilities
        as_asked[rows] = inputs.double().numpy()
    holds = known & (after.argmax(axis=1) == judge.target)
    broken = violations(judge.own_inputs, as_asked, judge.table, constraints)
    values = np.where(holds[:, None], search.best.values, judge.own)
    return Found(
        table=judge.table,
        data=judge.data,
        own=judge.own,
        values=values,
        has=holds,
        distance=search.distance.total(values, judge.own),
        parts=search.distance.by_feature(values, judge.own),
        broken=broken & holds,
        target=judge.target,
        before=before,
        after=after,
        n_searched=n_searched,
        n_fixed=int((~search.bounds.movable.any(axis=1)).sum()),
        n_withdrawn=int((known & ~holds).sum()),
    )
