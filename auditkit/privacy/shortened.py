"""A short training that stands for a long one, with the same noise in all.

Where k steps become one, the step size is k times as large for sgd and sqrt(k) times for adam, and the noise
of a step over the number of its rows smaller by sqrt(k): what rows and noise add up to over all steps stays
the same, as in the limit of small steps (Malladi et al. 2022, arXiv:2205.10205, for adam). Chance in who is
sampled grows with fewer rows; as many are taken as keep it small beside the noise of privacy.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import Clipping
from auditkit.privacy.private_steps import Optimiser

FEWEST_ROWS, MOST_ROWS = 64, 256
SAMPLING_SHARE = 0.1
"""Variance of sampling over that of noise, in a step, where the most rows allow it."""

_UNCLIPPED, _PACE = 1e9, 0.01


class Recipe(Optimiser, Protocol):
    """The part of the settings that says how rows move the weights."""

    @property
    def clipping(self) -> Clipping: ...  # noqa: D102 - see DpSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """A training that stands for a longer one; attributes as of the mechanism and settings of that one."""

    mechanism: Mechanism
    clipping: Clipping
    optimizer: Literal["adam", "sgd"]
    learning_rate: float | None
    momentum: float
    averaging: float
    physical_batch_size: int

    @property
    def without_privacy(self) -> "Shortened":
        """As many steps with neither noise nor clipping, by adam at its usual pace.

        A step size that was chosen for clipped gradients, or that follows from the noise, would tell more
        about itself: without clipping it can be too large to learn anything, or far too small.
        """
        mechanism = replace(self.mechanism, noise_multiplier=0.0, max_grad_norm=_UNCLIPPED)
        return replace(self, mechanism=mechanism, clipping="flat", optimizer="adam", learning_rate=_PACE)


def shortened(
    mechanism: Mechanism, how: Recipe, *, steps: int, n_weights: int, n_rows: int, physical_batch_size: int
) -> Shortened:
    """A training of ``steps`` steps out of at most ``n_rows`` rows.

    Args:
        mechanism: Of the whole training.
        how: Likewise.
        steps: At most as many as ``mechanism`` has.
        n_weights: That are trained.
        n_rows: At most so many are there.
        physical_batch_size: Rows that memory has room for at once.
    """
    together = mechanism.steps / steps
    of_row = mechanism.noise_multiplier / mechanism.normaliser / math.sqrt(together)
    rows = _rows_per_step(of_row * math.sqrt(n_weights), min(n_rows, round(mechanism.normaliser)))
    rate, grown = how.learning_rate, math.sqrt(together) if how.optimizer == "adam" else together
    return Shortened(
        mechanism=Mechanism(
            noise_multiplier=of_row * rows,
            sample_rate=rows / min(n_rows, max(rows, steps * rows)),
            steps=steps,
            max_grad_norm=mechanism.max_grad_norm,
            normaliser=float(rows),
        ),
        clipping=how.clipping,
        optimizer=how.optimizer,
        learning_rate=None if rate is None else rate * grown,
        momentum=how.momentum,
        averaging=how.averaging**together,
        physical_batch_size=physical_batch_size,
    )


def _rows_per_step(noise_to_signal: float, at_most: int) -> int:
    """As many as make chance small: their mean errs by one over their root, where gradients have length 1."""
    wanted = 1 / (SAMPLING_SHARE * max(noise_to_signal, 1e-3) ** 2)
    return min(at_most, max(FEWEST_ROWS, min(MOST_ROWS, round(wanted))))
