"""Taking an interrupted private training up again.

By default with fresh randomness: the steps since the last saved one are taken again and charged again, as
they may have been seen. A replay draws the very same rows and noise, gives the same bits, and so releases
nothing new and is not charged. It is allowed only where that was checked: same rows, same settings, same
versions and device, and the last block that was saved comes out again with the hash that it had. The same
noise under other rows or other arithmetic would cancel in the difference of the two results.

How many rows are worked on at once decides the rounding of a sum, so that it is saved with the streams; where
memory ends, what was saved is written anew before the step is taken on fewer rows (see :mod:`memory`). In a
certified replay such a step is refused if it was reserved before: it may have been taken, on more rows.

A run with noise from a seed is replayed where it can be and begun anew where it cannot: its results must
follow from the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.partial import Identity, Partial, PartialState, digest_of
from auditkit.privacy.private_steps import ROWS_AT_ONCE, PrivateSteps
from auditkit.records import ResumeMode

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where an interrupted training goes on, and how."""

    state: PartialState
    mode: ResumeMode


def find_resumption(
    partial: Partial, identity: Identity, *, n_steps: int, certified: bool, replay: bool, tell: Tell
) -> Resumption | None:
    """How to go on with what lies in ``partial``; ``None`` to begin anew.

    Args:
        partial: Where an interrupted training may lie.
        identity: Of the training that is asked for.
        n_steps: All its steps. Where all were taken nothing is repeated, so that nothing needs to be alike.
        certified: Whether its noise is to come from the operating system.
        replay: Whether a certified one is to be replayed.
        tell: Called with a sentence when something was left aside.

    Raises:
        PrivacyRefusedError: A replay was asked for and something differs, which is named, or the key of the
            noise that was kept is absent or another.
    """
    state = partial.read()
    if state is None or state.latest.step == 0:
        return None
    other_content = _differing(state.identity.content, identity.content)
    other_machine = _differing(state.identity.machine, identity.machine)
    if state.latest.step == n_steps and not other_content:
        return Resumption(state, "fresh")
    if certified and replay:
        _refuse_replay(partial, [*other_content, *other_machine])
        _refuse_replay(partial, [] if partial.noise(state.latest) else ["its noise was not kept"])
        return Resumption(state, "replay")
    if other_content:
        tell(
            f"an interrupted training in {partial.folder} was another one ({'; '.join(other_content)}); "
            "this one begins anew. What that one spent stays in the ledger"
        )
        return None
    if not certified and (other_machine or not partial.noise(state.latest)):
        tell("the interrupted training cannot be repeated bit by bit here; it begins anew, charged anew")
        return None
    return Resumption(state, "fresh" if certified else "replay")


def _refuse_replay(partial: Partial, reasons: list[str]) -> None:
    if reasons:
        raise PrivacyRefusedError(
            f"{partial.folder}: the interrupted training cannot be replayed: {'; '.join(reasons)}. Without "
            "--replay it goes on with fresh noise where rows and settings are the same, and the steps that "
            "it repeats are charged again"
        )


def go_back(steps: PrivateSteps, partial: Partial, found: Resumption) -> int:
    """Put everything back as it was; the step to go on with.

    A replay first takes the last block before it once more, and compares the hash.

    Raises:
        PrivacyRefusedError: It comes out otherwise, so nothing may be replayed here.
        CheckpointError: The saved tensors were damaged.
    """
    latest, previous = found.state.latest, found.state.previous
    if found.mode == "replay":
        noise = partial.noise(latest)
        before = None if previous is None else partial.noise(previous)
        if previous is None or before is None or noise is None:
            raise PrivacyRefusedError(f"{partial.folder}: too little was saved to check a replay. {_REMEDY}")
        steps.restore(partial.tensors(previous))
        steps.move_to(before)
        for step in range(previous.step, latest.step):
            steps.take(step)
        if digest_of(steps.tensors()) != latest.digest or _streams(steps.position()) != _streams(noise):
            raise PrivacyRefusedError(
                f"{partial.folder}: steps {previous.step} to {latest.step} came out otherwise than before, "
                f"so that this machine cannot replay them. {_REMEDY}"
            )
        steps.move_to(noise)  # the streams stand there; the rows at once may be fewer from here on
        return latest.step
    steps.restore(partial.tensors(latest))
    return latest.step


_REMEDY = "Go on without --replay, or remove that folder to begin anew"


def _streams(position: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Where the streams of every process stand, without the number of rows at once."""
    everyone = [] if position is None else position.get("processes", [position])
    return [{name: value for name, value in one.items() if name != ROWS_AT_ONCE} for one in everyone]


def _differing(there: dict[str, str], here: dict[str, str]) -> list[str]:
    return [
        f"{key} {there.get(key, 'unknown')} there, {here.get(key, 'unknown')} here"
        for key in sorted({*there, *here})
        if there.get(key) != here.get(key)
    ]
