"""Judging measured figures against the user's thresholds. Pure: measurements in, findings out."""

import difflib
import re
from collections.abc import Iterator, Sequence

from auditkit.records import (
    AuditResult,
    Finding,
    Measurement,
    Message,
    Rule,
    SubjectCard,
    figure_address,
)
from auditkit.statistics.decision import decide, needed_n

BASELINE = "baseline"
_MOST_CELLS_NAMED = 8


def judge(
    rules: Sequence[Rule], results: Sequence[AuditResult], subjects: Sequence[SubjectCard]
) -> tuple[Finding, ...]:
    """One finding per rule, subject and matching figure.

    A rule without ``@SUBJECT`` binds the baseline; for the variants the same rule is judged too, but not
    binding. A rule that matches no figure is ``not_shown``, never a pass. ``*`` in a figure matches any text.
    """
    figures = [
        (figure_address(result, measurement), result, measurement)
        for result in results
        for measurement in result.measurements
    ]
    findings = []
    for rule in rules:
        for target, subject, binding in _targets(rule, subjects):
            matches = [item for item in figures if _matches(target, item[0])]
            if matches:
                findings += [
                    _judge_one(rule, figure, result.subject, binding, measurement)
                    for figure, result, measurement in matches
                ]
            else:
                reason = _why_absent(target, results, [item[0] for item in figures])
                findings.append(
                    Finding(
                        rule=rule,
                        figure=target,
                        subject=subject,
                        verdict="not_shown",
                        binding=binding,
                        reason=reason,
                    )
                )
    return tuple(findings)


def exit_code(findings: Sequence[Finding], results: Sequence[AuditResult]) -> int:
    """The exit code of a run.

    1 when a binding rule fails; else 3 when an audit crashed; else 4 when a binding rule is inconclusive or
    not shown; else 0.
    """
    verdicts = {finding.verdict for finding in findings if finding.binding}
    if "fail" in verdicts:
        return 1
    if any(result.status == "failed" for result in results):
        return 3
    return 4 if verdicts & {"inconclusive", "not_shown"} else 0


def _targets(rule: Rule, subjects: Sequence[SubjectCard]) -> Iterator[tuple[str, str, bool]]:
    """(address, subject, binding) of what the rule is about."""
    figure, subject = _split(rule.figure)
    if subject:
        yield _ordered(figure) + "@" + subject, subject, True
        return
    for card in subjects:
        yield f"{_ordered(figure)}@{card.name}", card.name, card.name == BASELINE


def _split(figure: str) -> tuple[str, str]:
    """Figure and subject; an ``@`` inside the brackets belongs to the name of a group."""
    head, bracket, tail = figure.rpartition("]")
    bare, _, subject = tail.partition("@")
    return head + bracket + bare, subject


def _ordered(figure: str) -> str:
    """The figure with the cells inside its brackets in alphabetical order."""
    head, separator, rest = figure.partition("[")
    if not separator:
        return figure
    cells = sorted(cell.strip() for cell in rest.removesuffix("]").split(","))
    return f"{head}[{','.join(cells)}]"


def _matches(target: str, figure: str) -> bool:
    bare, _, subject = figure.rpartition("@")
    pattern = ".*".join(re.escape(part) for part in target.split("*"))
    return re.fullmatch(pattern, f"{_ordered(bare)}@{subject}", re.DOTALL) is not None


def _judge_one(rule: Rule, figure: str, subject: str, binding: bool, measurement: Measurement) -> Finding:
    verdict, reason, more = "inconclusive", Message(text=""), None
    if measurement.value is None:
        verdict = "not_shown"
        reason = measurement.missing or Message(text="The figure is undefined.")
    elif measurement.interval is None:
        reason = Message(text="The figure has no interval, so it cannot be told from chance.")
    else:
        verdict = decide(
            measurement.interval, at_least=rule.at_least, at_most=rule.at_most, kind=measurement.kind
        )
        reason = _REASONS[verdict]
        if verdict == "inconclusive":
            more = needed_n(
                measurement.value,
                measurement.interval,
                measurement.n,
                rule.at_least,
                rule.at_most,
                kind=measurement.kind,
            )
            if measurement.kind != "estimate":
                reason = Message(text="A bound on one side cannot decide this rule.")
    return Finding(
        rule=rule,
        figure=figure,
        subject=subject,
        verdict=verdict,
        binding=binding,
        measurement=measurement,
        reason=reason,
        needed_n=more,
    )


_REASONS = {
    "pass": Message(text="The whole interval clears the threshold."),
    "fail": Message(text="The whole interval breaches the threshold."),
    "inconclusive": Message(text="The interval spans the threshold: these data cannot decide."),
}


def _why_absent(target: str, results: Sequence[AuditResult], figures: Sequence[str]) -> Message:
    audit, _, _ = target.partition("/")
    subject, _, against = target.rpartition("@")[2].partition("~")
    if not any(result.audit == audit for result in results):
        return Message(text="The audit {audit} is not part of this run.", values={"audit": audit})
    if "*" not in subject and not any(result.subject == subject for result in results):
        return Message(text="There is no subject {subject} in this run.", values={"subject": subject})
    own = [result for result in results if result.audit == audit and (result.against or "") == against]
    here = next((result for result in own if result.subject == subject), None)
    if here is None and against:
        return Message(
            text="The audit {audit} did not compare {subject} with {against}.",
            values={"audit": audit, "subject": subject, "against": against},
        )
    if here is not None and here.status != "measured":
        return here.reason or Message(text="The audit gave no figures.")
    ends = f"@{subject}~{against}" if against else f"@{subject}"
    known = [
        figure.partition("/")[2].removesuffix(ends)
        for figure in figures
        if figure.startswith(f"{audit}/") and figure.endswith(ends)
    ]
    return _nearest(target.partition("/")[2].removesuffix(ends), known)


def _nearest(wanted: str, known: Sequence[str]) -> Message:
    """What to tell of a figure that was not measured: the attributes there are, or the closest name."""
    metric, bracket, _ = wanted.partition("[")
    cells = sorted(
        {figure.partition("[")[2].rstrip("]") for figure in known if figure.startswith(f"{metric}[")}
    )
    if bracket and cells and len(cells) <= _MOST_CELLS_NAMED:
        return Message(
            text="The audit has no figure for this attribute or group, only for: {cells}.",
            values={"cells": "; ".join(cells)},
        )
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    if not near:
        return Message(text="The audit measured no such figure.")
    return Message(text="The audit measured no such figure. Did you mean {near}?", values={"near": near[0]})
