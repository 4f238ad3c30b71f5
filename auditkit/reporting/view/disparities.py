"""Gaps between groups at a glance: who, by how much, how sure, on how many, and what would change the answer.

Made from the stored figures of any audit that gives a metric per group (``metric[attribute=group]``) and its
largest gap (``metric.difference[attribute]``); findings of the policy on the gap, or on the ratio, are taken
before it. Nothing is judged here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Measurement, Run
from auditkit.reporting.charts.axis import Axis
from auditkit.reporting.charts.interval import SHAPES
from auditkit.reporting.charts.strip import strip, strip_axis
from auditkit.reporting.labels import metric_label, sentence_case
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import Number, Scale, number_of, rounded
from auditkit.reporting.view.figures import common_scale, policy_text, thresholds_of
from auditkit.reporting.view.findings import WORDS
from auditkit.reporting.view.gap_changes import Facts, changes_of, with_range
from auditkit.reporting.view.group_gaps import DIFFERENCE, Gap, group_gaps

SMALL_GROUP = 30
"""Groups whose rate rests on fewer rows are marked, as in the audits."""

ROWS_OPEN = 6
"""Gaps that stand open."""


@dataclass(frozen=True, slots=True)
class GroupSide:
    """One of the two groups furthest apart."""

    name: str
    number: Number
    n: str
    is_small: bool


@dataclass(frozen=True, slots=True)
class DisparityView:
    """One gap. ``verdict`` is that of the policy, empty where it declares no margin."""

    figure: str
    sides: tuple[GroupSide, GroupSide]
    number: Number
    chart: Markup
    verdict: str
    word: str
    certainty: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disparities:
    """The gaps of a run, the ones that matter most first.

    ``takeaways`` are whole sentences; ``folded`` names further gaps with their figures, ``quiet`` those that
    are not shown, with what would have been; ``has_small`` says whether a group is marked as small.
    """

    takeaways: tuple[str, ...]
    open: tuple[DisparityView, ...]
    folded: tuple[str, ...]
    quiet: tuple[str, ...]
    has_small: bool


def disparities(run: Run, texts: Texts) -> Disparities | None:
    """The gaps of the baseline; ``None`` where no audit of groups measured one."""
    results = [
        result
        for result in run.results
        if result.area == "fairness" and result.subject == run.subjects[0].name and result.against is None
    ]
    found = sorted(group_gaps(run, results), key=lambda gap: gap.rank)
    if not found:
        return None
    told = [gap for gap in found if gap.verdict in {"fail", "inconclusive"} or gap.is_beyond_chance]
    told += [gap for gap in found if gap not in told and gap.verdict]
    axis = _axis_of_differences(told)
    facts = {(one.metric, one.across): one for result in results for one in result.measurements if one.across}
    n_open = ROWS_OPEN if len(told) > ROWS_OPEN + 1 else len(told)
    views = tuple(_view(gap, axis, facts, texts) for gap in told[:n_open])
    return Disparities(
        takeaways=tuple(_takeaways(found, texts)),
        open=views,
        folded=tuple(_named(gap, texts) for gap in told[n_open:]),
        quiet=tuple(_quiet([gap for gap in found if gap not in told], texts)),
        has_small=any(side.is_small for view in views for side in view.sides),
    )


def _axis_of_differences(gaps: Sequence[Gap]) -> Axis:
    """One axis for all differences, so that their lengths compare; it begins at no gap."""
    ends = [0.0]
    for gap in gaps:
        if gap.shown.metric.endswith(DIFFERENCE) and gap.shown.interval:
            ends += [gap.shown.interval.high, *(thresholds_of(gap.judged.binding.rule) if gap.judged else ())]
    return strip_axis([*ends, 0.01])


def _view(gap: Gap, axis: Axis, facts: Facts, texts: Texts) -> DisparityView:
    shown = gap.shown
    rule = gap.judged.binding.rule if gap.judged else None
    scale = common_scale(texts, [shown])
    label = metric_label(texts, gap.base, audit=gap.audit)
    attributes = " × ".join(gap.measurement.across)
    sides = (_side(gap.low, texts), _side(gap.high, texts))
    return DisparityView(
        figure=sentence_case(texts.text("{figure} across {attributes}", figure=label, attributes=attributes)),
        sides=sides,
        number=number_of(shown, scale, thresholds_of(rule) if rule else [0.0]),
        chart=_chart(gap, axis),
        verdict=gap.verdict,
        word=texts.text(WORDS[gap.judged.binding.verdict]) if gap.judged else "",
        certainty=_certainty(gap, scale, texts),
        changes=tuple(changes_of(gap, facts, texts)),
    )


def _side(measurement: Measurement, texts: Texts) -> GroupSide:
    return GroupSide(
        name=texts.list_of(measurement.group.values()),
        number=number_of(measurement, common_scale(texts, [measurement])),
        n=grouped(measurement.n),
        is_small=measurement.n < SMALL_GROUP,
    )


def _chart(gap: Gap, axis: Axis) -> Markup:
    """The interval against the margin; hollow where a group is small."""
    shown = gap.shown
    thresholds = thresholds_of(gap.judged.binding.rule) if gap.judged else []
    interval, value = shown.interval, shown.value or 0.0
    if not shown.metric.endswith(DIFFERENCE):
        axis = strip_axis([0.0, 1.0, value])
    is_small = min(gap.low.n, gap.high.n) < SMALL_GROUP
    shape = "ring" if is_small else SHAPES.get(gap.verdict, "circle")
    return strip(
        axis,
        value,
        interval.low if interval else None,
        interval.high if interval else None,
        threshold=thresholds[0] if thresholds else None,
        shape=shape,
        class_=f"v-{gap.verdict}" if gap.verdict else "",
    )


def _certainty(gap: Gap, scale: Scale, texts: Texts) -> str:
    if gap.judged is None:
        return texts.text("beyond chance; the policy declares no margin")
    policy = policy_text(texts, gap.judged.binding.rule, scale)
    said = {
        "fail": texts.text("the whole interval breaches the margin, {policy}", policy=policy),
        "pass": texts.text("the whole interval is within the margin, {policy}", policy=policy),
    }
    return said.get(
        gap.verdict, texts.text("the interval spans the margin, {policy}: undecided", policy=policy)
    )


def _takeaways(gaps: Sequence[Gap], texts: Texts) -> Iterator[str]:
    """One sentence on what is shown, one on what is not."""
    beyond = [gap for gap in gaps if gap.is_beyond_chance]
    failing = [gap for gap in gaps if gap.verdict == "fail"]
    if not beyond:
        yield texts.text(
            "No gap between groups is shown beyond chance, of {total} examined.", total=len(gaps)
        )
        return
    yield texts.text(
        "{shown} of {total} gaps between groups are shown beyond chance; {failing} breach a declared margin.",
        shown=len(beyond),
        total=len(gaps),
        failing=len(failing),
    )


def _named(gap: Gap, texts: Texts) -> str:
    """A gap and its figure in a line."""
    shown = gap.shown
    label = metric_label(texts, shown.metric, shown.across, gap.audit)
    number = with_range(number_of(shown, common_scale(texts, [shown])))
    return sentence_case(texts.text("{figure}: {value}.", figure=label, value=number))


def _quiet(gaps: Sequence[Gap], texts: Texts) -> Iterator[str]:
    """Gaps that are not shown, each with the smallest that these rows would have shown."""
    for gap in gaps:
        if gap.measurement.detectable is None:
            yield _named(gap, texts)
            continue
        scale = common_scale(texts, [gap.measurement])
        label = metric_label(texts, gap.measurement.metric, gap.measurement.across, gap.audit)
        number = with_range(number_of(gap.measurement, scale))
        detectable = rounded(gap.measurement.detectable, None, None, scale).plain
        yield sentence_case(
            texts.text(
                "{figure}: {value}; a true gap of {detectable} would be found 4 times in 5.",
                figure=label,
                value=number,
                detectable=detectable,
            )
        )
