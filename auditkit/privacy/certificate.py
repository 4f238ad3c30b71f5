"""What a differentially private training may claim, and under which assumptions."""

from dataclasses import dataclass
from importlib.metadata import version

from auditkit.errors import AuditkitError
from auditkit.privacy.accounting import ACCOUNTANT, epsilon_prv, epsilon_rdp
from auditkit.records import Certificate, Message

ADJACENCY = "add or remove one row"
PRV_ERROR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """The public inputs of DP-SGD: fixed before the first step, none of them computed from the rows.

    Attributes:
        noise_multiplier: Standard deviation of the noise over ``max_grad_norm``.
        sample_rate: Probability with which each row is in a step.
        steps: How many noisy sums are released.
        max_grad_norm: What one row can contribute to a sum at most.
        normaliser: What a sum is divided by: the expected, never the actual, batch size.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int
    max_grad_norm: float
    normaliser: float


def certify(mechanism: Mechanism, delta: float, *, n_rows: int, certified: bool) -> Certificate:
    """The certificate of one run of ``mechanism``, its epsilon recomputed from the public inputs.

    Raises:
        AuditkitError: The two accountants contradict each other.
    """
    public = (mechanism.noise_multiplier, mechanism.sample_rate, mechanism.steps, delta)
    epsilon, looser = epsilon_prv(*public), epsilon_rdp(*public)
    if epsilon > looser + PRV_ERROR:
        raise AuditkitError(
            f"DP accounting contradicts itself: PRV gives epsilon {epsilon:.4f}, above the looser bound "
            f"{looser:.4f} of RDP, at {mechanism}. No certificate is given; please report this."
        )
    return Certificate(
        epsilon=epsilon,
        delta=delta,
        adjacency=ADJACENCY,
        unit_of_privacy="row",
        noise_multiplier=mechanism.noise_multiplier,
        sample_rate=mechanism.sample_rate,
        steps=mechanism.steps,
        max_grad_norm=mechanism.max_grad_norm,
        normaliser=mechanism.normaliser,
        accountant=ACCOUNTANT,
        cross_check={"rdp": looser},
        versions={name: version(name) for name in ("opacus", "torch", "numpy", "scipy")},
        certified=certified,
        assumptions=_assumptions(n_rows, certified=certified),
    )


def recomputed_epsilon(certificate: Certificate) -> float:
    """Epsilon from the certificate's own public inputs, for whoever wants to check it."""
    return epsilon_prv(
        certificate.noise_multiplier, certificate.sample_rate, certificate.steps, certificate.delta
    )


def _assumptions(n_rows: int, *, certified: bool) -> tuple[Message, ...]:
    return (
        _randomness(certified=certified),
        Message(
            text="Neighbouring datasets differ by one row added or removed. For a person with k rows epsilon "
            "is k times as large, and delta grows too."
        ),
        Message(
            text="The number of training rows, {n}, which decides the sampling rate, is taken as public.",
            values={"n": n_rows},
        ),
        Message(
            text="Only the final weights are covered. Figures measured on the training rows, the digest of "
            "the data and the time the training took are not."
        ),
        Message(
            text="Preprocessing statistics fitted on the training rows (means, scales, fill values, category "
            "levels) are not covered, unless they were public beforehand."
        ),
        Message(
            text="This is one training. Other models, earlier attempts and settings chosen by looking at "
            "these rows spend privacy of their own, which this epsilon does not contain."
        ),
        Message(
            text="Noise and sums are floating-point numbers; the proof assumes real ones. Known attacks on "
            "the difference are hindered at most, not excluded."
        ),
    )


def _randomness(*, certified: bool) -> Message:
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
