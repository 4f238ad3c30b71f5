"""What is public of a private tuning: candidates, the number of runs expected, the noise that follows."""

from dataclasses import dataclass, replace

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.privacy.accounting import default_delta
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.dp_settings import DpSettings, check_settings, levels_are_counted, plan, steady_rate
from auditkit.privacy.public_count import public_count
from auditkit.privacy.tuning_plan import plan_tuning
from auditkit.privacy.units import PersonRows, persons_of, unit_of
from auditkit.records import Law, Tuned


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Settings that a run may draw.

    Attributes:
        settings: All candidates share epsilon, delta, unit and certification.
        changes: What tells it from the others, by name of the setting; shown in the certificate.
        rate_factor: Times the learning rate of the settings, or the one that follows from the noise.
    """

    settings: DpSettings
    changes: tuple[str, ...] = ("learning_rate",)
    rate_factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is fixed before a tuning begins, without looking at the rows.

    Attributes:
        law: Of the number of runs.
        mean: Of that number.
        candidates: At least one; each run draws one of them, all with the same chance.
    """

    law: Law
    mean: float
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTuning:
    """A tuning with its noise.

    Attributes:
        tuned: Everything that epsilon follows from.
        delta: Of the guarantee.
        persons: Who has which rows; ``None`` where rows are the unit.
        candidates: The settings of each, nothing left open.
        words: Of each.
        mechanisms: Of a run with each.
    """

    tuned: Tuned
    delta: float
    persons: PersonRows | None
    candidates: tuple[DpSettings, ...]
    words: tuple[str, ...]
    mechanisms: tuple[Mechanism, ...]

    @property
    def certified(self) -> bool:
        """Whether all randomness comes from the operating system."""
        return self.candidates[0].certified

    @property
    def score_noise(self) -> float:
        """Standard deviation of the noise of a score."""
        return self.tuned.alternatives[0][-1].noise_multiplier


def planned_tuning(
    tuning: Tuning, data: Dataset, preprocessing: Preprocessing | None = None
) -> PlannedTuning:
    """The noise with which the whole keeps within the epsilon of its candidates.

    Args:
        tuning: As fixed beforehand.
        data: Only how many rows there are, and whose, is used.
        preprocessing: By which they are encoded.

    Raises:
        UsageError: Settings are out of range.
        PrivacyRefusedError: Epsilon is above 20 and that was not accepted.
    """
    first = tuning.candidates[0].settings
    unit = unit_of(data, first.unit)
    persons = persons_of(data, unit, first.rows_per_person)
    n_units = len(data) if persons is None else len(persons.n)
    n_public = public_count(n_units, first.public_count)
    delta = default_delta(n_public) if first.delta is None else first.delta
    for candidate in tuning.candidates:
        check_settings(candidate.settings, delta, n_units, unit)

    def mechanism_with(noise: float, settings: DpSettings) -> Mechanism:
        counts_levels = levels_are_counted(preprocessing, settings)
        chosen = replace(settings, noise_multiplier=noise)
        return plan(chosen, delta, n_public, unit, counts_levels=counts_levels)

    sizes = [mechanism_with(1.0, candidate.settings) for candidate in tuning.candidates]
    tuned = plan_tuning(
        first.epsilon,
        delta,
        law=tuning.law,
        mean=tuning.mean,
        trainings=[(one.sample_rate, one.steps) for one in sizes],
        failure_probability=max(one.failure_probability for one in sizes),
    )
    noise = tuned.alternatives[0][0].noise_multiplier
    mechanisms = tuple(mechanism_with(noise, candidate.settings) for candidate in tuning.candidates)
    settings = tuple(
        _settled(candidate, mechanism)
        for candidate, mechanism in zip(tuning.candidates, mechanisms, strict=True)
    )
    return PlannedTuning(
        tuned=tuned,
        delta=delta,
        persons=persons,
        candidates=settings,
        words=tuple(
            _words(candidate, one) for candidate, one in zip(tuning.candidates, settings, strict=True)
        ),
        mechanisms=mechanisms,
    )


def _settled(candidate: Candidate, mechanism: Mechanism) -> DpSettings:
    """With the noise of the plan and a learning rate."""
    rate = candidate.settings.learning_rate or steady_rate(mechanism)
    return replace(
        candidate.settings,
        noise_multiplier=mechanism.noise_multiplier,
        learning_rate=float(f"{rate * candidate.rate_factor:.6g}"),
    )


def _words(candidate: Candidate, settings: DpSettings) -> str:
    """Such as ``learning_rate 0.01, momentum 0.5``."""
    return ", ".join(f"{name} {_shown(getattr(settings, name))}" for name in candidate.changes)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
