"""Private steps that several processes take together.

Every process holds all rows. Which units are in a step is one Poisson draw: the first process gives its
sampling key to the others, each makes the same draw and works on every W-th unit of it. The sum of what the
W processes found is the clipped sum of the whole step; a process without any unit in a step adds nothing but
its noise.

**Noise.** In a certified training each process adds Gaussian noise of ``sigma * C / sqrt(W)`` from a key of
its own operating system to its part of the sum; independent variances add up to ``(sigma * C)^2``. No process
knows the noise of the others, and what crosses the network is never a bare sum, as it would be if the first
process added all of it. All parts lie on one grid (see :mod:`draws`) and are added in double precision
without rounding, so that the argument for a single process holds for their sum. A training with a seed draws
all noise in the first process: the same seed gives the same noise whatever the number of processes, and hides
nothing anyway.

**Agreement.** Before the first step all processes compare rows, mechanism, settings and weights; before every
step its number and what was drawn; and from time to time the weights. Each stops where one differs. The first
process leads: it alone knows of the ledger, and the others do what it says and wait for it.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from auditkit.data.dataset import IntArray
from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients, ClippedSums
from auditkit.privacy.distributed import Processes, ProcessesDisagreeError
from auditkit.privacy.draws import Draws
from auditkit.privacy.first_steps import FirstSteps
from auditkit.privacy.noisy_step import noisy_sum
from auditkit.privacy.partial import digest_of
from auditkit.privacy.private_steps import Optimiser, PrivateSteps
from auditkit.privacy.units import Batch, PrivateUnits
from auditkit.randomness import derive_seed

WEIGHTS_COMPARED_EVERY = 50
_DIGEST_BYTES = 7
_VERSIONS = ("auditkit", "torch", "numpy")


class SharedSteps(PrivateSteps):
    """The part of one process in the steps of all.

    Args:
        clipped: Open; its parameters are trained.
        units: All private rows.
        mechanism: Its public inputs.
        how: How a gradient moves the weights.
        draws: Of this process; its sampling key becomes that of the first.
        processes: All of them.
        about: What must be the same in all of them, by name.

    Raises:
        ProcessesDisagreeError: It is not.
    """

    def __init__(
        self,
        clipped: ClippedGradients,
        units: PrivateUnits,
        mechanism: Mechanism,
        how: Optimiser,
        draws: Draws,
        *,
        measured: FirstSteps | None = None,
        processes: Processes,
        about: Mapping[str, str],
    ) -> None:
        processes.refuse_disagreement({**about, "parameters": _digest_of(clipped.parameters)})
        super().__init__(clipped, units, mechanism, how, draws, measured=measured)
        self.processes = processes
        own = draws.position()
        own["sampling"] = json.loads(processes.from_first(json.dumps(own["sampling"]).encode()))
        draws.move_to(own)

    def gradients(self, step: int) -> list[Tensor]:
        """The noisy sum over all processes, over the divisor.

        Raises:
            ProcessesDisagreeError: They are not at the same step, drew other units or have other weights.
            ProcessLostError: One of them ended.
        """
        chosen = self._draws.poisson_rows(len(self._units), self._mechanism.sample_rate)
        self._refuse_disagreement(step, chosen)
        mine = chosen[self.processes.rank :: self.processes.count]
        batch = self._batch(mine, step)
        return shared_sum(
            self._engine(step),
            batch,
            self._mechanism,
            self._draws,
            self.processes,
            fitting=lambda work: self._within_memory(step, work),
        )

    def position(self) -> dict[str, Any] | None:
        """Where sampling and noise of this process stand; a secret.

        A certified training that is asked for them is to be replayed. Its size of batches is then not changed
        between two steps that are saved, of which the other processes would not know.
        """
        if self._draws.certified:
            self._before_smaller = _refuse_smaller
        return super().position()

    def before_smaller(self, do: Callable[[int], None]) -> None:
        """Does nothing: what is saved needs all processes, and in the midst of a step they wait."""

    def take_with(self, step: int, seed: int) -> None:
        """One step, its dropout and augmentation from a stream of this process under ``seed``."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.random.manual_seed(derive_seed(seed, str(self.processes.rank)))
            super().take(step)

    def _refuse_disagreement(self, step: int, chosen: IntArray) -> None:
        compared = step % WEIGHTS_COMPARED_EVERY == 0 or step == self._mechanism.steps - 1
        weights = _digest_of(self._clipped.parameters) if compared else ""
        mine = [step, _number(chosen.tobytes()), _number(weights.encode())]
        everyone = self.processes.numbers_from_all(mine)
        names = ("step", "drawn units", "parameters")
        for rank, theirs in enumerate(everyone):
            for name, there, first in zip(names, theirs, everyone[0], strict=True):
                if there != first:
                    shown = (there, first) if name == "step" else (f"{there:014x}", f"{first:014x}")
                    raise ProcessesDisagreeError(
                        f"private training in {len(everyone)} processes: rank {rank} has {name} {shown[0]}, "
                        f"rank 0 {shown[1]}. Nothing of this step was released; start all of them from the "
                        "same config, files and versions, on machines of one kind"
                    )


def _refuse_smaller(step: int) -> None:
    raise PrivacyRefusedError(
        f"--replay in several processes: memory ends in step {step}, and on fewer rows at once it could not "
        "be replayed. Free memory and repeat the command, or go on without --replay"
    )


def _once(work: Callable[[], Tensor]) -> Tensor:
    return work()


def shared_sum(
    clipped: ClippedSums,
    batch: Batch,
    mechanism: Mechanism,
    draws: Draws,
    processes: Processes,
    *,
    fitting: Callable[[Callable[[], Tensor]], Tensor] = _once,
) -> list[Tensor]:
    """The clipped sum of the rows of all processes plus noise, over the fixed divisor; the same everywhere.

    Args:
        clipped: The engine of this process.
        batch: Its rows; maybe none.
        mechanism: Its public inputs.
        draws: Noise of this process.
        processes: All of them; each calls this at the same time.
        fitting: Calls the work of this process, maybe again, before the others are told of it.

    Returns:
        One tensor per parameter of ``clipped``.
    """
    deviation = mechanism.noise_multiplier * mechanism.max_grad_norm
    if draws.certified and deviation:
        total = fitting(lambda: _flat_sum(clipped, batch)).double().cpu()
        draws.add_noise(total.numpy(), deviation / math.sqrt(processes.count), 1.0)
        total = total.to(clipped.parameters[0].device)
        processes.add_up(total)  # multiples of a power of two below 2^53 of it: no rounding
        total /= mechanism.normaliser
    else:
        noise = mechanism.noise_multiplier if processes.is_first else 0.0
        mine = replace(mechanism, noise_multiplier=noise)
        total = fitting(
            lambda: torch.cat([part.flatten() for part in noisy_sum(clipped, batch, mine, draws)])
        )
        processes.add_up(total)
    return [
        part.to(parameter.dtype)
        for part, parameter in zip(_shaped(total, clipped.parameters), clipped.parameters, strict=True)
    ]


def _flat_sum(clipped: ClippedSums, batch: Batch) -> Tensor:
    """The clipped sum of one process in at least single precision."""
    first = clipped.parameters[0]
    dtype = torch.promote_types(first.dtype, torch.float32)
    flat = torch.zeros(sum(p.numel() for p in clipped.parameters), dtype=dtype, device=first.device)
    clipped.add_clipped_sum(_shaped(flat, clipped.parameters), *batch)
    return flat


def _shaped(flat: Tensor, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
    """Views of one long tensor in the shapes of the parameters."""
    pieces = torch.split(flat, [parameter.numel() for parameter in parameters])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, parameters, strict=True)]


def _digest_of(parameters: list[torch.nn.Parameter]) -> str:
    return digest_of({str(index): parameter for index, parameter in enumerate(parameters)})


def _number(content: bytes) -> int:
    """A whole number that stands for the content."""
    return int.from_bytes(hashlib.sha256(content).digest()[:_DIGEST_BYTES], "big")
