"""Noise that somebody can draw again, told by drawing it again."""

from collections.abc import Callable
from functools import partial

import torch

from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import Draws, EntropyDraws, SeededDraws
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.records import Message
from auditkit.selftest.breaks import Break
from auditkit.selftest.mechanism import N_ROWS, PROMISED, linear_module


def noise_faults() -> tuple[Break, ...]:
    """The one of them."""
    return (
        Break(
            fault=Message(text="certified noise that comes from a seed"),
            figure="values_drawn_again",
            faulty=partial(_drawn_again, partial(SeededAsCertified.from_seed, 7)),
            sound=partial(_drawn_again, EntropyDraws),
        ),
    )


class SeededAsCertified(SeededDraws):
    """Says of itself that nothing repeats it."""

    certified = True


def _drawn_again(make: Callable[[], Draws]) -> tuple[int, int]:
    """How many values of a step come out once more in a second training, of how many."""
    one, other = _released(make()), _released(make())
    return int((one == other).sum()), len(one)


def _released(draws: Draws) -> torch.Tensor:
    inputs, targets = torch.ones(N_ROWS, 3), torch.zeros(N_ROWS, dtype=torch.int64)
    clipped = ClippedGradients(linear_module(), PROMISED.max_grad_norm)
    return torch.cat([p.flatten() for p in noisy_gradients(clipped, inputs, targets, PROMISED, draws)])
