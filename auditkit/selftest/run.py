"""All proofs, and how they are told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from auditkit.records import Measurement
from auditkit.registry import AUDITS
from auditkit.selftest.breaks import Break, prove_breaks
from auditkit.selftest.certificate import prove_certificate
from auditkit.selftest.counting_faults import counting_faults
from auditkit.selftest.mechanism import prove_sensitivity
from auditkit.selftest.neighbour_faults import neighbour_faults
from auditkit.selftest.network_faults import network_faults
from auditkit.selftest.noise_faults import noise_faults
from auditkit.selftest.plant import Proof, prove
from auditkit.selftest.plants import plants
from auditkit.selftest.process_faults import process_faults


@dataclass(frozen=True, slots=True)
class Selftest:
    """What was proved, and which installed audits nothing is known about."""

    proofs: tuple[Proof, ...]
    without_plant: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every fault was found and nothing was seen without one."""
        return all(proof.holds for proof in self.proofs)

    @property
    def exit_code(self) -> int:
        """0, or 3 when an instrument is wrong."""
        return 0 if self.passed else 3


def run_selftest(observe: Callable[[Proof], None] = lambda _proof: None) -> Selftest:
    """Run every plant; ``observe`` is told of each proof as it is done."""
    proofs = []
    for proof in _proofs():
        proofs.append(proof)
        observe(proof)
    return Selftest(tuple(proofs), unproved_audits())


def unproved_audits() -> tuple[str, ...]:
    """Installed audits for which no plant is known, such as those of third parties."""
    known = {plant.audit for plant in plants()}
    return tuple(name for name in AUDITS.names() if name not in known)


def _proofs() -> Iterator[Proof]:
    for plant in plants():
        yield prove(plant)
    yield prove_certificate()
    yield prove_sensitivity()
    yield from prove_breaks(known_breaks())


def known_breaks() -> tuple[Break, ...]:
    """The ways in which engines of DP-SGD are known to break their promise without a trace."""
    return (
        *neighbour_faults(),
        *network_faults(),
        *counting_faults(),
        *process_faults(),
        *noise_faults(),
    )


def proof_line(proof: Proof) -> str:
    """One aligned line: verdict, figure with and without the fault, bound, fault."""
    verdict = "ok   " if proof.holds else "WRONG"
    bound = f"> {proof.above:g}" if proof.above is not None else f"< {proof.below:g}"
    return (
        f"{verdict}  {proof.figure:<50}  "
        f"{'found' if proof.found else 'MISSED':<6} {_text(proof.with_fault):<24}  "
        f"{'quiet' if proof.quiet else 'LOUD':<5} {_text(proof.without_fault):<24}  "
        f"fault {bound}: {proof.fault}" + (f" ({proof.reason})" if proof.reason else "")
    )


def _text(measurement: Measurement | None) -> str:
    if measurement is None or measurement.value is None:
        return "no figure"
    interval = measurement.interval
    if interval is None or interval.low == interval.high:
        return f"{measurement.value:.6g}"
    return f"{measurement.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def selftest_lines(selftest: Selftest) -> list[str]:
    """The end of the story: what is not proved, and the verdict."""
    lines = [f"-      {name:<50}  no plant known" for name in selftest.without_plant]
    wrong = sum(not proof.holds for proof in selftest.proofs)
    total = len(selftest.proofs)
    return [*lines, f"{total - wrong} of {total} instruments find their fault and stay quiet without it"]


def selftest_document(selftest: Selftest) -> dict[str, object]:
    """The same for scripts."""
    return {
        "passed": selftest.passed,
        "proofs": [
            {
                "name": proof.name,
                "figure": proof.figure,
                "fault": str(proof.fault),
                "above": proof.above,
                "below": proof.below,
                "expected": proof.expected,
                "found": proof.found,
                "quiet": proof.quiet,
                "with_fault": _document(proof.with_fault),
                "without_fault": _document(proof.without_fault),
                "reason": proof.reason or None,
            }
            for proof in selftest.proofs
        ],
        "no_plant_known": list(selftest.without_plant),
    }


def _document(measurement: Measurement | None) -> object:
    return None if measurement is None else measurement.model_dump(mode="json")
