"""What was audited, on what, by which machine."""

from typing import Any, Literal

from pydantic import Field

from auditkit.records.ledger import LedgerReference, Tuned
from auditkit.records.message import Message, Record

Json = Any

UNTRAINED = "untrained"
"""Key of a recipe: the names of the weights and buffers that the training left as they were."""


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


class TrainedWeights(Record):
    """Which part of a model a certificate is about: how many numbers were trained, and of which type."""

    n: int
    dtype: str


class PublicCount(Record):
    """How many rows, or persons, may be known to be there: what sampling rate, batches and delta follow from.

    ``origin`` tells whether whoever started the training stated ``n``, or it is the true number rounded down.
    """

    n: int
    origin: Literal["stated", "rounded down"]


class CertifiedTuning(Record):
    """How the settings of a private training were chosen, as part of what the certificate is about.

    Attributes:
        tuned: All that epsilon follows from.
        candidates: What could be drawn, each in words such as ``learning_rate 0.01``.
        chosen: The one of them that the released model was trained with.
        score: What the runs were compared by.
        score_noise: Standard deviation of the noise of that score, in rows or persons.
        untuned_epsilon: What the released training alone would have spent, had its settings been fixed
            beforehand and nothing been compared.
    """

    tuned: Tuned
    candidates: tuple[str, ...]
    chosen: str
    score: Message
    score_noise: float
    untuned_epsilon: float


class Certificate(Record):
    """What a differentially private training guarantees, to whom and under which assumptions.

    ``epsilon`` at ``delta`` is an upper bound from ``accountant`` for add-or-remove-one-record adjacency,
    over the ``steps`` that were charged: at least ``planned_steps``, as steps repeated after an interruption
    count again. It is about this training; ``ledger`` says what all trainings on the rows come to. Where
    there is a ``tuning``, epsilon is that of the whole of it, and the mechanism that of the released run.
    ``preflight`` holds; ``not_covered`` was found beforehand, too, and is outside what epsilon bounds. Of the
    ``resumes``, ``replays`` repeated steps bit by bit, which is not charged. ``failure_probability`` is the
    part of delta with which a level of a single row or person may come out by its name.
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
    planned_steps: int | None = None
    resumes: int = 0
    released: Message | None = None
    trained: TrainedWeights | None = None
    clipping: Message | None = None
    sampler: Message | None = None
    randomness: Message | None = None
    preflight: tuple[Message, ...] = ()
    not_covered: tuple[Message, ...] = Field((), exclude_if=lambda value: not value)
    # Left out where there are none, so that the seals of cards written before still hold.
    replays: int = Field(0, exclude_if=lambda n: n == 0)
    failure_probability: float = Field(0.0, exclude_if=lambda value: not value)
    public_count: PublicCount | None = Field(None, exclude_if=lambda value: value is None)
    tuning: CertifiedTuning | None = Field(None, exclude_if=lambda value: value is None)
    ledger: LedgerReference | None = None
    assumptions: tuple[Message, ...] = ()


class SubjectCard(Record):
    """Identity of a subject: what it is, which weights, where it comes from.

    Attributes:
        name: ``"baseline"`` or the name of the variant; the part after ``@`` in a figure's address.
        title: What the user calls the model.
        kind: ``"baseline"`` or the kind of variant (``"dp-retrain"``).
        digest: sha256 over the weights and everything else that decides its outputs.
        n_parameters: Trained numbers; ``None`` where the subject does not show them.
        size_b: Bytes of the weights as stored for this subject; ``None`` where they are not known.
        classes: Names of the output classes, in order of the outputs.
    """

    name: str
    title: str
    kind: str = "baseline"
    source: str
    digest: str
    architecture: str
    n_parameters: int | None
    size_b: int | None
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
    """Identity of the audited data.

    ``groups`` counts rows per sensitive feature and group; ``tokens_per_row`` is how many a row of text may
    have.
    """

    name: str
    source: str
    split: str | None
    digest: str
    n_rows: int
    n_members: int | None
    n_features: int
    tokens_per_row: int | None = None
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
