"""What it costs to make it better: every subject against the baseline, on the figures that matter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Finding, Measurement, Rule, Run, SubjectCard
from auditkit.reporting.charts.axis import Axis
from auditkit.reporting.charts.interval import SHAPES
from auditkit.reporting.charts.strip import strip, strip_axis
from auditkit.reporting.labels import figure_label, sentence_case, variant_kind
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import (
    Number,
    Scale,
    number_of,
    signed,
)
from auditkit.reporting.view.certificates import guarantee
from auditkit.reporting.view.figures import (
    FigureIndex,
    bare_address,
    canonical,
    common_scale,
    policy_text,
    thresholds_of,
)
from auditkit.reporting.view.findings import WORDS, judged_figures

KEY_FIGURES = (
    "performance/accuracy",
    "language-modelling/perplexity",
    "regression-error/mean_absolute_error",
    "footprint/size_b",
    "footprint/latency_s",
    "footprint/energy_j_per_1000",
    "performance/balanced_accuracy",
    "performance/auc",
)
"""Shown beside the figures of the policy, and alone where there is no policy, as far as measured."""

_LEADING = KEY_FIGURES[:3]
"""How well a subject does its task comes first; of these three a subject has one."""

QUOTIENT = "ratio"
_COLUMNS_PER_BAND = 4
_KEYS_BESIDE_POLICY = 3


@dataclass(frozen=True, slots=True)
class CostCell:
    """A figure of one subject, its small chart, its verdict, and its paired change from the baseline."""

    number: Number
    chart: Markup | None = None
    verdict: str = ""
    word: str = ""
    change: Number | None = None
    is_change_clear: bool = False


@dataclass(frozen=True, slots=True)
class CostColumn:
    """One figure over all subjects."""

    heading: str
    unit: str
    policy: str
    cells: tuple[CostCell, ...]

    @property
    def passes_everywhere(self) -> bool:
        """Whether it is judged and every subject passes."""
        return all(cell.verdict == "pass" for cell in self.cells)


@dataclass(frozen=True, slots=True)
class SubjectHead:
    """The head of a row."""

    name: str
    kind: str
    guarantee: str
    is_certified: bool


@dataclass(frozen=True, slots=True)
class Costs:
    """Subjects as rows; columns in bands that fit a page.

    ``unchanged`` are figures that pass for every subject, folded where there are many.
    """

    subjects: tuple[SubjectHead, ...]
    bands: tuple[tuple[CostColumn, ...], ...]
    unchanged: tuple[tuple[CostColumn, ...], ...]
    n_unchanged: int
    has_changes: bool


def costs(run: Run, index: FigureIndex, texts: Texts) -> Costs | None:
    """The comparison of the variants with the baseline; ``None`` where there are no variants."""
    if len(run.subjects) < 2:
        return None
    columns = [_column(run, bare, rule, index, texts) for bare, rule in _chosen(run, index)]
    told = [column for number, column in enumerate(columns) if number == 0 or not column.passes_everywhere]
    others = [column for column in columns if column not in told]
    if len(others) < _COLUMNS_PER_BAND:
        told, others = columns, []
    return Costs(
        subjects=tuple(_head(card, texts) for card in run.subjects),
        bands=_bands(told),
        unchanged=_bands(others),
        n_unchanged=len(others),
        has_changes=any(cell.change for column in columns for cell in column.cells),
    )


def _bands(columns: Sequence[CostColumn]) -> tuple[tuple[CostColumn, ...], ...]:
    starts = range(0, len(columns), _COLUMNS_PER_BAND)
    return tuple(tuple(columns[start : start + _COLUMNS_PER_BAND]) for start in starts)


def key_columns(run: Run, index: FigureIndex, texts: Texts) -> tuple[CostColumn, ...]:
    """The key figures of a run without policy; where none is known, the first of each audit."""
    of_baseline = {
        bare_address(address): figure
        for address, figure in index.items()
        if figure.result.subject == run.subjects[0].name and figure.result.against is None
    }
    known = [bare for bare in KEY_FIGURES if bare in of_baseline]
    disparities = [bare for bare, figure in of_baseline.items() if figure.measurement.across]
    first_of_each: dict[str, str] = {}
    for bare, figure in of_baseline.items():
        if not figure.measurement.group:
            first_of_each.setdefault(figure.result.audit, bare)
    wanted = {*known, *disparities[:4], *first_of_each.values()}
    chosen = [bare for bare in of_baseline if bare in wanted]
    return tuple(_column(run, bare, None, index, texts) for bare in chosen[:12])


def _chosen(run: Run, index: FigureIndex) -> Iterator[tuple[str, Rule | None]]:
    """Figures of the policy that have a value somewhere, then key figures; how good answers are leads."""
    rules: dict[str, Rule | None] = {}
    for judged in judged_figures(run):
        if any(one.measurement and one.measurement.value is not None for one in judged.all):
            rules.setdefault(bare_address(judged.binding.figure), judged.binding.rule)
    keys = [bare for bare in KEY_FIGURES if f"{bare}@baseline" in index and bare not in rules]
    chosen = {**rules, **dict.fromkeys(keys[:_KEYS_BESIDE_POLICY])}
    for quality in _LEADING:
        if quality in chosen:
            yield quality, chosen.pop(quality)
    yield from chosen.items()


def _column(run: Run, bare: str, rule: Rule | None, index: FigureIndex, texts: Texts) -> CostColumn:
    figures = [index.get(canonical(f"{bare}@{card.name}")) for card in run.subjects]
    measurements = [figure.measurement if figure else None for figure in figures]
    scale = common_scale(texts, measurements)
    named = next((one for one in measurements if one is not None), None)
    verdicts = {
        finding.subject: finding
        for finding in run.findings
        if rule is not None and finding.rule == rule and bare_address(finding.figure) == bare
    }
    keep = thresholds_of(rule) if rule else []
    axis = _axis(measurements, keep, scale)
    reference = measurements[0].value if measurements[0] else None
    cells = []
    for card, measurement in zip(run.subjects, measurements, strict=True):
        change = _paired(bare, card.name, index)
        cells.append(
            CostCell(
                number=number_of(measurement, scale, keep),
                chart=_strip(axis, measurement, scale, reference, verdicts.get(card.name)),
                verdict=verdicts[card.name].verdict if card.name in verdicts else "",
                word=texts.text(WORDS[verdicts[card.name].verdict]) if card.name in verdicts else "",
                change=_change(change, scale),
                is_change_clear=_is_clear(change),
            )
        )
    return CostColumn(
        heading=sentence_case(figure_label(texts, named, bare.partition("/")[0])) if named else bare,
        unit=scale.symbol,
        policy=policy_text(texts, rule, scale) if rule else "",
        cells=tuple(cells),
    )


def _axis(measurements: Sequence[Measurement | None], keep: Sequence[float], scale: Scale) -> Axis | None:
    values = [threshold * scale.factor for threshold in keep]
    for measurement in measurements:
        if measurement is not None and measurement.value is not None:
            values.append(measurement.value * scale.factor)
            if measurement.interval is not None:
                values += [measurement.interval.low * scale.factor, measurement.interval.high * scale.factor]
    return strip_axis(values) if len(values) > len(keep) else None


def _strip(
    axis: Axis | None,
    measurement: Measurement | None,
    scale: Scale,
    reference: float | None,
    finding: Finding | None,
) -> Markup | None:
    if axis is None or measurement is None or measurement.value is None:
        return None
    interval = measurement.interval
    thresholds = thresholds_of(finding.rule) if finding else []
    return strip(
        axis,
        measurement.value * scale.factor,
        interval.low * scale.factor if interval else None,
        interval.high * scale.factor if interval else None,
        reference=None if reference is None else reference * scale.factor,
        threshold=thresholds[0] * scale.factor if thresholds else None,
        shape=SHAPES[finding.verdict] if finding else "circle",
        class_=f"v-{finding.verdict.replace('_', '-')}" if finding else "",
    )


def _paired(bare: str, subject: str, index: FigureIndex) -> Measurement | None:
    """The paired change of a figure, or its quotient, where the audit measured one."""
    head, bracket, cell = bare.partition("[")
    for suffix in ("change", QUOTIENT):
        figure = index.get(canonical(f"{head}.{suffix}{bracket}{cell}@{subject}~baseline"))
        if figure is not None:
            return figure.measurement
    return None


def _change(measurement: Measurement | None, scale: Scale) -> Number | None:
    if measurement is None or measurement.value is None:
        return None
    if _is_quotient(measurement):
        number = number_of(measurement, Scale(), keep=(1.0,))
        return Number(f"× {number.value}", number.low, number.high)
    number = number_of(measurement, Scale(scale.factor), keep=(0.0,))
    low, high = (signed(number.low), signed(number.high)) if number.low else ("", "")
    return Number(f"Δ {signed(number.value)}", low, high)


def _is_clear(measurement: Measurement | None) -> bool:
    if measurement is None or measurement.interval is None:
        return False
    nothing = 1.0 if _is_quotient(measurement) else 0.0
    return measurement.interval.low > nothing or measurement.interval.high < nothing


def _is_quotient(measurement: Measurement) -> bool:
    return measurement.metric.endswith(f".{QUOTIENT}") and not measurement.across


def _head(card: SubjectCard, texts: Texts) -> SubjectHead:
    certificate = card.certificate
    is_certified = certificate is not None and certificate.certified
    return SubjectHead(card.name, variant_kind(texts, card.kind), guarantee(certificate), is_certified)
