"""A private training whose settings are chosen on the private rows, honestly: the choice is paid for.

Each run draws its settings from a public set, trains with them and gives its model a noisy score; the number
of runs is drawn before the first of them, and only the model with the best score is ever seen. All that
spends what :mod:`tuning_cost` says, which is reserved in the ledger before the number is drawn.

Nothing of a run is written to disk or told, so that neither the number of runs nor what the others were like
comes out. A tuning that was interrupted is not taken up again: that would tell how far it had come.

Source: Papernot and Steinke (2022), arXiv:2110.03620, section 3.
"""

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import DivergedError, NothingReleasedError
from auditkit.privacy.checked_training import examine_fit
from auditkit.privacy.dp_fit import DpFitted, dp_fit
from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.preflight import Check
from auditkit.privacy.preflight.report import warned
from auditkit.privacy.private_score import noisy_score
from auditkit.privacy.recorded import Progress, Recording
from auditkit.privacy.resume import Tell
from auditkit.privacy.tuned_certificate import score_message, with_tuning
from auditkit.privacy.tuning import PlannedTuning, Tuning, planned_tuning
from auditkit.privacy.tuning_draw import draw_runs, none_drawn, uniform_of
from auditkit.randomness import derive_seed
from auditkit.records import Certificate, CertifiedTuning, Message

T = TypeVar("T")

_SECRET_BITS = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshModels:
    """How each run comes by a model to train.

    Attributes:
        build: A module with fresh weights from a seed; none may depend on the rows.
        examine: What only the caller can tell of it beforehand.
        preprocessing: How their rows were encoded.
        waivers: What is wrong with the account and was accepted.
    """

    build: Callable[[int], nn.Module]
    examine: Callable[[nn.Module], Sequence[Check]] = lambda _module: ()
    preprocessing: Preprocessing | None = None
    waivers: tuple[Message, ...] = ()

    def checks_of(self, module: nn.Module) -> tuple[Check, ...]:
        """What belongs into the certificate besides what the training examines."""
        return (*self.examine(module), *(warned("ledger", waiver) for waiver in self.waivers))


def tuned_fit(
    models: FreshModels,
    data: Dataset,
    tuning: Tuning,
    *,
    seed: int,
    device: str = "cpu",
    recording: Recording | None = None,
    report_progress: Progress = lambda _done, _total, _text: None,
    tell: Tell | None = None,
) -> DpFitted:
    """The best of a random number of private trainings, by a noisy score, within one epsilon for all.

    Args:
        models: How each run comes by its module.
        data: The private rows, encoded by the preprocessing of ``models``.
        tuning: Its public inputs.
        seed: Of everything, unless the candidates are certified.
        device: Where to train.
        recording: The ledger in which the whole is reserved before anything is drawn; ``None`` records
            nothing. Its folder for an unfinished training stays empty.
        report_progress: Called with (done, total, text) when it begins and when it has ended.
        tell: Called with sentences for the user, none of which depends on what was drawn.

    Raises:
        UsageError: Settings are out of range or the module is not suitable; nothing was spent.
        PrivacyRefusedError: The budget of the rows does not suffice; nothing was spent.
        LedgerError: The ledger cannot be read or written; nothing was spent.
        NothingReleasedError: No run was drawn, or all weights became infinite. The tuning is charged.
    """
    planned = planned_tuning(tuning, data, models.preprocessing)
    if recording is not None:
        models = replace(models, waivers=recording.waivers)
    runs = _Runs(planned, models, data, seed, device)
    runs.examine(tell)
    report_progress(0, 1, "private tuning")
    if recording is not None:
        recording.account.reserve_tuning(
            planned.tuned,
            planned.mechanisms[0],
            planned.delta,
            purpose=recording.purpose,
            certified=planned.certified,
        )
    uniform = uniform_of(seed, certified=planned.certified)
    drawn = draw_runs(tuning.law, tuning.mean, len(planned.candidates), uniform)
    best = best_of(drawn, runs.take)
    report_progress(1, 1, "private tuning")
    if best is None:
        raise NothingReleasedError(_nothing(planned, charged=recording is not None))
    ledger = None if recording is None else recording.account.reference(planned.delta)
    statement = _statement(planned, best.chosen, best.fitted.certificate)
    return replace(best.fitted, certificate=with_tuning(best.fitted.certificate, statement, ledger))


def best_of(drawn: Sequence[int], take: Callable[[int, int], tuple[float, T | None]]) -> T | None:
    """What the run with the highest score made; the others are forgotten one by one.

    Args:
        drawn: The candidate of each run; all are drawn before the first is taken.
        take: From the number of a run and its candidate to its score and what it made, ``None`` where that
            cannot be released.
    """
    best, best_score = None, -math.inf
    for number, chosen in enumerate(drawn):
        score, made = take(number, chosen)
        if made is not None and score > best_score:
            best, best_score = made, score
    return best


@dataclass(frozen=True, slots=True)
class _Taken:
    fitted: DpFitted
    chosen: int


@dataclass(frozen=True, slots=True)
class _Runs:
    """The runs of one tuning, each the same randomised mechanism."""

    planned: PlannedTuning
    models: FreshModels
    data: Dataset
    seed: int
    device: str

    def examine(self, tell: Tell | None) -> None:
        """All that could be refused, with every candidate; nothing is drawn or spent."""
        for number, settings in enumerate(self.planned.candidates):
            module = self.models.build(self.seed)
            examine_fit(
                module,
                self.data,
                settings,
                device=self.device,
                tell=_of_each_run(tell) if tell is not None and number == 0 else None,
                preprocessing=self.models.preprocessing,
                beforehand=self.models.checks_of(module),
            )
        for sentence in _announced(self.planned):
            if tell is not None:
                tell(sentence)

    def take(self, number: int, chosen: int) -> tuple[float, _Taken | None]:
        """One run: its score and its model; weights that became infinite score least of all."""
        seed = self._seed_of(number)
        module = self.models.build(seed)
        try:
            fitted = dp_fit(
                module,
                self.data,
                self.planned.candidates[chosen],
                seed=seed,
                device=self.device,
                preprocessing=self.models.preprocessing,
                beforehand=self.models.checks_of(module),
            )
        except DivergedError:
            return -math.inf, None
        draws = (
            EntropyDraws() if self.planned.certified else SeededDraws.from_seed(derive_seed(seed, "score"))
        )
        noise, persons = self.planned.score_noise, self.planned.persons
        score = noisy_score(fitted.module, fitted.data, persons, noise=noise, draws=draws)
        return score, _Taken(fitted, chosen)

    def _seed_of(self, number: int) -> int:
        """Of initial weights. The card of the model holds it, so it must not tell the number of the run."""
        if self.planned.certified:
            return secrets.randbits(_SECRET_BITS)
        return derive_seed(self.seed, "dp", "tuning run", str(number))


def _of_each_run(tell: Tell) -> Tell:
    return lambda sentence: tell(f"each run: {sentence}")


def _announced(planned: PlannedTuning) -> Iterator[str]:
    """What is about to happen, before it is charged."""
    tuned = planned.tuned
    yield (
        f"private tuning: the best of a random number of runs ({tuned.law}, {tuned.mean:g} expected), each "
        f"with one of the candidates: {'; '.join(planned.words)}"
    )
    yield (
        f"scores: right answers on the training rows, noise of deviation {planned.score_noise:g}. All of it "
        "is charged now, before the number of runs is drawn, and whatever becomes of it"
    )
    yield "how many runs there are must stay unknown: no progress is shown, and the time it takes tells of it"


def _nothing(planned: PlannedTuning, *, charged: bool) -> str:
    tuned = planned.tuned
    spent = " The tuning is charged in the ledger all the same." if charged else ""
    return (
        "private tuning: nothing is released. Either no run was drawn (chance "
        f"{none_drawn(tuned.law, tuned.mean):.2g} by the {tuned.law} law with {tuned.mean:g} expected), or "
        f"the weights of every run became infinite.{spent} Starting the command again is another tuning, "
        "charged again; candidates with smaller learning rates seldom diverge"
    )


def _statement(planned: PlannedTuning, chosen: int, certificate: Certificate) -> CertifiedTuning:
    return CertifiedTuning(
        tuned=planned.tuned,
        candidates=planned.words,
        chosen=planned.words[chosen],
        score=score_message(planned.mechanisms[0].unit, planned.score_noise),
        score_noise=planned.score_noise,
        untuned_epsilon=certificate.epsilon,
    )
