"""What a differentially private training guarantees, to whom, and under which assumptions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Certificate, CertifiedTuning, Law, LedgerReference, SubjectCard
from auditkit.records.bounds import bound_in_digits
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import decimal_shortest

_SHOWN = 12
_KEPT_TOGETHER = ("ε ≤ ", "δ = ")
"""Chinese lines break at any space."""


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate for reading."""

    subject: str
    statement: Markup
    is_certified: bool
    summary: tuple[tuple[str, str], ...]
    assumptions: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


def certificate_views(cards: Sequence[SubjectCard], texts: Texts) -> tuple[CertificateView, ...]:
    """The certificates of all subjects that have one, the baseline named by its title."""
    return tuple(
        _certificate(card.title if card.name == "baseline" else card.name, card.certificate, texts)
        for card in cards
        if card.certificate
    )


def guarantee(certificate: Certificate | None) -> str:
    """The guarantee in one line; nothing where there is none."""
    if certificate is None:
        return ""
    return unbroken(f"ε ≤ {bound_in_digits(certificate.epsilon)}, δ = {decimal_shortest(certificate.delta)}")


def unbroken(text: str) -> str:
    """The text with epsilon and delta kept on one line with their values."""
    for symbols in _KEPT_TOGETHER:
        text = text.replace(symbols, symbols.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _unbroken_markup(text: Markup) -> Markup:
    for symbols in _KEPT_TOGETHER:
        text = text.replace(symbols, symbols.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _certificate(subject: str, certificate: Certificate, texts: Texts) -> CertificateView:
    values = {"epsilon": bound_in_digits(certificate.epsilon), "delta": decimal_shortest(certificate.delta)}
    statement = (
        texts.rich(
            "Whatever the training yields is at most {power} times as likely with one record as without it, "
            "with ε ≤ {epsilon}, but for a probability of δ = {delta}.",
            power=Markup("e<sup>ε</sup>"),
            **values,
        )
        if certificate.certified
        else texts.rich(
            "Not certified: ε ≤ {epsilon} at δ = {delta} was computed, and holds only against those who do "
            "not know the seed of the noise.",
            **values,
        )
    )
    return CertificateView(
        subject=subject,
        statement=_unbroken_markup(statement),
        is_certified=certificate.certified,
        summary=tuple(_summary(certificate, texts)),
        assumptions=tuple(texts.message(one) for one in (*certificate.not_covered, *certificate.assumptions)),
        details=tuple((label, unbroken(text)) for label, text in _details(certificate, texts)),
    )


def _summary(certificate: Certificate, texts: Texts) -> Iterator[tuple[str, str]]:
    """What a reader must know to use the guarantee at all."""
    yield "ε", f"≤ {bound_in_digits(certificate.epsilon)}"
    yield "δ", decimal_shortest(certificate.delta)
    yield texts.text("unit of privacy"), texts.text(certificate.unit_of_privacy)
    yield texts.text("adjacency"), texts.text(certificate.adjacency)
    yield texts.text("accountant"), texts.text(certificate.accountant)


def _details(certificate: Certificate, texts: Texts) -> Iterator[tuple[str, str]]:
    """What was released, the mechanism, the accounting, the execution and the ledger, in that order."""
    if certificate.released is not None:
        yield texts.text("released"), texts.message(certificate.released)
    if certificate.trained is not None:
        weights = texts.text(
            "{n} of type {dtype}", n=grouped(certificate.trained.n), dtype=certificate.trained.dtype
        )
        yield texts.text("trained weights"), weights
    yield texts.text("adjacency"), texts.text(certificate.adjacency)
    yield texts.text("unit of privacy"), texts.text(certificate.unit_of_privacy)
    yield from _mechanism(certificate, texts)
    if certificate.tuning is not None:
        yield from _tuning(certificate.tuning, texts)
    yield texts.text("accountant"), texts.text(certificate.accountant)
    for name, epsilon in certificate.cross_check.items():
        yield texts.text("cross-check, {accountant}", accountant=name), f"ε ≤ {bound_in_digits(epsilon)}"
    if certificate.versions:
        yield texts.text("versions"), ", ".join(f"{k} {v}" for k, v in certificate.versions.items())
    for check in certificate.preflight:
        yield texts.text("checked beforehand"), texts.message(check)
    if certificate.ledger is not None:
        yield from _ledger(certificate.ledger, texts)


def _mechanism(certificate: Certificate, texts: Texts) -> Iterator[tuple[str, str]]:
    yield texts.text("noise multiplier"), decimal_shortest(certificate.noise_multiplier, 4)
    yield texts.text("sample rate"), decimal_shortest(certificate.sample_rate, 4)
    planned = certificate.planned_steps
    steps = grouped(certificate.steps)
    if planned is not None and planned != certificate.steps:
        steps = texts.text(
            "{charged} charged, {planned} planned; interruptions: {resumes}",
            charged=steps,
            planned=grouped(planned),
            resumes=certificate.resumes,
        )
    yield texts.text("steps"), steps
    if certificate.replays:
        repeated = texts.text(
            "bit by bit with the same noise, charged once; interruptions: {n}", n=certificate.replays
        )
        yield texts.text("steps repeated"), repeated
    yield texts.text("clipping norm"), decimal_shortest(certificate.max_grad_norm)
    yield texts.text("sums are divided by"), decimal_shortest(certificate.normaliser, 4)
    how = (
        (texts.text("clipping"), certificate.clipping),
        (texts.text("sampling"), certificate.sampler),
        (texts.text("randomness"), certificate.randomness),
    )
    yield from ((label, texts.message(message)) for label, message in how if message is not None)


def _tuning(tuning: CertifiedTuning, texts: Texts) -> Iterator[tuple[str, str]]:
    """How the settings were chosen; the mechanism above is that of the run that was released."""
    runs = texts.text(
        "the best of a random number of runs, {law} law, {mean} expected",
        law=_law(tuning.tuned.law, texts),
        mean=decimal_shortest(tuning.tuned.mean, 4),
    )
    yield texts.text("tuning"), runs
    yield texts.text("candidates"), "; ".join(tuning.candidates)
    yield texts.text("settings released"), tuning.chosen
    yield texts.text("runs compared by"), texts.message(tuning.score)
    yield texts.text("without tuning"), f"ε ≤ {bound_in_digits(tuning.untuned_epsilon)}"


def _law(law: Law, texts: Texts) -> str:
    if law == "poisson":
        return texts.text("Poisson")
    return texts.text("geometric") if law == "geometric" else texts.text("logarithmic")


def _ledger(ledger: LedgerReference, texts: Texts) -> Iterator[tuple[str, str]]:
    """All trainings on the rows together, and the line of the ledger that says so."""
    joint = texts.plural(
        "ε ≤ {epsilon} at δ = {delta}, {n} training",
        "ε ≤ {epsilon} at δ = {delta}, {n} trainings",
        ledger.n_runs,
        epsilon=bound_in_digits(ledger.epsilon) if ledger.epsilon else "0",
        delta=decimal_shortest(ledger.delta),
    )
    yield texts.text("all recorded trainings on these rows"), joint
    if ledger.budget_epsilon is not None and ledger.budget_delta is not None:
        budget = f"ε ≤ {bound_in_digits(ledger.budget_epsilon)}, δ = {decimal_shortest(ledger.budget_delta)}"
        yield texts.text("privacy budget of these rows"), budget
    line = texts.text(
        "{fingerprint}, line {number}, {hash}",
        fingerprint=ledger.fingerprint[:_SHOWN],
        number=ledger.line.number + 1,
        hash=ledger.line.hash[:_SHOWN],
    )
    yield texts.text("privacy ledger"), line
