"""What a differentially private training may claim, and under which assumptions."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from auditkit import __version__
from auditkit.errors import AuditkitError
from auditkit.privacy.accounting import ACCOUNTANT, epsilon_prv, epsilon_rdp
from auditkit.privacy.clipping import STABILITY, Clipping
from auditkit.privacy.second_accountant import contradicts, epsilon_pld
from auditkit.privacy.tuning_cost import epsilon_of_tuning
from auditkit.privacy.units import Unit
from auditkit.records import Certificate, LedgerReference, Message, PublicCount, TrainedWeights
from auditkit.records.bounds import rounded_up

ROW_ADJACENCY, PERSON_ADJACENCY = "add or remove one row", "add or remove one person"
PRV_ERROR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """The public inputs of DP-SGD: fixed before the first step, none of them computed from the rows.

    Attributes:
        noise_multiplier: Standard deviation of the noise over ``max_grad_norm``.
        sample_rate: Probability with which each unit is in a step.
        steps: How many noisy sums are released.
        max_grad_norm: What one unit can contribute to a sum at most.
        normaliser: What a sum is divided by: the expected, never the actual, number of units in a step.
        unit: What is sampled, clipped and protected as one.
        rows_per_person: Of a person in one step at most; ``None`` where rows are the unit.
        copies: Augmented copies of each row, whose gradients are averaged before they are clipped.
        level_steps: The first so many steps count the levels of a table; see :mod:`measured_levels`.
        failure_probability: With which the name of a level that a single unit has comes out of them.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int
    max_grad_norm: float
    normaliser: float
    unit: Unit = "row"
    rows_per_person: int | None = None
    copies: int = 1
    level_steps: int = 0
    failure_probability: float = 0.0

    @property
    def adjacency(self) -> str:
        """What neighbouring sets of rows differ by."""
        return PERSON_ADJACENCY if self.unit == "person" else ROW_ADJACENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What became of a plan.

    Attributes:
        planned_steps: As fixed before the first.
        charged_steps: At least as many: steps repeated after an interruption count again.
        resumes: How often the training was taken up again.
        replays: How often of these with the same noise, so that what was repeated is not charged again.
        kept_noise: Whether the noise to come lay on disk until the end, for a replay.
        ledger: What the ledger said when it ended; ``None`` where none was kept.
        processes: How many trained together.
        failure_probability: Charged, where levels were counted; again for each time.
    """

    planned_steps: int
    charged_steps: int
    resumes: int = 0
    replays: int = 0
    kept_noise: bool = False
    ledger: LedgerReference | None = None
    processes: int = 1
    failure_probability: float = 0.0


def as_planned(mechanism: Mechanism) -> Execution:
    """Every step taken and charged once."""
    return Execution(
        planned_steps=mechanism.steps,
        charged_steps=mechanism.steps,
        failure_probability=mechanism.failure_probability,
    )


def certify(  # noqa: PLR0913 - the mechanism, and each thing that is told of its run
    mechanism: Mechanism,
    delta: float,
    *,
    counted: PublicCount,
    certified: bool,
    execution: Execution | None = None,
    preflight: tuple[Message, ...] = (),
    not_covered: tuple[Message, ...] = (),
    clipping: Clipping = "flat",
    trained: TrainedWeights | None = None,
    assumed: tuple[Message, ...] = (),
    about_preprocessing: tuple[Message, ...] = (),
) -> Certificate:
    """The certificate of one run of ``mechanism``, its epsilon recomputed from the public inputs.

    Args:
        mechanism: As planned.
        delta: Of the guarantee.
        counted: What is known of the number of rows, or of persons where they are the unit.
        certified: Whether sampling and noise came from the operating system.
        execution: What was charged; default every planned step once.
        preflight: What was examined before the first step and holds.
        not_covered: What was found then that epsilon does not cover.
        clipping: How gradients were scaled to the clipping norm.
        trained: How many weights, and of which type.
        assumed: What must be believed besides, that of this training alone.
        about_preprocessing: What of it is taken as public.

    Raises:
        AuditkitError: The accountants contradict each other.
    """
    execution = execution or as_planned(mechanism)
    left = delta - execution.failure_probability
    public = (mechanism.noise_multiplier, mechanism.sample_rate, execution.charged_steps, left)
    epsilon, looser, tight = epsilon_prv(*public), epsilon_rdp(*public), epsilon_pld(*public)
    if epsilon > looser + PRV_ERROR or contradicts(epsilon, tight):
        second = "" if tight is None else f" and {tight:.4f} by the PLD of dp-accounting"
        raise AuditkitError(
            f"DP accounting contradicts itself: epsilon is {epsilon:.4f} by PRV, {looser:.4f} by the looser "
            f"RDP{second}, at {mechanism}. No certificate is given; please report this."
        )
    return Certificate(
        epsilon=epsilon,
        delta=delta,
        adjacency=PERSON_ADJACENCY if mechanism.unit == "person" else ROW_ADJACENCY,
        unit_of_privacy="person" if mechanism.unit == "person" else "row",
        noise_multiplier=mechanism.noise_multiplier,
        sample_rate=mechanism.sample_rate,
        steps=execution.charged_steps,
        planned_steps=execution.planned_steps,
        resumes=execution.resumes,
        replays=execution.replays,
        public_count=counted,
        max_grad_norm=mechanism.max_grad_norm,
        normaliser=mechanism.normaliser,
        accountant=ACCOUNTANT,
        failure_probability=execution.failure_probability,
        cross_check={"rdp": looser} if tight is None else {"rdp": looser, "pld": tight},
        versions=_versions(checked=tight is not None),
        certified=certified,
        released=Message(text="the final weights: a running average of the noisy ones"),
        trained=trained,
        clipping=_clipping(mechanism, clipping),
        sampler=_SAMPLER[mechanism.unit],
        randomness=_randomness_source(certified=certified),
        preflight=preflight,
        not_covered=not_covered,
        ledger=execution.ledger,
        assumptions=(
            *assumed,
            *_assumptions(mechanism, counted, execution, certified=certified),
            *about_preprocessing,
            *beyond_this_run(execution.ledger),
            Message(
                text="Noise and sums are floating-point numbers; the proof assumes real ones. Known attacks "
                "on the difference are hindered at most, not excluded."
            ),
        ),
    )


def _versions(*, checked: bool) -> dict[str, str]:
    """Of what epsilon and the noise rest on."""
    packages = ("opacus", "torch", "numpy", "scipy", "cryptography", *(("dp-accounting",) if checked else ()))
    return {"auditkit": __version__, **{name: version(name) for name in packages}}


_SAMPLER: dict[Unit, Message] = {
    "row": Message(text="Poisson: each row is in a step independently of all others"),
    "person": Message(text="Poisson: each person is in a step independently of all others"),
}


_CLIPPING: dict[Clipping, dict[tuple[Unit, bool], str]] = {
    "flat": {
        ("row", False): "each gradient scaled to at most the clipping norm, over all weights together",
        ("row", True): "the mean gradient of {copies} changed copies of each row scaled to at most the "
        "clipping norm, over all weights together",
        ("person", False): "the mean gradient of rows of a person, at most {rows}, scaled to at most the "
        "clipping norm, over all weights together",
        ("person", True): "the mean gradient of rows of a person, at most {rows}, {copies} changed copies of "
        "each, scaled to at most the clipping norm, over all weights together",
    },
    "automatic": {
        ("row", False): "each gradient, short or long, times the clipping norm over its own norm plus "
        "{share} of the clipping norm, over all weights together: always shorter than the clipping norm",
        ("row", True): "the mean gradient of {copies} changed copies of each row, short or long, times the "
        "clipping norm over its own norm plus {share} of the clipping norm, over all weights together: "
        "always shorter than the clipping norm",
        ("person", False): "the mean gradient of rows of a person, at most {rows}, short or long, times the "
        "clipping norm over its own norm plus {share} of the clipping norm, over all weights together: "
        "always shorter than the clipping norm",
        ("person", True): "the mean gradient of rows of a person, at most {rows}, {copies} changed copies of "
        "each, short or long, times the clipping norm over its own norm plus {share} of the clipping norm, "
        "over all weights together: always shorter than the clipping norm",
    },
}
"""By whether rows or persons are the unit, and whether their gradients are means over changed copies."""


def _clipping(mechanism: Mechanism, clipping: Clipping) -> Message:
    values: dict[str, int | float] = {}
    if mechanism.unit == "person":
        values["rows"] = mechanism.rows_per_person or 1
    if mechanism.copies > 1:
        values["copies"] = mechanism.copies
    if clipping == "automatic":
        values["share"] = STABILITY
    return Message(text=_CLIPPING[clipping][mechanism.unit, mechanism.copies > 1], values=values)


def _randomness_source(*, certified: bool) -> Message:
    return Message(text="the operating system" if certified else "the recorded seed")


def recomputed_epsilon(certificate: Certificate) -> float:
    """Epsilon from the certificate's own public inputs, for whoever wants to check it."""
    if certificate.tuning is not None:
        return epsilon_of_tuning(certificate.tuning.tuned, certificate.delta)
    left = certificate.delta - certificate.failure_probability
    return epsilon_prv(certificate.noise_multiplier, certificate.sample_rate, certificate.steps, left)


def _assumptions(
    mechanism: Mechanism, counted: PublicCount, execution: Execution, *, certified: bool
) -> tuple[Message, ...]:
    return (
        _randomness(execution, certified=certified),
        _NEIGHBOURS[mechanism.unit],
        Message(text=_COUNTED[mechanism.unit][counted.origin == "stated"], values={"n": counted.n}),
        *_failing(execution.failure_probability),
        *_other_processes(execution.processes, certified=certified),
        Message(
            text="Only the final weights are covered. Figures measured on the training rows, the digest of "
            "the data and the time the training took are not."
        ),
    )


_NEIGHBOURS: dict[Unit, Message] = {
    "row": Message(
        text="Neighbouring datasets differ by one row added or removed. For a person with k rows epsilon "
        "is k times as large, and delta grows too."
    ),
    "person": Message(
        text="Neighbouring datasets differ by one person, added or removed with all their rows. "
        "For one row of a person who has others epsilon is twice as large, and delta grows too. "
        "Which rows are of one person is what the data say; a row that names nobody counts as "
        "a person of its own."
    ),
}

_COUNTED: dict[Unit, tuple[str, str]] = {
    "row": (
        "Sampling rate, batches and delta follow from the number of training rows rounded down to two "
        "digits, {n}.",
        "Sampling rate, batches and delta follow from a public count of training rows that was stated, {n}.",
    ),
    "person": (
        "Sampling rate, batches and delta follow from the number of persons rounded down to two digits, {n}.",
        "Sampling rate, batches and delta follow from a public count of persons that was stated, {n}.",
    ),
}
"""By the unit, first where the true number was rounded, then where a public one was stated."""


def _failing(probability: float) -> Iterator[Message]:
    """How much of delta the names of levels take."""
    if probability:
        yield Message(
            text="Within delta, {probability} is the probability that a level comes out by its name which "
            "one row or person alone has.",
            values={"probability": float(f"{probability:.3g}")},
        )


def _other_processes(processes: int, *, certified: bool) -> tuple[Message, ...]:
    if processes == 1:
        return ()
    if not certified:
        return (Message(text="Trained in {n} processes together.", values={"n": processes}),)
    return (
        Message(
            text="Trained in {n} processes, each of which holds all rows and added its share of the noise "
            "from its own operating system. They, and the network between them, are trusted.",
            values={"n": processes},
        ),
    )


def beyond_this_run(ledger: LedgerReference | None) -> tuple[Message, ...]:
    """What other trainings on the same rows make of the guarantee."""
    if ledger is None:
        return (
            Message(
                text="This is one training. Other models, earlier attempts and settings chosen by looking at "
                "these rows spend privacy of their own, which this epsilon does not contain. No ledger "
                "was kept."
            ),
        )
    return (_joint(ledger), *_unproven_in_sum(ledger), *_missing_from_sum(ledger))


def _joint(ledger: LedgerReference) -> Message:
    """What all recorded trainings come to; of one alone the certificate says it already."""
    if ledger.n_runs == 1:
        return Message(
            text="No other training on these rows is recorded. What was trained elsewhere, or before the "
            "ledger began, is in no sum here."
        )
    epsilon, rdp = rounded_up(ledger.epsilon), rounded_up(ledger.rdp)
    values = {"n_runs": ledger.n_runs, "epsilon": epsilon, "delta": float(f"{ledger.delta:.3g}")}
    if epsilon == rdp:
        return Message(
            text="All {n_runs} recorded trainings on these rows together come to epsilon {epsilon} at delta "
            "{delta}, whether or not one was set up by looking at the results of another. What was trained "
            "elsewhere, or before the ledger began, is not in it.",
            values=values,
        )
    return Message(
        text="All {n_runs} recorded trainings on these rows together come to epsilon {epsilon} at delta "
        "{delta}, if none was set up by looking at the results of another; {rdp} if they were. What was "
        "trained elsewhere, or before the ledger began, is not in it.",
        values={**values, "rdp": rdp},
    )


def _unproven_in_sum(ledger: LedgerReference) -> Iterator[Message]:
    """What the joint epsilon contains, though less stands behind it than behind a certified run."""
    if ledger.n_imported:
        yield Message(
            text="Of these trainings, recorded by other programs and imported: {n}. Nobody verified what is "
            "assumed there, and the epsilon of all together holds only if it is true; auditkit ledger "
            "lists it.",
            values={"n": ledger.n_imported},
        )
    if ledger.n_seeded and ledger.n_runs > 1:
        yield Message(
            text="Of these trainings, with noise from a recorded seed: {n}. Against whoever knows such a "
            "seed nothing is guaranteed, so the epsilon of all together holds only against those who know "
            "none.",
            values={"n": ledger.n_seeded},
        )


def _missing_from_sum(ledger: LedgerReference) -> Iterator[Message]:
    """What the joint epsilon does not contain, though the ledger knows of it."""
    if ledger.n_lost:
        yield Message(
            text="The ledger of these rows was lost before, and training on was accepted. Lines that are "
            "gone, though certificates of earlier models rest on them: {n}. What was spent up to there is "
            "in no sum here.",
            values={"n": ledger.n_lost},
        )
    if ledger.n_unreadable:
        yield Message(
            text="Ledgers of other rows that cannot be read: {n}. Whether they share rows with these is not "
            "known.",
            values={"n": ledger.n_unreadable},
        )
    if ledger.same_name:
        yield Message(
            text="Other sets of rows of the same name in the ledger: {n}. What is spent on rows that they "
            "share with these is charged to each and not added up.",
            values={"n": ledger.same_name},
        )


def _randomness(execution: Execution, *, certified: bool) -> Message:
    if certified and execution.kept_noise:
        return Message(
            text="Certified: the keys of sampling and noise came from the operating system's random source. "
            "They lay on disk, locked by a key file that lies apart, until the training ended, so that it "
            "could be repeated bit by bit, and were overwritten then: epsilon holds against whoever did not "
            "read both."
        )
    if certified:
        return Message(
            text="Certified: sampling and noise came from the operating system's random source and were not "
            "kept. Training again gives other weights."
        )
    return Message(
        text="Reproducible, not certified: sampling and noise came from a recorded seed. Whoever knows "
        "the seed can remove the noise, so epsilon holds only against those who do not. Train with "
        "certified: true before releasing the weights."
    )
