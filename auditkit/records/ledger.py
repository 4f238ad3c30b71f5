"""What a privacy ledger holds: one line per decision that spends privacy, chained by hashes."""

from typing import Annotated, Literal

from pydantic import Field

from auditkit.records.message import Message, Record

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
ResumeMode = Literal["fresh", "replay"]
Law = Literal["poisson", "geometric", "logarithmic"]
"""Of a random number of runs."""


class Spending(Record):
    """``steps`` releases of the Poisson-subsampled Gaussian mechanism: all that composition needs to know.

    They may fail to be that with ``failure_probability``, in all; see :mod:`auditkit.privacy.composition`.
    """

    noise_multiplier: Positive
    sample_rate: Share
    steps: Count
    # Left out where it is 0, so that lines and cards written before read and hash as they did.
    failure_probability: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, exclude_if=lambda value: not value)


class Tuned(Record):
    """Everything that says what the best of a random number of private runs spends.

    Each run draws one of the candidates, all with the same chance. ``alternatives`` holds what a run spends
    with each of them, its score included.
    """

    law: Law
    mean: Positive
    alternatives: Annotated[tuple[tuple[Spending, ...], ...], Field(min_length=1)]


class Opened(Record):
    """The first line: whose ledger this is."""

    kind: Literal["opened"] = "opened"
    fingerprint: str
    name: str
    source: str


class Budgeted(Record):
    """From here on no run may bring all runs together above ``epsilon`` at ``delta``."""

    kind: Literal["budget"] = "budget"
    epsilon: Positive
    delta: Probability


class Started(Record):
    """A run that fits into the budget with all its ``steps``; none of them is spent yet."""

    kind: Literal["start"] = "start"
    run: str
    purpose: str
    spending: Spending
    delta: Probability
    max_grad_norm: Positive
    adjacency: str
    unit_of_privacy: str
    certified: bool
    code: str


class Reserved(Record):
    """Steps that count as spent from this line on, whether or not they are ever taken.

    ``stream`` numbers the randomness of the run: a resume with fresh randomness begins another one.
    """

    kind: Literal["reserve"] = "reserve"
    run: str
    stream: int = Field(ge=0)
    first_step: int = Field(ge=0)
    spending: Spending
    delta: Probability
    max_grad_norm: Positive
    adjacency: str
    unit_of_privacy: str
    certified: bool


class Resumed(Record):
    """A run that goes on after it was interrupted: ``fresh`` charges repeated steps again."""

    kind: Literal["resume"] = "resume"
    run: str
    step: int = Field(ge=0)
    stream: int = Field(ge=0)
    mode: ResumeMode


class Ended(Record):
    """A run that reached its last step. It gives nothing back."""

    kind: Literal["end"] = "end"
    run: str
    executed_steps: int = Field(ge=0)


class Imported(Record):
    """Privacy that another program says it spent on the same rows; ``sha256`` is that of its file."""

    kind: Literal["import"] = "import"
    run: str
    purpose: str
    spendings: tuple[Spending, ...]
    unverified: tuple[Message, ...] = ()
    sha256: str | None = None


class TuningReserved(Record):
    """A private tuning that counts as spent from this line on, whole, whatever becomes of it.

    No line says that it ended: the time of such a line would give away how many runs there were.
    """

    kind: Literal["tuning"] = "tuning"
    run: str
    purpose: str
    tuned: Tuned
    delta: Probability
    adjacency: str
    unit_of_privacy: str
    certified: bool
    code: str


class LedgerPointer(Record):
    """One line of one ledger; a ledger that no longer holds it was rolled back."""

    number: int = Field(ge=0)
    hash: str


class Waived(Record):
    """Lines that certificates of earlier models rest on and this ledger lacks; training on was accepted.

    What was spent up to these lines is in no sum of this ledger, from here on and for good. ``checkpoint``
    is one of the models that rest on them.
    """

    kind: Literal["waiver"] = "waiver"
    lost: Annotated[tuple[LedgerPointer, ...], Field(min_length=1)]
    checkpoint: str


LedgerEntry = Annotated[
    Opened | Budgeted | Started | Reserved | Resumed | Ended | Imported | TuningReserved | Waived,
    Field(discriminator="kind"),
]


class LedgerLine(Record):
    """One line as it lies on disk.

    ``hash`` is the sha256 of everything else in it. ``torn`` is the sha256 of a fragment right before this
    line, left by a process that was killed while it wrote; else ``None``.
    """

    number: int = Field(ge=0)
    time: str
    previous: str
    torn: str | None = None
    entry: LedgerEntry
    hash: str


class LedgerReference(Record):
    """The ledger that a certificate rests on, and what all runs on these rows come to.

    Attributes:
        fingerprint: Of the rows, whatever their order.
        line: The last line when the certificate was written.
        n_runs: Runs with spent steps in it, this one included.
        epsilon: Of all of them together at ``delta``: an upper bound, by ``accountant``.
        rdp: The same by Rényi DP, which also holds for settings chosen by looking at earlier results.
        budget_epsilon: At ``budget_delta``; ``None`` where no budget was set.
        same_name: Other sets of rows of the same name in the same folder. What they share with these rows is
            not added up.
        n_lost: Lines that earlier certificates rest on, that the ledger lacks and whose loss was accepted.
        n_imported: Of ``n_runs``, those that another program recorded; what they assume nobody verified.
        n_unreadable: Ledgers of other rows in the same folder that cannot be read.
        n_seeded: Of ``n_runs``, those of this program that drew their noise from a recorded seed.
    """

    fingerprint: str
    line: LedgerPointer
    n_runs: int
    epsilon: float
    delta: float
    accountant: str
    rdp: float
    budget_epsilon: float | None = None
    budget_delta: float | None = None
    same_name: int = 0
    # Left out where there are none, so that the seals of cards written before still hold.
    n_lost: int = Field(0, exclude_if=lambda n: n == 0)
    n_imported: int = Field(0, exclude_if=lambda n: n == 0)
    n_seeded: int = Field(0, exclude_if=lambda n: n == 0)
    n_unreadable: int = Field(0, exclude_if=lambda n: n == 0)
