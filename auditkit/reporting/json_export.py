"""The figures and findings of a run as one flat document for scripts; the whole truth is ``run.json``."""

import json
from typing import Any

from auditkit.records import Finding, Measurement, Run, Verdict, figure_address

_VERDICTS: tuple[Verdict, ...] = ("fail", "inconclusive", "pass", "not_shown")


def render_json(run: Run) -> str:
    """Tally, findings and every figure by its address. Absent values are ``null`` with their reason."""
    binding = [finding for finding in run.findings if finding.binding]
    document = {
        "run_id": run.run_id,
        "title": run.title,
        "created_at": run.created_at,
        "subjects": {card.name: card.digest for card in run.subjects},
        "data": {"name": run.data.name, "digest": run.data.digest, "n_rows": run.data.n_rows},
        "tally": {verdict: sum(one.verdict == verdict for one in binding) for verdict in _VERDICTS},
        "findings": [_finding(finding) for finding in run.findings],
        "figures": {
            figure_address(result, measurement): _figure(measurement)
            for result in run.results
            for measurement in result.measurements
        },
        "not_measured": [
            {
                "audit": result.audit,
                "subject": result.subject,
                "status": result.status,
                "reason": str(result.reason or ""),
            }
            for result in run.results
            if result.status != "measured"
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "figure": finding.figure,
        "title": finding.rule.title,
        "verdict": finding.verdict,
        "binding": finding.binding,
        "severity": finding.rule.severity,
        "at_least": finding.rule.at_least,
        "at_most": finding.rule.at_most,
        "value": finding.measurement.value if finding.measurement else None,
        "needed_n": finding.needed_n,
        "reason": str(finding.reason),
    }


def _figure(measurement: Measurement) -> dict[str, Any]:
    interval = measurement.interval
    return {
        "value": measurement.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "confidence": interval.confidence if interval else None,
        "method": interval.method if interval else None,
        "unit": measurement.unit,
        "n": measurement.n,
        "better": measurement.better,
        "kind": measurement.kind,
        "provenance": measurement.provenance,
        "missing": str(measurement.missing) if measurement.missing else None,
    }
