"""Results, rules, findings, and the run that holds them all."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from auditkit.records.cards import DataCard, Environment, Json, SubjectCard
from auditkit.records.evidence import Evidence
from auditkit.records.measurement import Measurement
from auditkit.records.message import Message, Record

SCHEMA_VERSION = 1

Status = Literal["measured", "skipped", "failed"]
Verdict = Literal["pass", "fail", "inconclusive", "not_shown"]
Severity = Literal["minor", "major", "critical"]


class Cost(Record):
    """What one audit of one subject took."""

    duration_s: float


class AuditResult(Record):
    """What one audit found on one subject, or why it did not.

    ``question`` is what was asked of the subject, in one sentence. ``against`` names the subject it is
    compared with, for paired differences; the address of such a figure ends in ``@variant~baseline``.
    """

    audit: str
    version: int
    area: str
    question: Message | None = None
    params: dict[str, Json]
    subject: str
    against: str | None = None
    status: Status
    reason: Message | None = None
    measurements: tuple[Measurement, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    limits: tuple[Message, ...] = ()
    sources: tuple[str, ...] = ()
    plugin: str = "auditkit"
    cost: Cost
    key: str


class Rule(Record):
    """One threshold of the user's policy.

    ``figure`` is an address; without ``@SUBJECT`` it binds the baseline and is shown for the variants.
    """

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    severity: Severity = "major"
    title: str | None = None
    why: str | None = None
    remedy: str | None = None

    @model_validator(mode="after")
    def _has_threshold(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a rule needs at_least or at_most (or both)")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} exceeds at_most {self.at_most}")
        return self


class Finding(Record):
    """A rule judged on one measurement.

    ``binding`` findings decide the exit code; the others show what a variant would change.
    ``needed_n`` is the number of samples that would decide an inconclusive one, where it can be told.
    """

    rule: Rule
    figure: str
    subject: str
    verdict: Verdict
    binding: bool
    measurement: Measurement | None = None
    reason: Message
    needed_n: int | None = None


class Run(Record):
    """Everything of one execution: the only source of a report."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    title: str
    created_at: str
    duration_s: float
    seed: int
    config: dict[str, Json]
    subjects: tuple[SubjectCard, ...]
    data: DataCard
    environment: Environment
    results: tuple[AuditResult, ...]
    findings: tuple[Finding, ...]

    @model_validator(mode="after")
    def _has_baseline(self) -> Self:
        if not self.subjects:
            raise ValueError("a run has at least one subject, the baseline first")
        return self


def address(
    audit: str,
    metric: str,
    subject: str,
    *,
    group: Mapping[str, str] | None = None,
    across: tuple[str, ...] = (),
    against: str | None = None,
) -> str:
    """The address of a figure: ``AUDIT/METRIC[ATTRIBUTE=GROUP]@SUBJECT``.

    >>> address("group-fairness", "selection_rate.ratio", "dp-3", across=("sex",))
    'group-fairness/selection_rate.ratio[sex]@dp-3'
    >>> address("performance", "accuracy.change", "dp-3", against="baseline")
    'performance/accuracy.change@dp-3~baseline'
    """
    inside = ",".join([f"{key}={value}" for key, value in (group or {}).items()] + list(across))
    cell = f"[{inside}]" if inside else ""
    pair = f"~{against}" if against else ""
    return f"{audit}/{metric}{cell}@{subject}{pair}"


def figure_address(result: AuditResult, measurement: Measurement) -> str:
    """The address of ``measurement`` within ``result``."""
    return address(
        result.audit,
        measurement.metric,
        result.subject,
        group=measurement.group,
        across=measurement.across,
        against=result.against,
    )
