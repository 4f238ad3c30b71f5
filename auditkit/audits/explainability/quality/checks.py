"""On which side of its threshold a figure lies, all thresholds of a method taken together.

The figures are measured here, not judged: thresholds are the user's, and a policy may say otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.records import Interval, Message
from auditkit.statistics.decision import decide, needed_n
from auditkit.statistics.multiplicity import holm

Side = Literal["good", "bad", "open", "unknown"]

LEAST_P = 1e-3
"""Chances below this are not told apart: 2000 resamples do not reach further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A figure and one threshold; exactly one of ``at_least`` and ``at_most``.

    Attributes:
        value: The figure.
        n: How many rows, or models where ``counts_models``, its uncertainty shrinks with.
        interval: At any confidence; ``None`` where there is no spread.
        exact_needed: How many would clear the least value at a confidence, where that is known better than by
            the square root of their number.
    """

    value: float | None
    n: int
    interval: Callable[[float], Interval | None]
    exact_needed: Callable[[float, float], int | None] | None = None
    at_least: float | None = None
    at_most: float | None = None
    counts_models: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the figure itself is on the good side."""
        if self.value is None:
            return False
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)

    def p_value(self) -> float | None:
        """The smallest ``p`` for which the interval at confidence ``1 - p`` lies wholly on one side."""
        if self.interval(0.95) is None:
            return None
        if self._is_open(LEAST_P):
            low, high = np.log(LEAST_P), 0.0
            for _ in range(20):
                middle = (low + high) / 2
                low, high = (middle, high) if self._is_open(float(np.exp(middle))) else (low, middle)
            return float(np.exp(high))
        return LEAST_P

    def needed(self, confidence: float) -> int | None:
        """How many samples would settle it."""
        interval = self.interval(confidence)
        if self.value is None or interval is None:
            return None
        if self.exact_needed is not None and self.at_least is not None:
            exact = self.exact_needed(self.at_least, confidence)
            if exact is not None:
                return exact
        return needed_n(self.value, interval, self.n, at_least=self.at_least, at_most=self.at_most)

    def _is_open(self, p: float) -> bool:
        interval = self.interval(min(1 - p, 1 - 1e-9)) if p < 1 else None
        if interval is None:
            return False
        return decide(interval, at_least=self.at_least, at_most=self.at_most) == "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the trust table: good only if all conditions are met, bad if one is breached.

    Attributes:
        name: What is checked.
        conditions: The first one's figure is shown.
        by_chance: What attributions in random order get, where that says something.
        absent: Why there is no figure, else ``None``.
    """

    name: Message
    conditions: tuple[Condition, ...] = ()
    by_chance: float | None = None
    absent: Message | None = None

    def p_value(self) -> float | None:
        """Of the intersection where all figures are on the good side, else of the clearest breach."""
        found = [condition.p_value() for condition in self.conditions]
        if self.absent is not None or not found or any(p is None for p in found):
            return None
        breaches = [p for p, one in zip(found, self.conditions, strict=True) if p and not one.is_met]
        if breaches:
            return min(1.0, min(breaches) * len(found))
        return max(p for p in found if p is not None)

    @property
    def is_met(self) -> bool:
        """Whether all figures themselves are on the good side."""
        return all(condition.is_met for condition in self.conditions)

    def needed(self, confidence: float) -> tuple[int, Condition] | None:
        """Samples that would settle it and for which condition, the figures staying where they are."""
        chosen = [one for one in self.conditions if one.is_met == self.is_met]
        counts = [(one.needed(confidence), one) for one in chosen]
        known = [(count, one) for count, one in counts if count is not None]
        if not known or (self.is_met and len(known) < len(counts)):
            return None
        return max(known, key=_count) if self.is_met else min(known, key=_count)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a check lies, and the confidence that Holm's adjustment asks of it."""

    side: Side
    confidence: float


def placed(checks: Sequence[Check], confidence: float) -> list[Placed]:
    """The side of each check, with Holm's adjustment over all that have a figure."""
    p_values = [check.p_value() for check in checks]
    known = np.array([p for p in p_values if p is not None], dtype=np.float64)
    adjusted, rank = holm(known), known.argsort(kind="stable").argsort()
    found, at = [], 0
    for check, p in zip(checks, p_values, strict=True):
        if p is None:
            found.append(Placed("unknown", confidence))
            continue
        asked = 1 - (1 - confidence) / (len(known) - int(rank[at]))
        decided: Side = "good" if check.is_met else "bad"
        found.append(Placed("open" if adjusted[at] > 1 - confidence else decided, asked))
        at += 1
    return found


def _count(pair: tuple[int, Condition]) -> int:
    return pair[0]
