"""What would change the answer that a gap gives, as far as it was measured or follows from the counts."""

import math
from collections.abc import Iterator, Mapping

from auditkit.records import Measurement
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import Number, Scale, number_of, rounded
from auditkit.reporting.view.figures import common_scale
from auditkit.reporting.view.findings import WORDS, more_samples
from auditkit.reporting.view.group_gaps import RATIO, Gap
from auditkit.statistics.counts import METRICS

Facts = Mapping[tuple[str, tuple[str, ...]], Measurement]
"""Figures of all audits of groups by metric and attributes."""


def changes_of(gap: Gap, facts: Facts, texts: Texts) -> Iterator[str]:
    """Phrases, the most telling first."""
    yield from _of_finding(gap, texts)
    yield from _of_decisions(gap, texts)
    across, base = gap.measurement.across, gap.base
    flips = facts.get((f"{base}.difference.flips", across))
    if flips is not None and flips.value is not None:
        yield texts.plural(
            "{n} wrong label of the right kind would close it",
            "{n} wrong labels of the right kind would close it",
            int(flips.value),
        )
    ends = [facts.get((f"{base}.difference.{end}", across)) for end in ("smallest", "largest")]
    values = [one.value for one in ends if one is not None and one.value is not None]
    if len(values) == 2 and values[1] > values[0]:
        scale = common_scale(texts, [gap.measurement])
        yield texts.text(
            "rows of unknown group allow {low} to {high}",
            low=rounded(values[0], None, None, Scale(scale.factor, "")).plain,
            high=rounded(values[1], None, None, scale).plain,
        )
    within = facts.get((f"{base}.difference.conditional", across))
    if within is not None and within.value is not None:
        scale = common_scale(texts, [within])
        yield texts.text(
            "among rows alike in the control features: {value}", value=with_range(number_of(within, scale))
        )


def _of_decisions(gap: Gap, texts: Texts) -> Iterator[str]:
    """How many rows of one group stand between the gap and the margin, or no gap, were the other to stay."""
    if gap.base not in METRICS or not gap.is_beyond_chance or gap.verdict not in {"fail", ""}:
        return
    fewer = gap.low.better == "lower"
    moved = gap.high if fewer else gap.low
    missing = math.ceil(_distance(gap, fewer=fewer) * moved.n - 1e-9)
    if missing <= 0:
        return
    values = {"group": texts.list_of(moved.group.values()), "total": grouped(moved.n)}
    if gap.verdict == "fail":
        yield (
            texts.plural(
                "{n} fewer of the {total} in {group} would reach the margin",
                "{n} fewer of the {total} in {group} would reach the margin",
                missing,
                **values,
            )
            if fewer
            else texts.plural(
                "{n} more of the {total} in {group} would reach the margin",
                "{n} more of the {total} in {group} would reach the margin",
                missing,
                **values,
            )
        )
        return
    yield (
        texts.plural(
            "{n} fewer of the {total} in {group} would close it",
            "{n} fewer of the {total} in {group} would close it",
            missing,
            **values,
        )
        if fewer
        else texts.plural(
            "{n} more of the {total} in {group} would close it",
            "{n} more of the {total} in {group} would close it",
            missing,
            **values,
        )
    )


def _distance(gap: Gap, *, fewer: bool) -> float:
    """What a rate would have to move: to the margin that it breaches, else to the other group's rate."""
    low, high = gap.low.value or 0.0, gap.high.value or 0.0
    rule = gap.judged.binding.rule if gap.judged else None
    if rule is not None and gap.shown.metric.endswith(RATIO):
        ratio = rule.at_least or 1.0
        return high - low / ratio if fewer else high * ratio - low
    return high - low - ((rule.at_most or 0.0) if rule else 0.0)


def _of_finding(gap: Gap, texts: Texts) -> Iterator[str]:
    if gap.judged is None:
        return
    binding = gap.judged.binding
    if binding.needed_n:
        yield more_samples(texts, binding.needed_n, gap.shown.n)
    for variant in gap.judged.variants:
        if variant.verdict not in {binding.verdict, "not_shown"}:
            yield texts.text(
                "{variant}: {verdict}", variant=variant.subject, verdict=texts.text(WORDS[variant.verdict])
            )


def with_range(number: Number) -> str:
    """A number with its interval in brackets."""
    return f"{number.plain} ({number.range})" if number.range else number.plain
