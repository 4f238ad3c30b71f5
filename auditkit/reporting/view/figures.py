"""Looking figures up by address, and writing those that are read together in one unit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auditkit.records import AuditResult, Measurement, Rule, Run, figure_address
from auditkit.reporting.charts.interval import Thresholds
from auditkit.reporting.labels import style_of
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import Scale, join_unit, scale_for, threshold_text


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement and the result it stands in."""

    result: AuditResult
    measurement: Measurement


FigureIndex = Mapping[str, Figure]


def index_figures(run: Run) -> FigureIndex:
    """All measurements of a run by canonical address; of two with one address the first."""
    index: dict[str, Figure] = {}
    for result in run.results:
        for measurement in result.measurements:
            index.setdefault(canonical(figure_address(result, measurement)), Figure(result, measurement))
    return index


def canonical(figure: str) -> str:
    """An address with the cells inside its brackets in alphabetical order, as the order means nothing.

    >>> canonical("a/m[sex=f,race=b]@baseline")
    'a/m[race=b,sex=f]@baseline'
    """
    head, bracket, rest = figure.partition("[")
    inside, closing, tail = rest.rpartition("]")
    return f"{head}[{','.join(sorted(inside.split(',')))}]{tail}" if bracket and closing else figure


def bare_address(figure: str) -> str:
    """The address without its subject."""
    return figure.rpartition("@")[0] or figure


def common_scale(texts: Texts, measurements: Iterable[Measurement | None]) -> Scale:
    """One scale for the figures of one metric."""
    known = [measurement for measurement in measurements if measurement is not None]
    if not known:
        return Scale()
    values = [measurement.value for measurement in known]
    scale = scale_for(known[0].unit, style_of(known[0].metric), values)
    return Scale(scale.factor, texts.text(scale.symbol))


def thresholds_of(rule: Rule) -> list[float]:
    """The thresholds of a rule, in the unit of the measurement."""
    return [value for value in (rule.at_least, rule.at_most) if value is not None]


def thresholds_in(texts: Texts, rule: Rule, scale: Scale) -> Thresholds:
    """The thresholds of a rule in the unit of an axis, with what is written beside them."""
    return Thresholds(
        at_least=None if rule.at_least is None else rule.at_least * scale.factor,
        at_most=None if rule.at_most is None else rule.at_most * scale.factor,
        at_least_text="" if rule.at_least is None else at_least_text(texts, rule.at_least, scale),
        at_most_text="" if rule.at_most is None else at_most_text(texts, rule.at_most, scale),
    )


def policy_text(texts: Texts, rule: Rule, scale: Scale) -> str:
    """What a rule asks for, in words."""
    if rule.at_least is not None and rule.at_most is not None:
        low, high = threshold_text(rule.at_least, scale), threshold_text(rule.at_most, scale)
        return texts.text("{low} to {high}", low=low, high=join_unit(high, scale.symbol))
    if rule.at_least is not None:
        return at_least_text(texts, rule.at_least, scale)
    return at_most_text(texts, rule.at_most or 0.0, scale)


def at_least_text(texts: Texts, value: float, scale: Scale) -> str:
    """``at least 80 %``."""
    return texts.text("at least {value}", value=join_unit(threshold_text(value, scale), scale.symbol))


def at_most_text(texts: Texts, value: float, scale: Scale) -> str:
    """``at most 1 %``."""
    return texts.text("at most {value}", value=join_unit(threshold_text(value, scale), scale.symbol))
