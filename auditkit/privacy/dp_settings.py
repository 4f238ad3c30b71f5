"""The choices of a private training, what is refused of them, and what follows from them for the mechanism.

Defaults after De et al. (2022), arXiv:2204.13650, and Tramèr and Boneh (2021), arXiv:2011.11660.
"""

import math
from dataclasses import dataclass
from typing import Literal

from auditkit.config.model import AugmentationConfig
from auditkit.data.preprocessing import Preprocessing, TablePreprocessing
from auditkit.errors import DataError, PrivacyRefusedError, UsageError
from auditkit.privacy.accounting import noise_for_epsilon
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import Clipping
from auditkit.privacy.measured_levels import has_levels, level_steps
from auditkit.privacy.public_count import public_count
from auditkit.privacy.units import ROWS_PER_PERSON, Unit

WANDERING = 2.0
FAILURE_SHARE = 1e-3
"""Of delta, that the names of levels may take."""
WEAK_EPSILON = 20.0
"""Above it the promise says next to nothing; it must be asked for twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpSettings:
    """The choices of a private training. None may be made by looking at the private rows.

    Attributes:
        epsilon: Budget in ``(0, 100]``; the noise is the least that keeps within it.
        delta: In ``(0, 1/n)``; ``None`` is ``min(1e-5, n^-1.1)``.
        max_grad_norm: The norm every row's gradient is clipped to.
        expected_batch_size: Rows per step on average; ``None`` is a power of two near ``n / 12`` within 256
            and 8192, and at most ``n``.
        steps: Number of steps, fixed in advance.
        clipping: How gradients are scaled to that norm.
        learning_rate: ``None`` follows from the noise, see :func:`steady_rate`; for sgd.
        averaging: Largest decay of the running average of the weights that is kept; 0 keeps the last.
        momentum: Of sgd.
        physical_batch_size: Rows worked on at once; ``None`` is as many as take 4 GFLOP. Changes no figure
            beyond rounding.
        certified: Draw sampling and noise from the operating system rather than from the seed.
        accept_weak: Train even where epsilon is above 20.
        unit: What is sampled, clipped and protected as one; ``None`` is the person where the data tell
            persons apart, else the row. Sizes of batches, n and delta count units.
        rows_per_person: Of a person in one step at most.
        augmentation: How the rows of a batch are changed.
        augmentation_multiplicity: Changed copies of each row, whose gradients are averaged before clipping.
        noise_multiplier: Of a run whose noise was settled with that of others; ``None`` is the least with
            which this training alone keeps within ``epsilon``.
        public_count: Units that there are, as far as anybody may know; ``None`` rounds their number down, see
            :func:`public_count`. It is the n of delta, batches and the sampling rate.
        public_preprocessing: Whether what the preprocessing learned is public, by the user's word; it is then
            kept as it is.
        public_levels: Whether the levels of a table are, by the user's word; else they are counted.
    """

    epsilon: float
    delta: float | None = None
    max_grad_norm: float = 1.0
    expected_batch_size: int | None = None
    steps: int = 500
    clipping: Clipping = "flat"
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: float | None = 0.01
    momentum: float = 0.9
    averaging: float = 0.99
    certified: bool = False
    accept_weak: bool = False
    physical_batch_size: int | None = None
    unit: Unit | None = None
    rows_per_person: int = ROWS_PER_PERSON
    augmentation: AugmentationConfig | None = None
    augmentation_multiplicity: int = 1
    noise_multiplier: float | None = None
    public_count: int | None = None
    public_preprocessing: bool = False
    public_levels: bool = False


def check_settings(settings: DpSettings, delta: float, n_units: int, unit: Unit) -> None:
    """Refuse settings that are out of range for so many units.

    Raises:
        UsageError: With all that is.
        PrivacyRefusedError: Epsilon protects next to nothing.
        DataError: There are fewer than two units.
    """
    problems = []
    batch, n_public = settings.expected_batch_size, public_count(n_units, settings.public_count)
    largest = max(n_public, n_units)
    if n_public < 1:
        problems.append(f"public_count must be at least 1, got {n_public}")
    elif batch is not None and not 1 <= batch <= n_public:
        problems.append(f"expected_batch_size must be within 1 and {n_public} {unit}s, got {batch}")
    if not 0 < delta < 1 / largest:
        problems.append(
            f"delta must be above 0 and below 1/n = {1 / largest:.3g}, got {delta:g}: at 1/n, publishing "
            f"a {unit} at random would pass"
            + ("" if settings.delta else "; give delta, or a larger public_count")
        )
    if settings.steps < 1:
        problems.append(f"steps must be at least 1, got {settings.steps}")
    if not settings.max_grad_norm > 0:
        problems.append(f"max_grad_norm must be above 0, got {settings.max_grad_norm}")
    if problems:
        raise UsageError("private training: " + "; ".join(problems))
    if settings.epsilon > WEAK_EPSILON and not settings.accept_weak:
        raise PrivacyRefusedError(
            f"private training: epsilon {settings.epsilon:g} lets one {unit} change the odds of a result by "
            f"a factor of {math.exp(settings.epsilon):.2g}; above {WEAK_EPSILON:g} that protects next to "
            "nobody. Ask for a smaller one, or say --accept-weak (accept_weak: true in a config)"
        )
    if n_units < 2:
        raise DataError(f"private training: needs at least 2 {unit}s, got {n_units}")


def plan(
    settings: DpSettings, delta: float, n_units: int, unit: Unit = "row", *, counts_levels: bool = False
) -> Mechanism:
    """The public inputs of the mechanism, from the settings and the public number of rows or persons.

    Args:
        settings: The choices.
        delta: Of the promise.
        n_units: Public number of units.
        unit: What is sampled.
        counts_levels: Whether the first steps find out which levels of a table are frequent.
    """
    batch = settings.expected_batch_size or default_batch_size(n_units)
    sample_rate = batch / n_units
    failing = FAILURE_SHARE * delta if counts_levels else 0.0
    return Mechanism(
        noise_multiplier=settings.noise_multiplier
        or noise_for_epsilon(settings.epsilon, delta - failing, sample_rate, settings.steps),
        sample_rate=sample_rate,
        steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
        normaliser=float(batch),
        unit=unit,
        rows_per_person=settings.rows_per_person if unit == "person" else None,
        copies=settings.augmentation_multiplicity,
        level_steps=level_steps(settings.steps) if counts_levels else 0,
        failure_probability=failing,
    )


def levels_are_counted(steps: Preprocessing | None, settings: DpSettings) -> bool:
    """Whether a private training on rows by ``steps`` has to find out which levels are frequent."""
    if settings.public_preprocessing or settings.public_levels:
        return False
    return isinstance(steps, TablePreprocessing) and has_levels(steps)


def default_batch_size(n_units: int) -> int:
    """A power of two near a twelfth of the units, within 256 and 8192, and never more than all of them."""
    return int(min(n_units, max(256, min(8192, 2 ** round(math.log2(max(1, n_units / 12)))))))


def steady_rate(mechanism: Mechanism) -> float:
    """A learning rate of plain sgd for rows of length 1: logits wander by about as much, whatever the budget.

    The noise of all steps together then moves the logit of a row by 2 on the way, before averaging. Found
    for linear models on the digits that come with scikit-learn, Adult and MNIST, for epsilon 1 and 3.
    """
    noise = mechanism.noise_multiplier * mechanism.max_grad_norm / mechanism.normaliser
    return WANDERING / (noise * math.sqrt(mechanism.steps))
