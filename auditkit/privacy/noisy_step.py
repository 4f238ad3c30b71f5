"""One step of the mechanism: sampled rows, clipped gradient sum, Gaussian noise, a fixed divisor."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients, ClippedSums
from auditkit.privacy.draws import Draws

Augment = Callable[[Tensor], Tensor]
"""From ``(n, ...)`` inputs to ``K`` copies of each, ``(n * K, ...)``, copies of a row in sequence."""


def noisy_gradients(
    clipped: ClippedGradients,
    inputs: Tensor,
    targets: Tensor,
    mechanism: Mechanism,
    draws: Draws,
    *,
    row_weights: Tensor | None = None,
    augment: Augment | None = None,
) -> list[Tensor]:
    """One step of the mechanism: the clipped sum of one Poisson-sampled batch plus noise, over the divisor.

    Args:
        clipped: With K rows per unit.
        inputs: All rows, those of a unit in sequence; with ``augment`` one row per unit.
        targets: Of ``inputs``.
        mechanism: Its public inputs; units are sampled.
        draws: Of sampling and noise.
        row_weights: See :meth:`ClippedGradients.clipped_sum`.
        augment: Makes the K copies of each sampled row, whose gradients are averaged before clipping.

    Returns:
        One tensor per parameter of ``clipped``, newly made.
    """
    per_unit = 1 if augment else clipped.rows_per_unit
    units = torch.from_numpy(draws.poisson_rows(len(inputs) // per_unit, mechanism.sample_rate))
    rows = (units[:, None] * per_unit + torch.arange(per_unit)).flatten().to(inputs.device)
    chosen, their_targets = inputs[rows], targets[rows]
    if augment is not None:
        copies = clipped.rows_per_unit
        chosen, their_targets = augment(chosen), their_targets.repeat_interleave(copies, dim=0)
        row_weights = None
    return noisy_sum(
        clipped,
        (chosen, their_targets, None if row_weights is None else row_weights[rows]),
        mechanism,
        draws,
    )


def noisy_sum(
    clipped: ClippedSums,
    rows: tuple[Tensor, Tensor, Tensor | None],
    mechanism: Mechanism,
    draws: Draws,
) -> list[Tensor]:
    """The clipped sum of given rows plus noise, over the fixed divisor.

    All gradients lie in one buffer. Seeded noise is made in it by other threads while the rows are worked on,
    and the clipped gradients are added to the noise; certified noise is added to their sum on a grid.

    Args:
        clipped: The engine.
        rows: Inputs, targets and weights as :meth:`ClippedGradients.clipped_sum` takes them; without any
            it is a step of noise alone.
        mechanism: Its public inputs.
        draws: Of noise.
    """
    total = _Buffer.like(clipped.parameters)
    deviation = mechanism.noise_multiplier * mechanism.max_grad_norm
    if deviation and not draws.certified:
        running = draws.start_noise(total.on_cpu, deviation / mechanism.normaliser)

        def finish() -> None:
            running.wait()
            total.to_device()

        clipped.add_clipped_sum(total.parts, *rows, factor=1 / mechanism.normaliser, before=finish)
        return total.gradients(clipped.parameters)
    total.flat.zero_()
    if not deviation:
        clipped.add_clipped_sum(total.parts, *rows, factor=1 / mechanism.normaliser)
        return total.gradients(clipped.parameters)
    clipped.add_clipped_sum(total.parts, *rows)
    total.to_cpu()
    draws.add_noise(total.on_cpu, deviation, mechanism.normaliser)
    total.to_device()
    return total.gradients(clipped.parameters)


@dataclass(frozen=True, slots=True)
class _Buffer:
    """One flat tensor, its parts in the shapes of parameters, and its values as an array on the CPU."""

    flat: Tensor
    parts: list[Tensor]
    on_cpu: Any

    @classmethod
    def like(cls, parameters: list[torch.nn.Parameter]) -> "_Buffer":
        """Not initialised; in double precision where a parameter is, else single."""
        double = any(parameter.dtype == torch.float64 for parameter in parameters)
        size = sum(parameter.numel() for parameter in parameters)
        dtype, device = torch.float64 if double else torch.float32, parameters[0].device
        flat = torch.empty(size, dtype=dtype, device=device)
        ends = accumulate(parameter.numel() for parameter in parameters)
        parts = [
            flat[end - parameter.numel() : end].view(parameter.shape)
            for end, parameter in zip(ends, parameters, strict=True)
        ]
        on_cpu = flat if device.type == "cpu" else torch.empty(size, dtype=dtype)
        return cls(flat, parts, on_cpu.numpy())

    def to_device(self) -> None:
        """Take the values on the CPU over."""
        if self.flat.device.type != "cpu":
            self.flat.copy_(torch.from_numpy(self.on_cpu))

    def to_cpu(self) -> None:
        """Copy the values to the CPU."""
        if self.flat.device.type != "cpu":
            torch.from_numpy(self.on_cpu).copy_(self.flat)

    def gradients(self, parameters: list[torch.nn.Parameter]) -> list[Tensor]:
        """The parts in the precision of the parameters."""
        return [part.to(parameter.dtype) for part, parameter in zip(self.parts, parameters, strict=True)]
