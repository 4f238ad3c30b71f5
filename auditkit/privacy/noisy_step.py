"""One step of the mechanism: sampled rows, clipped gradient sum, Gaussian noise, a fixed divisor."""

from collections.abc import Callable

import torch
from torch import Tensor

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients, ClippedSums
from auditkit.privacy.draws import Draws
from auditkit.privacy.gradient_buffer import GradientBuffer
from auditkit.privacy.step_place import StepPlace
from auditkit.training.threads import one_thread

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
    place: StepPlace | None = None,
) -> list[Tensor]:
    """The clipped sum of given rows plus noise, over the fixed divisor.

    Clipped gradients are added to seeded noise; certified noise is added to their sum on a grid.

    Args:
        clipped: The engine.
        rows: Inputs, targets and weights as :meth:`ClippedGradients.clipped_sum` takes them; without any
            it is a step of noise alone.
        mechanism: Its public inputs.
        draws: Of noise.
        place: Where the gradients are written. What is returned are views of it, which the next step there
            overwrites; ``None`` makes new ones.

    Returns:
        One tensor per parameter of ``clipped``.
    """
    total = GradientBuffer.like(clipped.parameters) if place is None else place.buffer
    deviation, factor = mechanism.noise_multiplier * mechanism.max_grad_norm, 1 / mechanism.normaliser
    if deviation and not draws.certified:
        if place is not None and place.noise_beside_rows:
            _sum_beside_noise(clipped, rows, draws, total, deviation=deviation, factor=factor)
        else:
            draws.fill_with_noise(total.on_cpu, deviation * factor)
            total.to_device()
            clipped.add_clipped_sum(total.parts, *rows, factor=factor)
        return total.gradients(clipped.parameters)
    total.flat.zero_()
    if not deviation:
        clipped.add_clipped_sum(total.parts, *rows, factor=factor)
        return total.gradients(clipped.parameters)
    clipped.add_clipped_sum(total.parts, *rows)
    total.to_cpu()
    draws.add_noise(total.on_cpu, deviation, mechanism.normaliser)
    total.to_device()
    return total.gradients(clipped.parameters)


def _sum_beside_noise(
    clipped: ClippedSums,
    rows: tuple[Tensor, Tensor, Tensor | None],
    draws: Draws,
    total: GradientBuffer,
    *,
    deviation: float,
    factor: float,
) -> None:
    """Another thread makes the noise while this one works on the rows, till there is something to add."""
    n_threads = torch.get_num_threads()

    def ready() -> None:
        running.wait()
        total.to_device()
        torch.set_num_threads(n_threads)

    with one_thread():
        running = draws.start_noise(total.on_cpu, deviation * factor)
        try:
            clipped.add_clipped_sum(total.parts, *rows, factor=factor, before=ready)
        finally:
            running.wait()  # where the sum failed, too: what comes next writes to the same place
