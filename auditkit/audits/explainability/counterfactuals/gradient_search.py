"""Counterfactuals by gradients: the nearest turn of the model's linear picture, drawn again at every step.

Levels are shares that add up to 1, so that a row can stand between two of them; what is proposed has whole
levels and numbers that can be written, and it is such rows that the subject judges.

Source:
    Wachter, Mittelstadt and Russell (2017), arXiv:1711.00399: hinge and weighted norm, the weight raised
    until the decision turns. Moosavi-Dezfooli et al. (2016), arXiv:1511.04599: the linear picture, drawn
    again.
"""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Search
from auditkit.audits.explainability.counterfactuals.features import LevelFeature, NumberFeature
from auditkit.audits.explainability.counterfactuals.linear_step import COSTS, Cost, nearest_turn
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

MOST_LEVELS = 500
"""A feature with more is not changed by gradients."""

DAMPING = 0.5
"""Share of a step that is taken after the first one."""

FIRST_LEAD, MOST_LEAD = 0.05, 30.0
"""Nats of lead that the linear picture aims at: more while proposed rows do not turn, less once they do."""

RAISED, LOWERED = 1.5, 0.7


@dataclass(frozen=True, slots=True)
class _Choice:
    """A feature with levels: its place, its columns, and what stands in them for each level."""

    place: int
    columns: tuple[int, ...]
    encoded: FloatArray
    offered: BoolArray

    @classmethod
    def of(cls, place: int, feature: LevelFeature) -> "_Choice":
        encoded = feature.encode(np.arange(len(feature.levels), dtype=np.float64))
        return cls(place, feature.columns, encoded, np.array(feature.offered, dtype=np.bool_))

    def best(self, slope: FloatArray, now: IntArray) -> tuple[IntArray, FloatArray]:
        """The level that raises the lead most over the one of now, and by how much (at least 0)."""
        gains = slope[:, list(self.columns)] @ self.encoded.T
        rows = np.arange(len(now))
        gains = gains - gains[rows, now][:, None]
        gains[:, ~self.offered] = -np.inf
        gains[rows, now] = 0.0
        level = gains.argmax(axis=1)
        return level, gains[rows, level]


@dataclass(slots=True)
class _State:
    """Where the rows stand.

    Attributes:
        numbers: Change of each number in deviations, shape ``(n, p)``.
        shares: Of the levels of each choice, shapes ``(n, l)``.
        wanted: Lead that is aimed at, shape ``(n,)``.
    """

    numbers: FloatArray
    shares: list[FloatArray]
    wanted: FloatArray


@dataclass(frozen=True, slots=True)
class _Start:
    """From where changes are counted: the rows as they are, or with levels already changed."""

    values: FloatArray
    inputs: FloatArray
    levels: list[IntArray]
    choices_open: bool


class GradientSearch:
    """Searches all rows of a :class:`Search` at once."""

    def __init__(self, search: Search, rows: IntArray) -> None:
        """Look up what can change in ``rows``."""
        self._search, self._rows = search, rows
        bounds = search.bounds.take(rows)
        features = search.judge.table.features
        self._places = np.array(
            [j for j, one in enumerate(features) if isinstance(one, NumberFeature)], dtype=np.int64
        )
        numbers = [one for one in features if isinstance(one, NumberFeature)]
        self._columns = np.array([one.column for one in numbers], dtype=np.int64)
        self._deviation = np.array([one.deviation for one in numbers])
        self._per_deviation = self._deviation / np.array([one.scale for one in numbers])
        self._choices = [
            _Choice.of(j, one)
            for j, one in enumerate(features)
            if isinstance(one, LevelFeature) and len(one.levels) <= MOST_LEVELS
        ]
        self._own = bounds.own
        movable = bounds.movable[:, self._places]
        own = np.where(movable, bounds.own[:, self._places], 0.0)
        self._low = (
            np.where(movable, np.minimum(bounds.low[:, self._places] - own, 0.0), 0.0) / self._deviation
        )
        self._high = (
            np.where(movable, np.maximum(bounds.high[:, self._places] - own, 0.0), 0.0) / self._deviation
        )
        self._open = bounds.movable[:, [choice.place for choice in self._choices]].astype(np.float64)
        self._bounds = bounds

    def run(self, n_steps: int) -> None:
        """So many steps from the rows themselves, and half as many on with the levels of what was found."""
        start = self._start(self._own, choices_open=True)
        state = self._state(np.zeros((len(self._rows), len(self._places))), start)
        self._steps(start, state, n_steps)
        found = self._search.best.known[self._rows]
        if not found.any() or not self._choices or not len(self._places):
            return
        values = self._search.best.values[self._rows]
        with_levels = self._own.copy()
        for choice in self._choices:
            with_levels[:, choice.place] = values[:, choice.place]
        start = self._start(with_levels, choices_open=False)
        change = (values - self._own)[:, self._places] / self._deviation
        state = self._state(np.nan_to_num(change), start)
        self._steps(start, state, n_steps // 2)

    def _start(self, values: FloatArray, *, choices_open: bool) -> _Start:
        levels = [np.nan_to_num(values[:, choice.place]).astype(np.int64) for choice in self._choices]
        return _Start(values, self._search.judge.inputs_of(values, self._rows), levels, choices_open)

    def _state(self, numbers: FloatArray, start: _Start) -> _State:
        shares = [
            (now[:, None] == np.arange(len(choice.encoded))).astype(np.float64)
            for choice, now in zip(self._choices, start.levels, strict=True)
        ]
        return _State(numbers, shares, np.full(len(self._rows), FIRST_LEAD))

    def _steps(self, start: _Start, state: _State, n_steps: int) -> None:
        norm = self._search.distance.norm
        for step in range(n_steps):
            inputs = self._inputs(start, state)
            lead, slope = self._search.judge.slope(inputs, self._rows)
            at_start = lead + ((start.inputs - inputs) * slope).sum(axis=1)
            targets = [self._turn(start, state, at_start, slope, cost) for cost in COSTS[norm]]
            damping = 1.0 if step == 0 else DAMPING
            _move(state, targets[0], damping)
            turned = self._propose(start, state)
            for target in targets:
                self._propose(start, target)
            state.wanted = np.where(
                turned,
                np.maximum(state.wanted * LOWERED, FIRST_LEAD),
                np.minimum(state.wanted * RAISED, MOST_LEAD),
            )

    def _turn(
        self, start: _Start, state: _State, at_start: FloatArray, slope: FloatArray, cost: Cost
    ) -> _State:
        """Where the linear picture turns, as a state of its own."""
        of_numbers = slope[:, self._columns] * self._per_deviation
        found = [choice.best(slope, now) for choice, now in zip(self._choices, start.levels, strict=True)]
        gains = np.column_stack([gain for _, gain in found]) if found else np.zeros((len(self._rows), 0))
        is_open = self._open if start.choices_open else np.zeros_like(self._open)
        step = nearest_turn(
            np.column_stack([of_numbers, gains]),
            state.wanted - at_start,
            np.column_stack([self._low, np.zeros_like(gains)]),
            np.column_stack([self._high, is_open]),
            cost,
        )
        p = len(self._places)
        shares = []
        for index, ((level, _), now) in enumerate(zip(found, start.levels, strict=True)):
            moved = step[:, p + index]
            share = np.zeros_like(state.shares[index])
            rows = np.arange(len(level))
            share[rows, now] += 1 - moved
            share[rows, level] += moved
            shares.append(share)
        return _State(step[:, :p], shares, state.wanted)

    def _inputs(self, start: _Start, state: _State) -> FloatArray:
        inputs = start.inputs.copy()
        inputs[:, self._columns] += np.where(state.numbers != 0, state.numbers * self._per_deviation, 0.0)
        for choice, share, now in zip(self._choices, state.shares, start.levels, strict=True):
            moved = np.flatnonzero(share[np.arange(len(now)), now] < 1)
            inputs[np.ix_(moved, np.array(choice.columns))] = share[moved] @ choice.encoded
        return inputs

    def _propose(self, start: _Start, state: _State) -> BoolArray:
        """Propose what can be written of a state; whether it turns the decisions."""
        values = start.values.copy()
        moved = state.numbers != 0
        values[:, self._places] += np.where(moved, state.numbers * self._deviation, 0.0)
        for choice, share, now in zip(self._choices, state.shares, start.levels, strict=True):
            is_moved = share[np.arange(len(now)), now] < 1
            values[is_moved, choice.place] = share[is_moved].argmax(axis=1)
        lead = self._search.propose(self._rows, self._bounds.project(values))
        return self._search.judge.is_turned(lead)


def _move(state: _State, target: _State, damping: float) -> None:
    state.numbers = (1 - damping) * state.numbers + damping * target.numbers
    state.shares = [
        (1 - damping) * share + damping * other
        for share, other in zip(state.shares, target.shares, strict=True)
    ]
