"""The documents of auditkit: frozen, self-validating values that JSON Schema is exported from.

A figure is never a bare number: a :class:`Measurement` carries unit, n, interval, direction, kind and
provenance, or ``value=None`` with the reason. Texts that a reader sees are :class:`Message` values, an
English template with its parameters kept apart, so that one stored run renders in every language.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

SCHEMA_VERSION = 1

Unit = Literal["1", "count", "s", "1/s", "J", "kWh", "gCO2e", "B", "FLOP", "nat"]
Better = Literal["higher", "lower", "zero", "one", "neither"]
Kind = Literal["estimate", "lower_bound", "upper_bound"]
Provenance = Literal["measured", "derived", "estimated", "declared"]
Status = Literal["measured", "skipped", "failed"]
Verdict = Literal["pass", "fail", "inconclusive", "not_shown"]
Severity = Literal["minor", "major", "critical"]
Json = Any


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused, never NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(Record):
    """A sentence for a reader: an English template and the values that fill its ``{names}``.

    The template is the key of the translation. A text without values is taken literally, braces included.
    """

    text: str
    values: dict[str, str | int | float] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    def __str__(self) -> str:
        return self.text.format(**self.values) if self.values else self.text


class Interval(Record):
    """A range that covers the true value with the stated confidence.

    ``method`` names the construction (``"wilson"``, ``"exact"`` for figures without sampling error).
    """

    low: float
    high: float
    confidence: float = Field(gt=0, le=1)
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval low must not exceed high, got [{self.low}, {self.high}]")
        return self

    @classmethod
    def exact(cls, value: float) -> "Interval":
        """The interval of a figure that has no sampling error, such as a parameter count."""
        return cls(low=value, high=value, confidence=1.0, method="exact")


class Measurement(Record):
    """One figure.

    Attributes:
        metric: What was measured, for example ``"true_positive_rate.difference"``.
        value: The figure, or ``None`` when it is undefined; ``missing`` then says why.
        unit: SI or the field's unit; ``"1"`` for rates and ratios.
        n: How many samples the value rests on (for a rate: its denominator).
        better: The direction that is good, or ``"neither"``.
        kind: Whether the value estimates the truth or bounds it from one side.
        provenance: ``measured``, ``derived`` from measured ones, ``estimated`` by a model, or ``declared``.
        group: The cell it belongs to, ``{"sex": "Female"}``; empty for the whole population.
        across: The attributes a disparity compares over, ``("sex",)``.
        interval: Its uncertainty. ``None`` only where ``value`` is ``None`` or none can be given.
        detectable: The smallest true difference that this sample finds with 80 % power, same unit.
        note: What else a reader must know to read the figure, e.g. which two groups are furthest apart.
    """

    metric: str
    value: float | None
    unit: Unit = "1"
    n: int = Field(ge=0)
    better: Better
    kind: Kind = "estimate"
    provenance: Provenance = "measured"
    group: dict[str, str] = Field(default_factory=dict)
    across: tuple[str, ...] = ()
    interval: Interval | None = None
    missing: Message | None = None
    detectable: float | None = None
    note: Message | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.value is None) != (self.missing is not None):
            raise ValueError(f"{self.metric}: a value is None exactly when `missing` says why")
        if self.value is not None and self.interval is not None:
            slack = 1e-9 * max(1.0, abs(self.value))
            if not self.interval.low - slack <= self.value <= self.interval.high + slack:
                raise ValueError(
                    f"{self.metric}: value {self.value} lies outside its interval "
                    f"[{self.interval.low}, {self.interval.high}]"
                )
        return self


# --- evidence: a closed set, each kind drawn by one template macro --------------------------------


class Estimate(Record):
    """A table cell or chart mark with uncertainty. ``value=None`` is drawn as absent with ``missing``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: Unit = "1"
    missing: Message | None = None


# In this order, so that a plain text stays one: a Message would be looked up in the translations.
Cell = Annotated[Estimate | str | StrictInt | float | Message | None, Field(union_mode="left_to_right")]


class EvidenceBase(Record):
    """What all evidence has: a one-sentence takeaway as title, and what to know when reading it."""

    title: Message
    caption: Message | None = None


class Table(EvidenceBase):
    """Rows of cells; ``columns`` are headings."""

    kind: Literal["table"] = "table"
    columns: tuple[Message, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Mark(Record):
    """One row of a dot or bar chart."""

    label: str
    estimate: Estimate
    small: bool = False


class Dots(EvidenceBase):
    """The house chart: one dot with its interval per row, against reference lines.

    ``reference`` is a line such as the overall rate; ``low`` and ``high`` fix the axis where it is natural
    (0 and 1 for rates), else the marks decide.
    """

    kind: Literal["dots"] = "dots"
    axis: Message
    marks: tuple[Mark, ...]
    reference: float | None = None
    reference_label: Message | None = None
    low: float | None = None
    high: float | None = None


class Bars(EvidenceBase):
    """Signed horizontal bars from zero, with intervals where given."""

    kind: Literal["bars"] = "bars"
    axis: Message
    marks: tuple[Mark, ...]


class Series(Record):
    """One line of a curve, with an optional band. All arrays have the same length."""

    name: Message
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {
            len(self.x),
            len(self.y),
            len(self.low) or len(self.x),
            len(self.high) or len(self.x),
        }
        if len(lengths) != 1:
            raise ValueError("series arrays differ in length")
        return self


class Curve(EvidenceBase):
    """Lines over a numeric axis; ``diagonal`` draws y = x for reference."""

    kind: Literal["curve"] = "curve"
    x_axis: Message
    y_axis: Message
    series: tuple[Series, ...]
    diagonal: bool = False
    x_log: bool = False
    y_log: bool = False


class Heatmap(EvidenceBase):
    """A matrix of numbers with labels, such as a confusion matrix. ``None`` cells are undefined."""

    kind: Literal["heatmap"] = "heatmap"
    row_axis: Message
    column_axis: Message
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


class Panel(Record):
    """One picture: grey values in [0, 1] and a signed overlay in [-1, 1], both height x width."""

    label: Message
    pixels: tuple[tuple[float, ...], ...]
    overlay: tuple[tuple[float, ...], ...] = ()


class Picture(EvidenceBase):
    """A row of pictures with overlays (attributions on images); ``scale`` says what +-1 stands for."""

    kind: Literal["picture"] = "picture"
    panels: tuple[Panel, ...]
    scale: Message


class Token(Record):
    """A piece of text and its signed weight in [-1, 1]."""

    text: str
    weight: float


class Tokens(EvidenceBase):
    """Highlighted text."""

    kind: Literal["tokens"] = "tokens"
    tokens: tuple[Token, ...]
    scale: Message


class Note(EvidenceBase):
    """A paragraph."""

    kind: Literal["note"] = "note"
    body: Message


Evidence = Annotated[
    Table | Dots | Bars | Curve | Heatmap | Picture | Tokens | Note, Field(discriminator="kind")
]


# --- what was audited, on what ---------------------------------------------------------------------


class TrainingRecord(Record):
    """How a checkpoint came to be."""

    steps: int
    epochs: float
    duration_s: float
    samples_per_s: float
    seed: int
    data_source: str
    data_digest: str
    n_rows: int
    recipe: dict[str, Json] = Field(default_factory=dict)
    final_loss: float | None = None


class Certificate(Record):
    """What a differentially private training guarantees, to whom and under which assumptions.

    ``epsilon`` at ``delta`` is an upper bound from ``accountant`` for add-or-remove-one-record adjacency.
    """

    epsilon: float
    delta: float
    adjacency: str
    unit_of_privacy: str
    noise_multiplier: float
    sample_rate: float
    steps: int
    max_grad_norm: float
    normaliser: float
    accountant: str
    cross_check: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    certified: bool
    assumptions: tuple[Message, ...] = ()


class SubjectCard(Record):
    """Identity of a subject: what it is, which weights, where it comes from.

    Attributes:
        name: ``"baseline"`` or the name of the variant; the part after ``@`` in a figure's address.
        title: What the user calls the model.
        kind: ``"baseline"`` or the kind of variant (``"dp-retrain"``).
        digest: sha256 over the weights and everything else that decides its outputs.
        size_b: Bytes of the weights as stored for this subject.
        classes: Names of the output classes, in order of the outputs.
    """

    name: str
    title: str
    kind: str = "baseline"
    source: str
    digest: str
    architecture: str
    n_parameters: int
    size_b: int
    classes: tuple[str, ...]
    capabilities: tuple[str, ...] = ()
    training: TrainingRecord | None = None
    certificate: Certificate | None = None
    statements: tuple[Message, ...] = ()


class Planted(Record):
    """A fault put into synthetic data on purpose, and the figure that should show it.

    It counts as found when the interval of the figure lies wholly above ``above`` or below ``below``.
    """

    fault: Message
    figure: str
    above: float | None = None
    below: float | None = None


class DataCard(Record):
    """Identity of the audited data. ``groups`` counts rows per sensitive feature and group."""

    name: str
    source: str
    split: str | None
    digest: str
    n_rows: int
    n_members: int | None
    n_features: int
    target: str
    classes: tuple[str, ...]
    positive: str | None
    groups: dict[str, dict[str, int]] = Field(default_factory=dict)
    synthetic: bool = False
    planted: tuple[Planted, ...] = ()
    statements: tuple[Message, ...] = ()


class Environment(Record):
    """The machine and the versions that made the figures."""

    auditkit: str
    python: str
    platform: str
    processor: str
    n_cpus: int
    threads: int
    device: str
    packages: dict[str, str]


# --- results, findings, run ------------------------------------------------------------------------


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


def finite(value: float) -> float | None:
    """``value`` as a plain float, or ``None`` when it is NaN or infinite."""
    number = float(value)
    return number if math.isfinite(number) else None
