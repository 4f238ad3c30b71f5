"""The mechanism of private training: one row moves a step by the clipping norm at most, or it is noticed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditkit.models.given_weights import linear_layer
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import Draws
from auditkit.privacy.neighbours import NeighbourFinding, Training, compare_neighbours
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.records import Interval, Measurement, Message
from auditkit.selftest.plant import Proof

N_ROWS = 12
PROMISED = Mechanism(noise_multiplier=1.0, sample_rate=0.5, steps=6, max_grad_norm=0.5, normaliser=6.0)


def prove_sensitivity() -> Proof:
    """Take one row out of a private training, and out of one that divides by the number of sampled rows."""
    sound, faulty = (compared(train) for train in (Ours(), _by_actual_size))
    return Proof(
        name="dp-retrain",
        figure="dp-retrain/sensitivity",
        fault=Message(text="sums divided by the number of rows in the step"),
        above=max(sound.allowed, 1.0),
        with_fault=_figure(faulty),
        without_fault=_figure(sound) if sound.holds else None,
        reason="; ".join(sound.differences),
    )


def compared(train: Training, *, mechanism: Mechanism = PROMISED, value: float = 100.0) -> NeighbourFinding:
    """With and without a row of another label whose inputs are ``value``, where all others have 1."""
    inputs, targets = torch.ones(N_ROWS, 3), torch.zeros(N_ROWS, dtype=torch.int64)
    inputs[-1] *= value
    targets[-1] = 1
    return compare_neighbours(train, inputs, targets, N_ROWS - 1, mechanism)


def linear_module() -> nn.Module:
    """Two logits of three inputs, trained."""
    return linear_layer(torch.tensor([[0.5] * 3, [-0.5] * 3]), torch.zeros(2)).train()


@dataclass(frozen=True, slots=True)
class Ours:
    """The steps of the package."""

    mechanism: Mechanism = PROMISED

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Iterator[Sequence[Tensor]]:
        """See :data:`Training`."""
        clipped = ClippedGradients(linear_module(), self.mechanism.max_grad_norm)
        for _ in range(self.mechanism.steps):
            yield noisy_gradients(clipped, inputs, targets, self.mechanism, draws)


def _by_actual_size(inputs: Tensor, targets: Tensor, draws: Draws) -> Iterator[Sequence[Tensor]]:
    clipped = ClippedGradients(linear_module(), PROMISED.max_grad_norm)
    for _ in range(PROMISED.steps):
        rows = torch.from_numpy(draws.poisson_rows(len(inputs), PROMISED.sample_rate))
        total = torch.cat([part.flatten() for part in clipped.clipped_sum(inputs[rows], targets[rows])])
        noise = torch.from_numpy(draws.normal(len(total)))
        yield [(total + noise * PROMISED.max_grad_norm) / max(1, len(rows))]


def _figure(found: NeighbourFinding) -> Measurement:
    return Measurement(
        metric="sensitivity",
        value=found.moved,
        n=found.n_steps[0],
        better="lower",
        provenance="derived",
        interval=Interval.exact(found.moved),
    )
