"""The documents of auditkit: frozen, self-validating values that JSON Schema is exported from.

A figure is never a bare number: a :class:`Measurement` carries unit, n, interval, direction, kind and
provenance, or ``value=None`` with the reason. Texts that a reader sees are :class:`Message` values, an
English template with its parameters kept apart, so that one stored run renders in every language.
"""

from auditkit.records.cards import (
    Certificate,
    DataCard,
    Environment,
    Json,
    Planted,
    SubjectCard,
    TrainingRecord,
)
from auditkit.records.evidence import (
    Bars,
    Cell,
    Curve,
    Dots,
    Estimate,
    Evidence,
    EvidenceBase,
    Heatmap,
    Mark,
    Note,
    Panel,
    Picture,
    Series,
    Table,
    Token,
    Tokens,
)
from auditkit.records.measurement import Better, Interval, Kind, Measurement, Provenance, Unit
from auditkit.records.message import Message, Record
from auditkit.records.run import (
    SCHEMA_VERSION,
    AuditResult,
    Cost,
    Finding,
    Rule,
    Run,
    Severity,
    Status,
    Verdict,
    address,
    figure_address,
)

__all__ = [
    "SCHEMA_VERSION",
    "AuditResult",
    "Bars",
    "Better",
    "Cell",
    "Certificate",
    "Cost",
    "Curve",
    "DataCard",
    "Dots",
    "Environment",
    "Estimate",
    "Evidence",
    "EvidenceBase",
    "Finding",
    "Heatmap",
    "Interval",
    "Json",
    "Kind",
    "Mark",
    "Measurement",
    "Message",
    "Note",
    "Panel",
    "Picture",
    "Planted",
    "Provenance",
    "Record",
    "Rule",
    "Run",
    "Series",
    "Severity",
    "Status",
    "SubjectCard",
    "Table",
    "Token",
    "Tokens",
    "TrainingRecord",
    "Unit",
    "Verdict",
    "address",
    "figure_address",
]
