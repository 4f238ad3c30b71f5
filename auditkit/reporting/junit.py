"""Findings as JUnit XML, for build servers."""

from markupsafe import escape

from auditkit.records import Finding, Run
from auditkit.reporting.html import clean
from auditkit.reporting.labels import sentence_case
from auditkit.reporting.language import texts_for
from auditkit.reporting.numbers import number_of
from auditkit.reporting.view.figures import common_scale, policy_text, thresholds_of
from auditkit.reporting.view.findings import finding_label


def render_junit(run: Run) -> str:
    """One test case per binding finding.

    JUnit knows no third verdict: ``inconclusive`` and ``not_shown`` are ``skipped`` with their reason, so
    that they count neither as passed nor as failed.
    """
    binding = [finding for finding in run.findings if finding.binding]
    n_failures = sum(finding.verdict == "fail" for finding in binding)
    n_skipped = sum(finding.verdict in {"inconclusive", "not_shown"} for finding in binding)
    cases = "".join(_case(finding) for finding in binding)
    return clean(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites name="auditkit" tests="{len(binding)}" failures="{n_failures}" skipped="{n_skipped}">\n'
        f'<testsuite name="{escape(run.title)}" tests="{len(binding)}" failures="{n_failures}" errors="0" '
        f'skipped="{n_skipped}" timestamp="{escape(run.created_at)}" time="{run.duration_s:.3f}">\n'
        f"{cases}</testsuite>\n</testsuites>\n"
    )


def _case(finding: Finding) -> str:
    texts = texts_for("en")
    scale = common_scale(texts, [finding.measurement])
    number = number_of(finding.measurement, scale, thresholds_of(finding.rule))
    policy = policy_text(texts, finding.rule, scale)
    interval = f" ({number.range})" if number.range else ""
    said = f"{sentence_case(finding_label(texts, finding))}: {number.plain}{interval}, policy {policy}"
    name = finding.rule.title or finding.figure
    audit = finding.figure.partition("/")[0]
    opening = f'<testcase classname="{escape(audit)}" name="{escape(name)}"'
    if finding.verdict == "pass":
        return f"{opening}><system-out>{escape(said)}</system-out></testcase>\n"
    if finding.verdict == "fail":
        kind = escape(finding.rule.severity)
        return f'{opening}><failure type="{kind}" message="{escape(said)}"/></testcase>\n'
    word = finding.verdict.replace("_", " ")
    return f'{opening}><skipped message="{word}: {escape(said)}. {escape(finding.reason)}"/></testcase>\n'
