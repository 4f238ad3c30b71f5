"""SAGE: how the gain of a model over a constant guess is shared among its features, by Shapley values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.global_view.asked import AT_ONCE, Asked
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.clustered import clustered_mean
from auditkit.statistics.intervals import critical_value

DRAWS_PER_ROUND = 64
"""Orders of features that are drawn before it is asked whether they suffice."""

ROUNDING = 1e-12
"""Relative, of sums in double precision."""

FEWEST_DRAWS = 256
"""Below this many the standard errors are themselves too uncertain to stop at."""


@dataclass(frozen=True, slots=True)
class Effort:
    """When to stop.

    Attributes:
        precision: Largest standard error over the range of the values at which drawing stops.
        max_evaluations: Rows that the subject is asked about at most, unless the first round needs more.
    """

    precision: float
    max_evaluations: int


@dataclass(frozen=True, slots=True)
class SageDraws:
    """What each draw of a row and an order of the features gave.

    Attributes:
        gains: Fall of the row's cost when each feature becomes known, shape ``(n_draws, n_units)``.
        index: The row of each draw, shape ``(n_draws,)``.
        constant: Cost of every row when nothing is known: of the mean prediction, shape ``(n,)``.
        full: Cost of every row when all is known, shape ``(n,)``.
        precision: Largest standard error over the range of the values; ``None`` where all are equal.
        is_precise: Whether drawing stopped because that was small enough.
    """

    gains: FloatArray
    index: IntArray
    constant: FloatArray
    full: FloatArray
    precision: float | None
    is_precise: bool

    @property
    def values(self) -> FloatArray:
        """SAGE value of each unit, shape ``(n_units,)``."""
        return np.asarray(self.gains.mean(axis=0))

    def interval(self, unit: int, *, persons: IntArray | None, confidence: float) -> Interval | None:
        """Of one value, over rows (persons) and orders; ``None`` where fewer than two rows were drawn."""
        units = self.index if persons is None else persons[self.index]
        _, interval = clustered_mean(self.gains[:, unit], units=units, confidence=confidence)
        value = float(self.values[unit])
        if interval is None:
            return None
        low, high = min(interval.low, value), max(interval.high, value)
        return interval.model_copy(update={"low": low, "high": high})

    @property
    def gain(self) -> float:
        """Cost of the mean prediction minus cost of the model, over all rows."""
        return float((self.constant - self.full).mean())

    def efficiency_gap(self, confidence: float) -> tuple[float, Interval]:
        """Sum of the values minus :attr:`gain`, which is 0 but for the rows that happened to be drawn.

        In every draw the gains add up to that of its row; only rows drawn more often than others can make a
        difference. Its standard error is that of a sample drawn without replacement.
        """
        n, n_draws = len(self.full), len(self.index)
        gap = float(self.values.sum()) - self.gain
        remainder = n_draws % n
        spread = float((self.constant - self.full).std(ddof=1)) if n > 1 else 0.0
        error = remainder / n_draws * spread * float(np.sqrt((1 - remainder / n) / max(remainder, 1)))
        reach = critical_value(confidence) * error + ROUNDING * (1 + abs(self.gain))
        return gap, Interval(low=gap - reach, high=gap + reach, confidence=confidence, method="normal")


def sage(
    asked: Asked,
    columns: Sequence[Sequence[int]],
    background: IntArray,
    effort: Effort,
    rng: np.random.Generator,
) -> SageDraws:
    """Draw rows and orders of the features until the values are precise, or the budget is spent.

    A feature that is not yet known has the values of the ``background`` rows, whatever the known ones are
    (the marginal imputer); the subject's answers are averaged over these.

    Args:
        asked: Subject and rows.
        columns: Of each unit; together they are all columns.
        background: Rows that lend values, shape ``(m,)``.
        effort: When to stop.
        rng: Draws rows and orders.

    Source:
        Covert, Lundberg and Lee (2020), Understanding Global Feature Contributions With Additive Importance
        Measures, arXiv:2004.00668, algorithm 1.
    """
    n, every = len(asked.rows), np.arange(len(asked.rows))
    full = asked.outputs(asked.inputs, every)
    mean = full[background].mean(axis=0)
    costs_full = asked.costs(full, every)
    constant = asked.costs(np.broadcast_to(mean, full.shape), every)
    steps = _Steps(asked, _owner(columns, asked.inputs.shape[1]), background, costs_full, constant)
    per_draw = max(1, (len(columns) - 1) * len(background))
    most = max(DRAWS_PER_ROUND, effort.max_evaluations // per_draw)
    order = rng.permutation(n)
    gains, index = np.empty((0, len(columns))), np.empty(0, dtype=np.int64)
    precision: float | None = None
    while len(index) < most:
        size = min(DRAWS_PER_ROUND, most - len(index))
        rows = order[np.arange(len(index), len(index) + size) % n]
        ranks = np.argsort(rng.random((size, len(columns))), axis=1)
        gains = np.concatenate([gains, steps.gains(rows, ranks)])
        index = np.concatenate([index, rows])
        precision = _precision(gains)
        enough = len(index) >= min(FEWEST_DRAWS, most)
        if enough and (precision is None or precision < effort.precision):
            break
    is_precise = precision is None or precision < effort.precision
    return SageDraws(gains, index, constant, costs_full, precision, is_precise)


def _owner(columns: Sequence[Sequence[int]], width: int) -> IntArray:
    owner = np.zeros(width, dtype=np.int64)
    for unit, places in enumerate(columns):
        owner[list(places)] = unit
    return owner


def _precision(gains: FloatArray) -> float | None:
    values = gains.mean(axis=0)
    spread = float(values.max() - values.min())
    if len(gains) < 2 or spread <= 0:
        return None
    error = gains.std(axis=0, ddof=1) / len(gains) ** 0.5
    return float(error.max()) / spread


@dataclass(frozen=True, slots=True)
class _Steps:
    """Costs along orders of the features.

    Attributes:
        asked: Subject and rows.
        owner: Unit of each column, shape ``(width,)``.
        background: Rows that lend values.
        full: Cost of every row when all is known.
        constant: Cost of every row when nothing is known.
    """

    asked: Asked
    owner: IntArray
    background: IntArray
    full: FloatArray
    constant: FloatArray

    def gains(self, rows: IntArray, ranks: IntArray) -> FloatArray:
        """Gain of each unit in each draw, shape ``(n_draws, n_units)``.

        Args:
            rows: Of the draws, shape ``(n_draws,)``.
            ranks: When each unit becomes known, 0 first, shape ``(n_draws, n_units)``.
        """
        n_units = ranks.shape[1]
        size = max(1, (n_units - 1) * len(self.background) * len(self.owner))
        step = max(1, AT_ONCE // size)
        inner = [self._inner(rows[s : s + step], ranks[s : s + step]) for s in range(0, len(rows), step)]
        path = np.column_stack([self.constant[rows], np.concatenate(inner), self.full[rows]])
        falls = path[:, :-1] - path[:, 1:]
        return np.asarray(np.take_along_axis(falls, ranks, axis=1))

    def _inner(self, rows: IntArray, ranks: IntArray) -> FloatArray:
        """Costs with 1 to all but one units known, shape ``(n_draws, n_units - 1)``."""
        n_units, m = ranks.shape[1], len(self.background)
        if n_units == 1:
            return np.empty((len(rows), 0))
        inputs = self.asked.inputs
        known = ranks[:, None, self.owner] < np.arange(1, n_units)[None, :, None]
        own = inputs[torch.from_numpy(rows)][:, None, None, :]
        lent = inputs[torch.from_numpy(self.background)][None, None, :, :]
        mixed = torch.where(torch.from_numpy(known)[:, :, None, :], own, lent).reshape(-1, inputs.shape[1])
        outputs = self.asked.outputs(mixed, np.repeat(rows, (n_units - 1) * m))
        means = outputs.reshape(len(rows), n_units - 1, m, -1).mean(axis=2)
        return self.asked.costs(means, rows)
