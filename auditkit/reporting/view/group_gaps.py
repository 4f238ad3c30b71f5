"""The gaps between groups that a run measured, each with its two groups and the rule on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditkit.data.dataset import UNKNOWN
from auditkit.records import AuditResult, Measurement, Run, figure_address
from auditkit.reporting.view.figures import bare_address, canonical
from auditkit.reporting.view.findings import JudgedFigure, judged_figures

OF_THE_DATA = frozenset({"base_rate"})
"""Metrics that no subject can change; gaps in them are told by the audit itself."""

DIFFERENCE, RATIO = "difference", "ratio"


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap as it was measured, and the rule on it or on its ratio."""

    audit: str
    base: str
    measurement: Measurement
    low: Measurement
    high: Measurement
    judged: JudgedFigure | None

    @property
    def shown(self) -> Measurement:
        """What is drawn: the figure of the rule, else the difference."""
        found = self.judged.binding.measurement if self.judged else None
        return found or self.measurement

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        interval = self.measurement.interval
        return interval is not None and interval.low > 0

    @property
    def rank(self) -> tuple[int, float]:
        """Failing first, then what chance alone does not explain, the largest surely shown gap first."""
        order = {"fail": 0, "inconclusive": 1, "": 2 if self.is_beyond_chance else 4, "pass": 3}
        low = self.measurement.interval.low if self.measurement.interval else 0.0
        return order.get(self.verdict, 4), -low

    @property
    def verdict(self) -> str:
        """That of the policy, or nothing."""
        return self.judged.binding.verdict if self.judged else ""


def group_gaps(run: Run, results: Sequence[AuditResult]) -> Iterator[Gap]:
    """Every gap with a value whose groups have figures of their own."""
    judged = {canonical(bare_address(one.binding.figure)): one for one in judged_figures(run)}
    for result in results:
        by_group = _by_group(result)
        for measurement in result.measurements:
            base, _, suffix = measurement.metric.rpartition(".")
            groups = by_group.get((base, frozenset(measurement.across)), [])
            if suffix != DIFFERENCE or measurement.value is None or len(groups) < 2 or base in OF_THE_DATA:
                continue
            low = min(groups, key=lambda one: one.value or 0.0)
            high = max(groups, key=lambda one: one.value or 0.0)
            yield Gap(result.audit, base, measurement, low, high, _rule_on(result, measurement, base, judged))


def _by_group(result: AuditResult) -> dict[tuple[str, frozenset[str]], list[Measurement]]:
    """Defined figures of known groups, by metric and attributes."""
    found: dict[tuple[str, frozenset[str]], list[Measurement]] = {}
    for one in result.measurements:
        if one.group and one.value is not None and UNKNOWN not in one.group.values():
            found.setdefault((one.metric, frozenset(one.group)), []).append(one)
    return found


def _rule_on(
    result: AuditResult, measurement: Measurement, base: str, judged: Mapping[str, JudgedFigure]
) -> JudgedFigure | None:
    """What the policy asks of the difference, else of the ratio."""
    for suffix in (DIFFERENCE, RATIO):
        figure = measurement.model_copy(update={"metric": f"{base}.{suffix}"})
        found = judged.get(canonical(bare_address(figure_address(result, figure))))
        if found and found.binding.measurement and found.binding.measurement.value is not None:
            return found
    return None
