"""What the audit could not show: audits not run, rules without evidence, undefined figures, limits."""

from dataclasses import dataclass

from auditkit.records import Measurement, Run
from auditkit.reporting.labels import audit_title, group_label, metric_label
from auditkit.reporting.language import Texts, mark
from auditkit.reporting.view.findings import FindingView

_EXAMPLES = 3

ALWAYS = (
    mark("Figures hold for the audited rows. Other people, places and times were not measured."),
    mark("Whether the purpose is lawful, and who oversees the model, is not a matter of measurement."),
    mark(
        "A figure that meets its threshold meets a number that someone chose; it does not show that nobody "
        "is harmed."
    ),
)
_NO_SENSITIVE = mark("No sensitive feature was given, so nothing is known about how groups are treated.")
_ONLY_SENSITIVE = mark("Of the attributes of people only {attributes} were given; no other was guessed.")


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """An audit that was skipped or failed, with the subjects it concerns; none are named when it is all."""

    title: str
    word: str
    has_failed: bool
    subjects: str
    reason: str


@dataclass(frozen=True, slots=True)
class Undefined:
    """Figures of one audit that are undefined for one reason."""

    title: str
    count: str
    reason: str
    examples: str


@dataclass(frozen=True, slots=True)
class Gaps:
    """Everything the audit could not show."""

    not_measured: tuple[NotMeasured, ...]
    not_shown: tuple[FindingView, ...]
    undefined: tuple[Undefined, ...]
    always: tuple[str, ...]


def gaps(run: Run, findings: tuple[FindingView, ...], texts: Texts) -> Gaps:
    """The gaps of a run."""
    return Gaps(
        not_measured=tuple(_not_measured(run, texts)),
        not_shown=tuple(one for one in findings if one.verdict == "not_shown"),
        undefined=tuple(_undefined(run, texts)),
        always=(_attributes(run, texts), *(texts.text(template) for template in ALWAYS)),
    )


def _not_measured(run: Run, texts: Texts) -> list[NotMeasured]:
    subjects: dict[tuple[str, str, str], list[str]] = {}
    for result in run.results:
        if result.status != "measured":
            name = f"{result.subject}~{result.against}" if result.against else result.subject
            subjects.setdefault((result.audit, result.status, texts.message(result.reason)), []).append(name)
    everyone = {card.name for card in run.subjects}
    return [
        NotMeasured(
            title=audit_title(texts, audit),
            word=texts.text("failed") if status == "failed" else texts.text("skipped"),
            has_failed=status == "failed",
            subjects="" if everyone <= set(names) else texts.list_of(names),
            reason=texts.sentence(reason),
        )
        for (audit, status, reason), names in subjects.items()
    ]


def _undefined(run: Run, texts: Texts) -> list[Undefined]:
    missing: dict[tuple[str, str], list[Measurement]] = {}
    for result in run.results:
        for measurement in result.measurements:
            if measurement.value is None:
                key = (result.audit, texts.message(measurement.missing))
                missing.setdefault(key, []).append(measurement)
    return [
        Undefined(
            title=audit_title(texts, audit),
            count=texts.plural("{n} figure", "{n} figures", len(measurements)),
            reason=texts.sentence(reason),
            examples=_named(measurements, audit, texts),
        )
        for (audit, reason), measurements in missing.items()
    ]


def _named(measurements: list[Measurement], audit: str, texts: Texts) -> str:
    """The groups concerned, or the metrics where no group is."""
    groups = list(dict.fromkeys(group_label(texts, one.group) for one in measurements if one.group))
    names = groups or list(
        dict.fromkeys(metric_label(texts, one.metric, one.across, audit) for one in measurements)
    )
    shown = texts.series_of(names[:_EXAMPLES])
    rest = len(names) - _EXAMPLES
    return shown if rest <= 0 else texts.text("{names} and {n} more", names=shown, n=rest)


def _attributes(run: Run, texts: Texts) -> str:
    attributes = list(run.data.groups)
    if not attributes:
        return texts.text(_NO_SENSITIVE)
    return texts.text(_ONLY_SENSITIVE, attributes=texts.list_of(attributes))
