"""The rules as a table, or why they are withheld; and how many rules it would take."""

import math
from collections.abc import Sequence

import numpy as np

from auditkit.audits.explainability.global_view.surrogate_columns import SplitColumn
from auditkit.audits.explainability.global_view.surrogate_figures import HeldOut, Verdict
from auditkit.audits.explainability.global_view.surrogate_rules import Rule, RuleSet, rule_text
from auditkit.data.dataset import Dataset
from auditkit.records import Cell, Curve, Estimate, Message, Note, Series, Table
from auditkit.statistics.clustered import clustered_rate
from auditkit.statistics.regression import Foretold, root_mean_squared_error


def rules_table(
    verdict: Verdict, rules: RuleSet, columns: Sequence[SplitColumn], rows: HeldOut, data: Dataset
) -> Table:
    """One row per rule: its conditions, what it says, how many rows it covers and how well it agrees.

    Args:
        verdict: On the rules.
        rules: To be shown.
        columns: What their columns mean.
        rows: On which they were measured.
        data: For the names of classes and target.
    """
    ranked = sorted(rules.rules, key=lambda rule: -int(rule.holds(rows.values).sum()))
    values: dict[str, str | int | float] = {"n": len(ranked), "target": data.target}
    title = (
        Message(
            text="{n} rules explain {percent} % of how the foretold {target} varies",
            values={**values, "percent": round(100 * verdict.value)},
        )
        if rows.is_regression
        else Message(
            text="{n} rules decide as the model does in {percent} % of rows that they have not seen",
            values={**values, "percent": _percent(verdict.value)},
        )
    )
    return Table(
        title=title,
        caption=Message(
            text="Exactly one rule holds for every row: its conditions, joined by semicolons, all hold. What "
            "is covered, and how well, is measured on rows that the rules were not made from. The rules "
            "imitate the model; they are not how it computes."
        ),
        columns=(
            Message(text="Rule"),
            Message(text="Foretold") if rows.is_regression else Message(text="Decision"),
            Message(text="Covered"),
            Message(text="Typical difference") if rows.is_regression else Message(text="Agreement"),
        ),
        rows=tuple(_rule_row(rule, columns, rows, data) for rule in ranked),
    )


def _rule_row(rule: Rule, columns: Sequence[SplitColumn], rows: HeldOut, data: Dataset) -> tuple[Cell, ...]:
    met = rule.holds(rows.values)
    share, interval = clustered_rate(met, units=rows.persons, confidence=rows.confidence)
    covered = Estimate(value=share, low=interval.low, high=interval.high, n=len(rows))
    said: Cell = rule.answer if rows.is_regression else data.classes[int(rule.answer)]
    return rule_text(rule, columns), said, covered, _agreement(rule, rows)


def _agreement(rule: Rule, rows: HeldOut) -> Estimate:
    met = rule.holds(rows.values)
    if not met.any():
        return Estimate(value=None, n=0, missing=Message(text="no row meets it"))
    own = None if rows.persons is None else rows.persons[met]
    if rows.is_regression:
        said = np.full(int(met.sum()), rule.answer)
        found = root_mean_squared_error(Foretold(rows.answers[met], said, person=own))
        low, high = found.bounds(rows.confidence) or (None, None)
        return Estimate(value=found.value, low=low, high=high, n=int(met.sum()))
    hits = rows.answers[met] == rule.answer
    share, interval = clustered_rate(hits, units=own, confidence=rows.confidence)
    return Estimate(value=share, low=interval.low, high=interval.high, n=int(met.sum()))


def withheld(verdict: Verdict, rules: RuleSet, rows: HeldOut, least: float) -> Note:
    """Why no rules are shown."""
    values: dict[str, str | int | float] = {
        "n": len(rules.rules),
        "percent": _percent(verdict.value),
        "low": _percent(verdict.interval.low),
        "high": _percent(verdict.interval.high, up=True),
        "least": _percent(least),
    }
    if verdict.is_trivial:
        return Note(
            title=Message(text="No rules are shown: none does better than always giving the same answer"),
            body=Message(
                text="Agreement is {percent} % ({low} to {high} %), and so it is without any rule.",
                values=values,
            ),
        )
    body = (
        "{n} rules explain {percent} % of how the foretold numbers vary ({low} to {high} %); they are shown "
        "only when the whole interval lies above {least} %. What they leave out may be what matters in a "
        "single row."
        if rows.is_regression
        else "{n} rules agree with the model in {percent} % of rows ({low} to {high} %); they are shown only "
        "when the whole interval lies above {least} %. Where they part, they would explain decisions that "
        "the model did not take."
    )
    return Note(
        title=Message(
            text="Rules are withheld: the best {n} reproduce the model only to {percent} %", values=values
        ),
        body=Message(text=body, values=values),
    )


def size_curve(sized: Sequence[tuple[int, float, float, float]], rows: HeldOut, least: float) -> Curve:
    """Fidelity over the number of rules.

    Args:
        sized: Number of rules, fidelity, and the ends of its interval, by rising number.
        rows: On which they were measured.
        least: Fidelity that is asked for.
    """
    enough = next((n for n, _, low, _ in sized if low > least), None)
    percent: dict[str, str | int | float] = {"least": _percent(least)}
    title = (
        Message(
            text="Of the sizes tried, {n} rules are the first to clear {least} %",
            values={**percent, "n": enough},
        )
        if enough is not None
        else Message(text="Even {n} rules do not clear {least} %", values={**percent, "n": sized[-1][0]})
    )
    return Curve(
        title=title,
        x_axis=Message(text="rules at most"),
        y_axis=Message(text="R2 against the model")
        if rows.is_regression
        else Message(text="agreement with the model"),
        series=(
            Series(
                name=Message(text="fidelity"),
                x=tuple(float(n) for n, *_ in sized),
                y=tuple(value for _, value, _, _ in sized),
                low=tuple(low for _, _, low, _ in sized),
                high=tuple(high for *_, high in sized),
            ),
        ),
        x_log=True,
    )


def _percent(share: float, *, up: bool = False) -> float | int:
    """One decimal, rounded down (or up), so that nothing is said to clear what it does not."""
    tenths = (math.ceil if up else math.floor)(round(share * 1000, 6)) / 10
    return int(tenths) if tenths == int(tenths) else tenths
