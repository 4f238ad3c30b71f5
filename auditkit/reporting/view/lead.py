"""The first sentences of the report: what fails, what is open, what a variant would change."""

from dataclasses import dataclass

from markupsafe import Markup, escape

from auditkit.records import Finding, Run
from auditkit.reporting.labels import sentence_case
from auditkit.reporting.language import Texts, grouped, mark
from auditkit.reporting.numbers import Scale, join_unit, number_of, signed
from auditkit.reporting.view.figures import FigureIndex, common_scale
from auditkit.reporting.view.findings import FindingView, finding_label, judged_figures

_NEXT_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do, and the finding it belongs to."""

    name: str
    text: str
    anchor: str


def lead_sentences(
    run: Run, findings: tuple[FindingView, ...], index: FigureIndex, texts: Texts
) -> list[Markup]:
    """The lead, sentence by sentence. Without a policy it says that nothing was judged."""
    if not findings:
        return [
            _strong(texts.text("No policy was given, so nothing was judged.")),
            texts.rich("What was measured is below; whether it is good enough is for you to say."),
        ]
    sentences = [_failing(findings, texts)]
    sentences += _open(findings, texts)
    sentences += [text for card in run.subjects[1:] if (text := _variant(run, card.name, index, texts))]
    return sentences


def next_steps(findings: tuple[FindingView, ...]) -> list[NextStep]:
    """The first step of each finding that is not a pass, the gravest first."""
    steps = [
        NextStep(sentence_case(one.name), one.next_steps[0] if one.next_steps else one.reason, one.anchor)
        for one in findings
        if one.verdict != "pass" and (one.next_steps or one.reason)
    ]
    return steps[:_NEXT_AT_MOST]


def _failing(findings: tuple[FindingView, ...], texts: Texts) -> Markup:
    failed = [one for one in findings if one.verdict == "fail"]
    total = len(findings)
    if failed:
        verdict = texts.plural(
            "{n} of {total} checks fails:", "{n} of {total} checks fail:", len(failed), total=grouped(total)
        )
        return texts.rich("{verdict} {names}.", verdict=_strong(verdict), names=_names(failed, texts))
    if all(one.verdict == "pass" for one in findings):
        return _strong(
            texts.plural("The one check passes on these data.", "All {n} checks pass on these data.", total)
        )
    return _strong(texts.text("None of the {total} checks fails, but not all could be decided.", total=total))


def _open(findings: tuple[FindingView, ...], texts: Texts) -> list[Markup]:
    sentences = []
    undecided = [one for one in findings if one.verdict == "inconclusive"]
    if undecided:
        sentences.append(
            texts.rich(
                "{n} cannot be decided with these data: {names}.",
                n=grouped(len(undecided)),
                names=_names(undecided, texts),
            )
        )
    absent = [one for one in findings if one.verdict == "not_shown"]
    if absent:
        sentences.append(
            texts.rich(
                "For {n} there is no evidence: {names}.",
                n=grouped(len(absent)),
                names=_names(absent, texts),
            )
        )
    return sentences


def _variant(run: Run, subject: str, index: FigureIndex, texts: Texts) -> Markup | None:
    """What a variant would mend and break, and at which cost in quality; nothing where no verdict changes."""
    mended: list[str] = []
    broken: list[str] = []
    for judged in judged_figures(run):
        other = next((one for one in judged.variants if one.subject == subject), None)
        if other is None:
            continue
        name = _name(judged.binding, texts)
        if judged.binding.verdict != "pass" and other.verdict == "pass":
            mended.append(name)
        if judged.binding.verdict == "pass" and other.verdict == "fail":
            broken.append(name)
    template = {
        (True, False): mark("{variant} would pass {mended}{cost}."),
        (False, True): mark("{variant} would newly fail {broken}{cost}."),
        (True, True): mark("{variant} would pass {mended}, but newly fail {broken}{cost}."),
    }.get((bool(mended), bool(broken)))
    if template is None:
        return None
    return texts.rich(
        template,
        variant=_strong(subject),
        mended=_named(mended, texts),
        broken=_named(broken, texts),
        cost=_quality_change(subject, index, texts),
    )


def _quality_change(subject: str, index: FigureIndex, texts: Texts) -> str:
    """What the variant does to accuracy, or to the perplexity of a model of language."""
    accuracy = index.get(f"performance/accuracy.change@{subject}~baseline")
    if accuracy is not None and accuracy.measurement.value is not None:
        number = number_of(accuracy.measurement, common_scale(texts, [accuracy.measurement]), keep=(0.0,))
        return texts.text(
            ", with accuracy changed by {change} ({range})",
            change=join_unit(signed(number.value), number.unit),
            range=_unbroken(number.range),
        )
    perplexity = index.get(f"language-modelling/perplexity.ratio@{subject}~baseline")
    if perplexity is not None and perplexity.measurement.value is not None:
        number = number_of(perplexity.measurement, Scale(), keep=(1.0,))
        return texts.text(
            ", with perplexity multiplied by {factor} ({range})",
            factor=number.value,
            range=_unbroken(number.range),
        )
    return ""


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _name(finding: Finding, texts: Texts) -> str:
    return finding.rule.title or finding_label(texts, finding)


def _names(findings: list[FindingView], texts: Texts) -> Markup:
    """The findings, each leading to its place below."""
    return _joined([Markup('<a href="#{}">{}</a>').format(one.anchor, one.name) for one in findings], texts)


def _named(names: list[str], texts: Texts) -> Markup:
    return _joined([Markup("<em>{}</em>").format(name) for name in names], texts)


def _joined(parts: list[Markup], texts: Texts) -> Markup:
    return Markup(texts.series_of("{}" for _ in parts)).format(*parts)  # noqa: S704 - separators are ours


def _strong(text: str) -> Markup:
    return Markup("<strong>{}</strong>").format(escape(text))
