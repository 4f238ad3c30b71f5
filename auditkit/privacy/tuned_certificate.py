"""The certificate of a private tuning: that of the released run, with what the choice of it spends."""

from collections.abc import Iterator

from auditkit.privacy.certificate import beyond_this_run
from auditkit.privacy.preflight.beforehand import FIXED_BEFOREHAND
from auditkit.privacy.tuning_cost import epsilon_of_tuning
from auditkit.privacy.units import Unit
from auditkit.records import Certificate, CertifiedTuning, LedgerReference, Message

TUNING_ACCOUNTANT = "RDP of the best of a random number of runs, upper bound"


def with_tuning(
    certificate: Certificate, tuning: CertifiedTuning, ledger: LedgerReference | None
) -> Certificate:
    """``certificate`` of the released run, its epsilon that of the whole tuning.

    Args:
        certificate: Of that run alone, without a ledger.
        tuning: How it was chosen.
        ledger: That of the rows, in which the tuning is reserved.
    """
    return certificate.model_copy(
        update={
            "epsilon": epsilon_of_tuning(tuning.tuned, certificate.delta),
            "accountant": TUNING_ACCOUNTANT,
            "cross_check": {},
            "released": _RELEASED,
            "preflight": tuple(_preflight(certificate)),
            "tuning": tuning,
            "ledger": ledger,
            "assumptions": (*_assumptions(certificate, ledger), *_OF_TUNING),
        }
    )


def score_message(unit: Unit, noise: float) -> Message:
    """What the runs are compared by."""
    return Message(text=_SCORES[unit], values={"noise": noise})


_SCORES: dict[Unit, str] = {
    "row": "the number of training rows answered right, with Gaussian noise of deviation {noise} in each run",
    "person": "the sum over persons of the share of their training rows answered right, with Gaussian noise "
    "of deviation {noise} in each run",
}

_RELEASED = Message(
    text="the final weights of the best run, a running average of the noisy ones, and the settings it drew; "
    "nothing of any other run"
)

_CHOSEN_BY_SCORE = Message(
    text="the candidates and the law of the number of runs were fixed beforehand; which run is released was "
    "chosen by noisy scores, which epsilon contains"
)

_OF_TUNING = (
    Message(
        text="This is the best of a random number of runs. That number was drawn before the first of them, "
        "is written nowhere and must stay unknown. How long the training took tells about it, and so do the "
        "dates of the ledger line and of the files: they are not covered."
    ),
    Message(
        text="The candidates, the law of the number of runs and its mean were chosen without looking at "
        "these rows."
    ),
)


def _preflight(certificate: Certificate) -> Iterator[Message]:
    for check in certificate.preflight:
        yield _CHOSEN_BY_SCORE if check == FIXED_BEFOREHAND else check


def _assumptions(certificate: Certificate, ledger: LedgerReference | None) -> Iterator[Message]:
    """Those of the run, with what the ledger says in the place of its absence."""
    for assumption in certificate.assumptions:
        if assumption in beyond_this_run(None):
            yield from beyond_this_run(ledger)
        else:
            yield assumption
