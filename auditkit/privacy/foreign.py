"""What another program says it spent: the history in a checkpoint that Opacus wrote.

Only the public inputs are taken from it, and epsilon is computed again. Whether the training did what the
history says cannot be seen in a checkpoint; what has to be believed is listed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from auditkit.errors import CheckpointError
from auditkit.privacy.composition import merged
from auditkit.records import Message, Spending
from auditkit.subjects.pickles import read_data_only

KEY = "privacy_accountant_state_dict"

_BOUND_NOTHING = frozenset({"gdp"})
"""Accountants whose figure, a central limit, lies below the true epsilon."""


@dataclass(frozen=True, slots=True)
class History:
    """What a foreign training says it spent, what of it must be believed, and the digest of its file."""

    spendings: tuple[Spending, ...]
    accountant: str
    unverified: tuple[Message, ...]
    sha256: str


def read_history(path: Path) -> History:
    """The history in a file written by ``PrivacyEngine.save_checkpoint``, or of an accountant alone.

    Nothing in the file is executed.

    Raises:
        CheckpointError: It cannot be read, or holds no history of (noise multiplier, sample rate, steps).
        UnsafeError: Loading it could execute code.
    """
    content = read_data_only(path)
    state = content.get(KEY, content) if isinstance(content, Mapping) else {}
    history = state.get("history") if isinstance(state, Mapping) else None
    if not isinstance(history, Iterable) or isinstance(history, str | bytes):
        raise CheckpointError(
            f"{path}: holds no history of a privacy accountant. Expected a file of Opacus' "
            f"PrivacyEngine.save_checkpoint, with {KEY}"
        )
    spendings = merged(_spending(entry, path) for entry in history)
    if not spendings:
        raise CheckpointError(f"{path}: the history of its privacy accountant is empty; no step was counted")
    accountant = str(state.get("mechanism", "unknown"))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return History(spendings, accountant, tuple(_unverified(accountant)), digest)


def _spending(entry: Any, path: Path) -> Spending:
    try:
        noise_multiplier, sample_rate, steps = entry
        return Spending(noise_multiplier=noise_multiplier, sample_rate=sample_rate, steps=steps)
    except (TypeError, ValueError, ValidationError) as error:
        raise CheckpointError(
            f"{path}: {entry!r} in the history is not (noise multiplier above 0, sample rate up to 1, steps)"
        ) from error


def _unverified(accountant: str) -> Iterable[Message]:
    yield Message(
        text="That every step of the training is in the history: loading an older checkpoint with Opacus "
        "replaces it, and steps are lost."
    )
    yield Message(
        text="That each row was in a step independently of all others (Poisson sampling): the history is the "
        "same for shuffled or weighted rows, which protect less."
    )
    yield Message(
        text="That no row could contribute more than the clipping norm: layers that mix rows, or rows folded "
        "into another dimension, break this without a trace."
    )
    yield Message(text="That the noise was drawn as recorded, and that nobody knows its seed.")
    yield Message(text="That it was trained on these very rows, one person in one row.")
    if accountant in _BOUND_NOTHING:
        yield Message(
            text="The accountant named in the file is {accountant}; its epsilon was not used, as it is no "
            "upper bound.",
            values={"accountant": accountant},
        )
