"""Findings as SARIF 2.1.0, for code-scanning views."""

import json
from typing import Any

from auditkit.records import Finding, Rule, Run
from auditkit.reporting.labels import sentence_case
from auditkit.reporting.language import texts_for
from auditkit.reporting.numbers import number_of
from auditkit.reporting.view.figures import common_scale, policy_text, thresholds_of
from auditkit.reporting.view.findings import finding_label

_KINDS = {"pass": "pass", "fail": "fail", "inconclusive": "review", "not_shown": "open"}
_LEVELS = {"minor": "warning", "major": "error", "critical": "error"}


def render_sarif(run: Run) -> str:
    """One result per binding finding; ``kind`` carries the verdict, ``level`` the severity of a failure.

    Source: SARIF 2.1.0, sections 3.27.9 (kind) and 3.27.10 (level). A result is located at its rule in the
    policy of the stored config, because that is what a reader would change or explain.
    """
    rules = list(dict.fromkeys(finding.rule.model_dump_json() for finding in run.findings))
    results = [_result(finding, rules) for finding in run.findings if finding.binding]
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "auditkit",
                        "version": run.environment.auditkit,
                        "rules": [_rule(Rule.model_validate_json(text), text, rules) for text in rules],
                    }
                },
                "automationDetails": {"id": run.run_id},
                "results": results,
            }
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _rule(rule: Rule, text: str, rules: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": _rule_id(text, rules),
        "name": rule.figure,
        "shortDescription": {"text": rule.title or rule.figure},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }
    if rule.why:
        described["fullDescription"] = {"text": rule.why}
    if rule.remedy:
        described["help"] = {"text": rule.remedy}
    return described


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    text = finding.rule.model_dump_json()
    place = {"name": finding.figure, "fullyQualifiedName": f"policy[{rules.index(text)}]", "kind": "member"}
    return {
        "ruleId": _rule_id(text, rules),
        "ruleIndex": rules.index(text),
        "kind": _KINDS[finding.verdict],
        "level": _LEVELS[finding.rule.severity] if finding.verdict == "fail" else "none",
        "message": {"text": _message(finding)},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": "run.json"}},
                "logicalLocations": [place],
            }
        ],
    }


def _rule_id(text: str, rules: list[str]) -> str:
    return f"POLICY-{rules.index(text) + 1}"


def _message(finding: Finding) -> str:
    texts = texts_for("en")
    scale = common_scale(texts, [finding.measurement])
    number = number_of(finding.measurement, scale, thresholds_of(finding.rule))
    interval = f" ({number.range})" if number.range else ""
    label = sentence_case(finding_label(texts, finding))
    policy = policy_text(texts, finding.rule, scale)
    return f"{label}: {number.plain}{interval}; policy: {policy}. {finding.reason}".strip()
