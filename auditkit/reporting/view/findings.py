"""Findings for reading: fails first, each with its chart, its numbers and what to do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Finding, Measurement, Run, Verdict
from auditkit.reporting.charts.interval import IntervalRow, interval_chart
from auditkit.reporting.labels import address_label, area_title, figure_label, sentence_case, style_of
from auditkit.reporting.language import Texts, grouped, mark
from auditkit.reporting.numbers import Number, Scale, Style, join_unit, number_of, rounded
from auditkit.reporting.view.figures import (
    bare_address,
    common_scale,
    policy_text,
    thresholds_in,
    thresholds_of,
)

ORDER: tuple[Verdict, ...] = ("fail", "inconclusive", "not_shown", "pass")
WORDS: dict[Verdict, str] = {
    "fail": mark("Fail"),
    "inconclusive": mark("Inconclusive"),
    "pass": mark("Pass"),
    "not_shown": mark("Not shown"),
}
_SEVERITIES = {"critical": mark("critical"), "major": mark("major"), "minor": mark("minor")}
_PROVENANCE = {"derived": mark("derived"), "estimated": mark("estimated"), "declared": mark("declared")}


@dataclass(frozen=True, slots=True)
class FindingView:
    """One binding finding with what the variants would change.

    ``name`` is how it is called in other sentences; ``number`` is absent where nothing was measured.
    """

    anchor: str
    verdict: Verdict
    word: str
    severity: str
    name: str
    headline: str
    label: str
    subject: str
    address: str
    chart: Markup | None
    number: Number
    confidence: str
    policy: str
    rests_on: tuple[str, ...]
    reason: str
    why: str
    next_steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JudgedFigure:
    """A binding finding and the same rule's findings on the variants, in the order of the subjects."""

    binding: Finding
    variants: tuple[Finding, ...]

    @property
    def all(self) -> tuple[Finding, ...]:
        """The binding one first."""
        return (self.binding, *self.variants)


def judged_figures(run: Run) -> list[JudgedFigure]:
    """Binding findings in reading order: by verdict, then severity, then as the policy lists them."""
    others: dict[tuple[str, str], list[Finding]] = {}
    for finding in run.findings:
        if not finding.binding:
            others.setdefault(_key(finding), []).append(finding)
    binding = [finding for finding in run.findings if finding.binding]
    severities = list(_SEVERITIES)
    binding.sort(key=lambda f: (ORDER.index(f.verdict), severities.index(f.rule.severity)))
    return [JudgedFigure(finding, tuple(others.get(_key(finding), ()))) for finding in binding]


def _key(finding: Finding) -> tuple[str, str]:
    return finding.rule.model_dump_json(), bare_address(finding.figure)


def finding_views(run: Run, texts: Texts) -> tuple[FindingView, ...]:
    """All binding findings of a run."""
    areas = {result.audit: area_title(texts, result.area) for result in run.results}
    return tuple(
        _finding_view(judged, f"f{number}", areas, texts)
        for number, judged in enumerate(judged_figures(run), 1)
    )


def _finding_view(judged: JudgedFigure, anchor: str, areas: Mapping[str, str], texts: Texts) -> FindingView:
    finding = judged.binding
    measurement = finding.measurement
    scale = common_scale(texts, [one.measurement for one in judged.all])
    label = finding_label(texts, finding)
    number = number_of(measurement, scale, thresholds_of(finding.rule))
    policy = policy_text(texts, finding.rule, scale)
    interval = measurement.interval if measurement else None
    is_generic = finding.verdict in {"pass", "fail"}
    return FindingView(
        anchor=anchor,
        verdict=finding.verdict,
        word=texts.text(WORDS[finding.verdict]),
        severity=texts.text(_SEVERITIES[finding.rule.severity]) if finding.rule.severity != "major" else "",
        name=finding.rule.title or label,
        headline=finding.rule.title or _headline(texts, finding, label, number, policy),
        label=label if finding.rule.title else "",
        subject="" if finding.subject == "baseline" else finding.subject,
        address=finding.figure,
        chart=finding_chart(texts, judged, scale, label),
        number=number,
        confidence=confidence_text(texts, interval.confidence if interval else None),
        policy=policy,
        rests_on=rests_on(texts, measurement, scale),
        reason="" if is_generic else texts.sentence(texts.message(finding.reason)),
        why=finding.rule.why or "",
        next_steps=tuple(_next_steps(judged, areas, texts, scale)),
    )


def finding_label(texts: Texts, finding: Finding) -> str:
    """What the judged figure is called; a rule that matched nothing is called by its address."""
    if finding.measurement is not None:
        return figure_label(texts, finding.measurement, finding.figure.partition("/")[0])
    return address_label(texts, finding.figure)


def _headline(texts: Texts, finding: Finding, label: str, number: Number, policy: str) -> str:
    values = {"figure": sentence_case(label), "value": number.plain, "policy": policy}
    if number.is_absent:
        return texts.text("{figure}: no evidence", **values)
    if finding.verdict == "pass":
        return texts.text("{figure}: {value}, within the policy", **values)
    if finding.verdict == "fail":
        return texts.text("{figure}: {value}, where the policy asks for {policy}", **values)
    return texts.text("{figure}: {value}, undecided", **values)


def finding_chart(texts: Texts, judged: JudgedFigure, scale: Scale, label: str) -> Markup | None:
    """Interval against threshold, the judged subject first, the variants below it."""
    measured = [one for one in judged.all if one.measurement and one.measurement.value is not None]
    if judged.binding.measurement is None or judged.binding.measurement.value is None:
        return None
    rows = [_row(one, scale, is_main=one is judged.binding) for one in measured]
    thresholds = thresholds_of(judged.binding.rule)
    said = [
        texts.text(
            "{subject}: {value} ({range}), {verdict}",
            subject=one.subject,
            value=number_of(one.measurement, scale, thresholds).plain,
            range=number_of(one.measurement, scale, thresholds).range or "±0",
            verdict=texts.text(WORDS[one.verdict]).lower(),
        )
        for one in measured
    ]
    metric = judged.binding.measurement.metric
    is_rate = style_of(metric) is Style.PERCENT or metric.endswith(".ratio")
    title = texts.text(
        "{figure} against the policy: {policy}",
        figure=label,
        policy=policy_text(texts, judged.binding.rule, scale),
    )
    return interval_chart(
        rows,
        thresholds_in(texts, judged.binding.rule, scale),
        title=title,
        description=texts.series_of(said),
        natural_high=scale.factor if is_rate else None,
    )


def _row(finding: Finding, scale: Scale, *, is_main: bool) -> IntervalRow:
    measurement = finding.measurement
    interval = measurement.interval if measurement else None
    value = measurement.value if measurement else None
    return IntervalRow(
        name=finding.subject,
        value=None if value is None else value * scale.factor,
        low=None if interval is None else interval.low * scale.factor,
        high=None if interval is None else interval.high * scale.factor,
        verdict=finding.verdict,
        is_main=is_main,
    )


def confidence_text(texts: Texts, confidence: float | None) -> str:
    """The confidence where it is not the usual 95 %; nothing for figures without sampling error."""
    if confidence is None or confidence in {0.95, 1.0}:
        return ""
    return texts.text("{confidence} interval", confidence=join_unit(f"{confidence * 100:.10g}", "%"))


def rests_on(texts: Texts, measurement: Measurement | None, scale: Scale) -> tuple[str, ...]:
    """Sample, note, and what such a sample can and cannot find."""
    if measurement is None:
        return ()
    lines = []
    if measurement.interval is not None and measurement.interval.method == "exact":
        lines.append(texts.text("exact, no sampling error"))
    elif measurement.n:
        lines.append(texts.plural("{n} sample", "{n} samples", measurement.n))
    if measurement.note:
        lines.append(texts.message(measurement.note))
    if measurement.detectable is not None:
        shown = rounded(measurement.detectable, None, None, scale)
        lines.append(
            texts.text("a true difference of {value} would be found 4 times in 5", value=shown.plain)
        )
    lines += qualities(texts, measurement)
    return tuple(lines)


def qualities(texts: Texts, measurement: Measurement) -> list[str]:
    """What kind of figure it is where it is not a plain measured estimate."""
    lines = []
    if measurement.kind == "lower_bound":
        lines.append(texts.text("a lower bound: the truth may be higher"))
    if measurement.kind == "upper_bound":
        lines.append(texts.text("an upper bound: the truth may be lower"))
    if measurement.provenance in _PROVENANCE:
        lines.append(texts.text(_PROVENANCE[measurement.provenance]))
    return lines


def _next_steps(judged: JudgedFigure, areas: Mapping[str, str], texts: Texts, scale: Scale) -> list[str]:
    finding = judged.binding
    if finding.verdict == "pass":
        return []
    steps = [finding.rule.remedy] if finding.rule.remedy else []
    thresholds = thresholds_of(finding.rule)
    for variant in judged.variants:
        steps += _what_variant_changes(
            finding, variant, number_of(variant.measurement, scale, thresholds), texts
        )
    if finding.needed_n and finding.measurement:
        steps.append(more_samples(texts, finding.needed_n, finding.measurement.n))
    if finding.verdict == "fail" and not steps:
        area = areas.get(finding.figure.partition("/")[0], "")
        steps.append(
            texts.text("No variant passes. The evidence stands under {area}.", area=area)
            if judged.variants
            else texts.text("The evidence stands under {area}.", area=area)
        )
    return steps


def _what_variant_changes(finding: Finding, variant: Finding, number: Number, texts: Texts) -> list[str]:
    values = {"variant": variant.subject, "value": number.plain}
    if variant.verdict == "pass":
        return [texts.text("{variant} would pass, at {value}.", **values)]
    if variant.verdict == "inconclusive" and finding.verdict == "fail":
        return [texts.text("{variant} no longer fails, at {value}, but is undecided.", **values)]
    return []


def more_samples(texts: Texts, needed: int, n: int) -> str:
    """How many samples would settle an open question, rounded up."""
    magnitude = 10 ** max(0, len(str(needed)) - 2)
    rounded_up = -(-needed // magnitude) * magnitude
    return texts.text(
        "About {needed} samples would decide, if the value stayed; here there are {n}.",
        needed=grouped(rounded_up),
        n=grouped(n),
    )


def tally(findings: Sequence[FindingView], texts: Texts) -> tuple[tuple[Verdict, str, int], ...]:
    """How many findings have which verdict: verdict, word, count."""
    order: tuple[Verdict, ...] = ("fail", "inconclusive", "pass", "not_shown")
    return tuple(
        (verdict, texts.text(WORDS[verdict]), sum(one.verdict == verdict for one in findings))
        for verdict in order
    )
