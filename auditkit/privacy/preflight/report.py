"""What was examined, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from auditkit.errors import PrivacyRefusedError, UsageError
from auditkit.records import Message

Status = Literal["passed", "warned", "assumed", "refused", "unsafe"]


@dataclass(frozen=True, slots=True)
class Check:
    """One condition.

    Attributes:
        name: In kebab case; several problems of one kind share it.
        status: ``warned``: the training may begin, but the sentence belongs into the certificate.
            ``assumed``: so it is, and the sentence is one that the guarantee rests on. ``refused``: the model
            or the rows cannot be used as given. ``unsafe``: they can, and the promise would be worth nothing.
        message: What was found and, unless it passed, what to do.
    """

    name: str
    status: Status
    message: Message


@dataclass(frozen=True, slots=True)
class PreflightReport:
    """All conditions that were examined."""

    checks: tuple[Check, ...]

    @property
    def refused(self) -> tuple[Check, ...]:
        """Those that forbid the training."""
        return tuple(check for check in self.checks if check.status in ("refused", "unsafe"))

    @property
    def warned(self) -> tuple[Check, ...]:
        """Those that the reader of the certificate has to know of."""
        return tuple(check for check in self.checks if check.status == "warned")

    @property
    def assumed(self) -> tuple[Message, ...]:
        """What could not be examined and must be believed."""
        return tuple(check.message for check in self.checks if check.status == "assumed")

    @property
    def evidence(self) -> tuple[Message, ...]:
        """For the certificate: what passed."""
        return tuple(check.message for check in self.checks if check.status == "passed")

    @property
    def not_covered(self) -> tuple[Message, ...]:
        """For the certificate: what was found and speaks against more than epsilon says."""
        return tuple(check.message for check in self.warned)

    def with_(self, others: Sequence[Check]) -> "PreflightReport":
        """With more conditions."""
        return PreflightReport((*self.checks, *others))

    def raise_if_refused(self) -> None:
        """Refuse the training, with all problems at once.

        Raises:
            UsageError: There are any, and the model or the rows cannot be used as given.
            PrivacyRefusedError: There are others only: they could be, but the promise would be worth nothing.
        """
        if not self.refused:
            return
        problems = "\n".join(f"- {check.message}" for check in self.refused)
        is_unsafe = all(check.status == "unsafe" for check in self.refused)
        refusal = PrivacyRefusedError if is_unsafe else UsageError
        raise refusal(f"This model cannot be retrained with DP-SGD:\n{problems}")


def passed(name: str, message: Message) -> Check:
    """A condition that holds."""
    return Check(name, "passed", message)


def warned(name: str, message: Message) -> Check:
    """One that the reader of the certificate has to know of."""
    return Check(name, "warned", message)


def assumed(name: str, message: Message) -> Check:
    """One that nothing could examine, and that the guarantee rests on."""
    return Check(name, "assumed", message)


def refused(name: str, text: str, /, **values: str | int | float) -> Check:
    """One that does not hold; its text is for an error, which is not translated."""
    return Check(name, "refused", Message(text=text, values=values))


def unsafe(name: str, text: str, /, **values: str | int | float) -> Check:
    """One without which the training could begin, but would promise what does not hold or is of no use."""
    return Check(name, "unsafe", Message(text=text, values=values))
