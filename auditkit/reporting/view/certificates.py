"""What a differentially private training guarantees, to whom, and under which assumptions."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

from markupsafe import Markup

from auditkit.records import Certificate, SubjectCard
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import decimal_shortest


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate for reading."""

    subject: str
    statement: Markup
    is_certified: bool
    assumptions: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


def certificate_views(cards: Sequence[SubjectCard], texts: Texts) -> tuple[CertificateView, ...]:
    """The certificates of all subjects that have one."""
    return tuple(_certificate(card.name, card.certificate, texts) for card in cards if card.certificate)


def guarantee(certificate: Certificate | None) -> str:
    """The guarantee in one line; nothing where there is none."""
    if certificate is None:
        return ""
    return f"ε ≤ {rounded_up(certificate.epsilon)}, δ = {decimal_shortest(certificate.delta)}"


def rounded_up(epsilon: float) -> str:
    """An upper bound with three significant digits that is still an upper bound.

    >>> rounded_up(2.9912), rounded_up(0.12341)
    ('3.00', '0.124')
    """
    return format(Context(prec=3, rounding=ROUND_CEILING).create_decimal(repr(epsilon)), "f")


def _certificate(subject: str, certificate: Certificate, texts: Texts) -> CertificateView:
    values = {"epsilon": rounded_up(certificate.epsilon), "delta": decimal_shortest(certificate.delta)}
    statement = (
        texts.rich(
            "Whatever the training yields is at most {power} times as likely with one record as without it, "
            "with ε ≤ {epsilon}, but for a probability of δ = {delta}.",
            power=Markup("e<sup>ε</sup>"),
            **values,
        )
        if certificate.certified
        else texts.rich(
            "Not certified: ε ≤ {epsilon} at δ = {delta} was computed, but what stands first below keeps "
            "it from being a guarantee.",
            **values,
        )
    )
    details = [
        (texts.text("adjacency"), texts.text(certificate.adjacency)),
        (texts.text("unit of privacy"), texts.text(certificate.unit_of_privacy)),
        (texts.text("noise multiplier"), decimal_shortest(certificate.noise_multiplier, 4)),
        (texts.text("sample rate"), decimal_shortest(certificate.sample_rate, 4)),
        (texts.text("steps"), grouped(certificate.steps)),
        (texts.text("clipping norm"), decimal_shortest(certificate.max_grad_norm)),
        (texts.text("accountant"), certificate.accountant),
    ]
    for name, epsilon in certificate.cross_check.items():
        details.append(
            (texts.text("cross-check, {accountant}", accountant=name), f"ε ≤ {rounded_up(epsilon)}")
        )
    return CertificateView(
        subject=subject,
        statement=statement,
        is_certified=certificate.certified,
        assumptions=tuple(texts.message(one) for one in certificate.assumptions),
        details=tuple(details),
    )
