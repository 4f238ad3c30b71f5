"""How far rules agree with the model that they imitate, and whether they may stand as its explanation."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.global_view.surrogate_rules import RuleSet
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.clustered import clustered_change, clustered_rate
from auditkit.statistics.regression import Foretold, r_squared

AGREEMENT = "fidelity"
FLOOR = "fidelity.floor"
EXPLAINED = "fidelity_r2"
N_RULES = "n_rules"

TOO_FEW = Message(text="Too few rows to fit rules on one half and to measure them on the other.")
SAME_ANSWER = Message(text="The subject says the same of every row.")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows on which rules are measured, none of which they were fitted on.

    Attributes:
        values: Inputs of the rules, shape ``(n, n_columns)``.
        answers: Of the model: indices of classes, or numbers; shape ``(n,)``.
        persons: Which rows belong to one person, or ``None``.
        is_regression: Whether ``answers`` are numbers.
        confidence: Of all intervals.
    """

    values: FloatArray
    answers: FloatArray
    persons: IntArray | None
    is_regression: bool
    confidence: float

    def __len__(self) -> int:
        return len(self.answers)

    def agreement(self, said: FloatArray) -> tuple[float, Interval]:
        """Share of rows of which the same was said."""
        return clustered_rate(said == self.answers, units=self.persons, confidence=self.confidence)

    def fidelity(self, rules: RuleSet) -> tuple[float, Interval] | None:
        """Share of rows with the same class, or R2 of numbers; ``None`` where numbers do not vary."""
        said = rules.answers(self.values)
        if not self.is_regression:
            return self.agreement(said)
        found = r_squared(Foretold(self.answers, said, person=self.persons))
        if found is None:
            return None
        interval = found.interval(self.confidence)
        # without any error there is no spread to make an interval of
        same = Interval(low=found.value, high=found.value, confidence=self.confidence, method="t")
        return found.value, interval or same

    def beats(self, rules: RuleSet, other: RuleSet) -> bool:
        """Whether ``rules`` are shown to agree more often than ``other``; in a regression R2 tells."""
        if self.is_regression:
            return True
        hits, base = (one.answers(self.values) == self.answers for one in (rules, other))
        steps = hits.astype(np.float64) - base.astype(np.float64)
        _, interval = clustered_change(steps, units=self.persons, confidence=self.confidence)
        return interval.low > 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether rules are shown.

    Attributes:
        value: Fidelity.
        interval: Of it.
        is_shown: Whether they may stand as an explanation.
        is_trivial: Whether they do no better than one answer for all rows.
    """

    value: float
    interval: Interval
    is_shown: bool
    is_trivial: bool


def verdict_on(rules: RuleSet, constant: RuleSet, rows: HeldOut, least: float) -> Verdict | None:
    """Rules are shown when the whole interval of their fidelity clears ``least``, and they say something."""
    found = rows.fidelity(rules)
    if found is None:
        return None
    value, interval = found
    is_trivial = len(rules.rules) < 2 or not rows.beats(rules, constant)
    return Verdict(value, interval, interval.low > least and not is_trivial, is_trivial)


def fidelity_measurements(
    verdict: Verdict, rules: RuleSet, constant: RuleSet, rows: HeldOut, least: float
) -> list[Measurement]:
    """Fidelity, what one answer for all rows reaches, and the number of rules."""
    shown = Message(
        text="Rules are shown when the whole interval lies above {least}.", values={"least": least}
    )
    fidelity = Measurement(
        metric=EXPLAINED if rows.is_regression else AGREEMENT,
        value=verdict.value,
        n=len(rows),
        better="higher",
        interval=verdict.interval,
        note=shown,
    )
    found = [fidelity]
    if not rows.is_regression:
        floor, interval = rows.agreement(constant.answers(rows.values))
        found.append(
            Measurement(
                metric=FLOOR,
                value=floor,
                n=len(rows),
                better="neither",
                interval=interval,
                note=Message(text="Agreement of always naming the most frequent decision."),
            )
        )
    count = float(len(rules.rules))
    found.append(
        Measurement(
            metric=N_RULES,
            value=count,
            unit="count",
            n=len(rows),
            better="neither",
            interval=Interval.exact(count),
        )
    )
    return found


def all_missing(reason: Message, *, is_regression: bool) -> list[Measurement]:
    """The figure that cannot be given, with the reason."""
    metric = EXPLAINED if is_regression else AGREEMENT
    return [Measurement(metric=metric, value=None, n=0, better="higher", missing=reason)]
