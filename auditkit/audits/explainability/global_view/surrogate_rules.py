"""A shallow tree that imitates a model, as rules that are measured exactly as they are written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from auditkit.audits.explainability.global_view.surrogate_columns import SplitColumn
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

DEEPEST = 6
"""Conditions of a rule: more are not read."""

LEAST_SHARE = 0.005
"""Of the fitted rows in every rule, and at least five."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One side of a split.

    Attributes:
        column: Index of the column.
        threshold: The split lies here.
        is_above: Whether values above it are meant, else those up to it.
    """

    column: int
    threshold: float
    is_above: bool

    def holds(self, values: FloatArray) -> BoolArray:
        """For which rows, shape ``(n,)``."""
        above: BoolArray = values[:, self.column] > self.threshold
        return above if self.is_above else ~above


@dataclass(frozen=True, slots=True)
class Rule:
    """What all rows that meet the conditions are said to get: index of a class, or a number."""

    conditions: tuple[Condition, ...]
    answer: float

    def holds(self, values: FloatArray) -> BoolArray:
        """For which rows, shape ``(n,)``."""
        met = np.ones(len(values), dtype=np.bool_)
        for condition in self.conditions:
            met &= condition.holds(values)
        return met


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules of which exactly one holds for every row."""

    rules: tuple[Rule, ...] = field(default=())

    def answers(self, values: FloatArray) -> FloatArray:
        """What the rules say of rows, shape ``(n,)``."""
        said = np.empty(len(values))
        for rule in self.rules:
            said[rule.holds(values)] = rule.answer
        return said


def fit_rules(
    values: FloatArray, answers: FloatArray, *, most: int, is_regression: bool, seed: int
) -> RuleSet:
    """Grow a tree that imitates ``answers`` and write it as rules.

    Leaves that say the same on both sides of a split become one. Thresholds are moved to the shortest number
    between the rows on both sides, which changes nothing for the fitted rows.

    Args:
        values: Shape ``(n, n_columns)``.
        answers: Of the model: indices of classes, or numbers; shape ``(n,)``.
        most: Rules, at most.
        is_regression: Whether ``answers`` are numbers.
        seed: Breaks ties between equally good splits.

    Source:
        Craven and Shavlik (1996), Extracting tree-structured representations of trained networks, NIPS 8.
    """
    if most < 2 or bool((answers == answers[0]).all()):
        return RuleSet((Rule((), _common(answers, is_regression)),))
    kind = DecisionTreeRegressor if is_regression else DecisionTreeClassifier
    least = max(5, math.ceil(LEAST_SHARE * len(values)))
    tree = kind(max_depth=DEEPEST, max_leaf_nodes=most, min_samples_leaf=least, random_state=seed % 2**32)
    grown = tree.fit(values, answers if is_regression else answers.astype(np.int64)).tree_
    return RuleSet(tuple(_rules_below(grown, 0, values, answers, is_regression)))


def _common(answers: FloatArray, is_regression: bool) -> float:
    """What one answer for all rows would be: the mean, or the most frequent class."""
    return float(answers.mean()) if is_regression else float(np.bincount(answers.astype(np.int64)).argmax())


def _rules_below(
    tree: Any, node: int, values: FloatArray, answers: FloatArray, is_regression: bool
) -> list[Rule]:
    if tree.children_left[node] < 0:
        return [Rule((), _common(answers, is_regression))]
    column = int(tree.feature[node])
    own = values[:, column]
    is_above = own > tree.threshold[node]
    threshold = shortest_between(float(own[~is_above].max()), float(own[is_above].min()))
    below, above = (
        _rules_below(tree, int(child), values[rows], answers[rows], is_regression)
        for child, rows in ((tree.children_left[node], ~is_above), (tree.children_right[node], is_above))
    )
    if len(below) == len(above) == 1 and below[0].answer == above[0].answer:
        return [Rule((), below[0].answer)]
    return [
        Rule((Condition(column, threshold, side), *rule.conditions), rule.answer)
        for side, rules in ((False, below), (True, above))
        for rule in rules
    ]


def shortest_between(low: float, high: float) -> float:
    """The number with the fewest digits in ``[low, high)``, near the middle where several have as few.

    >>> shortest_between(3.1416, 3.6), shortest_between(41.0, 42.0), shortest_between(0.0, 1.0)
    (3.4, 41.0, 0.5)
    """
    middle = low + (high - low) / 2
    for digits in range(1, 18):
        near = float(f"{middle:.{digits}g}")
        if low <= near < high:
            return near
        size = 10.0 ** (digits - 1 - (math.floor(math.log10(abs(middle))) if middle else 0))
        for rounded in (math.floor(middle * size) / size, math.ceil(middle * size) / size):
            if low <= rounded < high:
                return rounded
    return low


def rule_text(rule: Rule, columns: Sequence[SplitColumn]) -> str:
    """The conditions as a reader writes them; those on one feature together, in the order of the tree.

    Signs stand for words, so that the text reads alike in every language: ``;`` joins conditions.
    """
    features = dict.fromkeys(columns[condition.column].feature for condition in rule.conditions)
    parts = [_on_feature(name, rule.conditions, columns) for name in features]
    return "; ".join(part for part in parts if part) or "∀"


def _on_feature(name: str, conditions: Sequence[Condition], columns: Sequence[SplitColumn]) -> str:
    own = [one for one in conditions if columns[one.column].feature == name]
    levels = [one for one in own if columns[one.column].level is not None]
    is_level = [columns[one.column].level for one in levels if one.is_above]
    not_level = [str(columns[one.column].level) for one in levels if not one.is_above]
    numbers = [one for one in own if columns[one.column].level is None]
    if is_level:
        return f"{name} = {is_level[-1]}"
    parts = [_span(name, numbers)] if numbers else []
    parts += [f"{name} ≠ {', '.join(not_level)}"] if not_level else []
    return "; ".join(parts)


def _span(name: str, numbers: Sequence[Condition]) -> str:
    low = max((one.threshold for one in numbers if one.is_above), default=None)
    high = min((one.threshold for one in numbers if not one.is_above), default=None)
    if low is None:
        return f"{name} ≤ {_number(high)}"
    if high is None:
        return f"{name} > {_number(low)}"
    return f"{_number(low)} < {name} ≤ {_number(high)}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    is_whole = value == math.floor(value) and abs(value) < 1e15
    return f"{int(value):,}" if is_whole else f"{value:,}"


def halves(units: IntArray, rng: np.random.Generator) -> BoolArray:
    """Which rows the tree is fitted on: a random half, persons kept together.

    Args:
        units: Equal for rows of one person, shape ``(n,)``.
        rng: Draws the half.
    """
    names, code = np.unique(units, return_inverse=True)
    fitted = np.zeros(len(names), dtype=np.bool_)
    fitted[rng.permutation(len(names))[: (len(names) + 1) // 2]] = True
    return np.asarray(fitted[code.reshape(-1)])
