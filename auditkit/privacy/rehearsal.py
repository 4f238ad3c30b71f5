"""A private training tried out on made-up rows, with noise and without: what does the noise take?

Rows are made up with as many inputs and classes, and trained on as if there were as many; all that is used of
the real ones is public. As nobody can know beforehand how hard real rows are, several difficulties give a
range.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditkit.data.dataset import Dataset
from auditkit.errors import AuditkitError
from auditkit.models.centred_linear import CentredLinear
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.first_steps import MeasuredCentre
from auditkit.privacy.made_up_rows import FEW_DIRECTIONS, Difficulty, MadeUpLaw
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.privacy.shortened import Recipe, Shortened, shortened
from auditkit.privacy.units import PrivateUnits
from auditkit.randomness import derive_seed, global_generators_seeded, torch_rng
from auditkit.training.threads import batch_flops, threads_for

ACCURACIES = (0.75, 0.95)
"""Of the best classifier of the made-up rows."""

N_TRAININGS = 2 * 2 * len(ACCURACIES)
"""With noise and without, on rows that vary in few directions and in all, for each accuracy."""

_ROWS_AT_ONCE = 256
_TEST_ROWS = 4096
_MOST_VALUES = 2**25
_SEED = 0

_Rows = tuple[Tensor, Tensor]
"""Inputs and classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadLoss:
    """What noise and clipping take where rows vary in so many directions, over all difficulties.

    Attributes:
        n_directions: That rows vary in.
        loss: Least and largest loss of accuracy, unit 1; below 0 where noise and clipping helped.
        without: Least and largest accuracy without noise and clipping, unit 1.
    """

    n_directions: int
    loss: tuple[float, float]
    without: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What was found on made-up rows.

    Attributes:
        n_units: Public number of units that it stands for.
        n_inputs: Of a row.
        n_classes: That are told apart.
        steps: That were taken.
        rows: In each of them on average.
        spreads: Fewest directions first; without those where the model learns little even without noise.
    """

    n_units: int
    n_inputs: int
    n_classes: int
    steps: int
    rows: int
    spreads: tuple[SpreadLoss, ...]


def rehearse(
    clipped: ClippedGradients, data: Dataset, mechanism: Mechanism, how: Recipe, steps: int
) -> Rehearsal:
    """Train a module on made-up rows of several difficulties, and leave it as it was.

    Args:
        clipped: Its module is in training mode, with the weights that the private training starts from. The
            global generators are left as they were, too.
        data: Of classification, with inputs that are numbers; only shape, type and classes are used.
        mechanism: Of the private training.
        how: Likewise.
        steps: How many to take for those of ``mechanism``.
    """
    module = clipped.module
    n_units, n_inputs = round(mechanism.normaliser / mechanism.sample_rate), math.prod(data.inputs.shape[1:])
    short = shortened(
        mechanism,
        how,
        steps=min(steps, mechanism.steps),
        n_weights=sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
        n_rows=max(1, min(n_units, _MOST_VALUES // n_inputs)),
        physical_batch_size=min(_ROWS_AT_ONCE, clipped.rows_at_once),
    )
    few = (FEW_DIRECTIONS,) if n_inputs > FEW_DIRECTIONS else ()
    rows = round(short.mechanism.normaliser)
    row = data.inputs.new_zeros(1, *data.inputs.shape[1:]).to(next(module.parameters()).device)
    with _left_as_it_was(module), threads_for(batch_flops(module, row, rows)):
        found = [_spread(module, data, short, n_units, varies_in) for varies_in in (*few, None)]
    return Rehearsal(
        n_units=n_units,
        n_inputs=n_inputs,
        n_classes=len(data.classes),
        steps=short.mechanism.steps,
        rows=rows,
        spreads=tuple(spread for spread in found if spread is not None),
    )


@contextmanager
def _left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Weights, buffers and mode are put back to the last bit: not every module can be copied."""
    before, training = _state(module), module.training
    try:
        yield
    finally:
        _put_back(module, before)
        module.train(training)


def _state(module: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in (*module.parameters(), *module.buffers())]


def _put_back(module: nn.Module, state: list[Tensor]) -> None:
    with torch.no_grad():
        for tensor, before in zip((*module.parameters(), *module.buffers()), state, strict=True):
            tensor.copy_(before)


def _spread(
    module: nn.Module, data: Dataset, short: Shortened, n_units: int, varies_in: int | None
) -> SpreadLoss | None:
    """Of rows that vary in so many directions; ``None`` where the module learns little of them anyway."""
    pairs, chance = [], 1 / len(data.classes)
    for accuracy in ACCURACIES:
        made = _MadeUp.of(module, data, short, n_units, Difficulty(accuracy=accuracy, varies_in=varies_in))
        trained = _accuracy(module, short.without_privacy, made)
        if trained > (made.best + chance) / 2:
            # A hundred steps need not be enough to learn what so many rows tell.
            pairs.append((max(made.best, trained), _accuracy(module, short, made)))
    if not pairs:
        return None
    losses, without = [before - after for before, after in pairs], [before for before, _ in pairs]
    return SpreadLoss(
        n_directions=varies_in or math.prod(data.inputs.shape[1:]),
        loss=(min(losses), max(losses)),
        without=(min(without), max(without)),
    )


@dataclass(frozen=True, slots=True)
class _MadeUp:
    """Rows to train on and rows to test on, of one law, and how well the latter can be told apart."""

    train: _Rows
    test: _Rows
    best: float

    @classmethod
    def of(
        cls, module: nn.Module, data: Dataset, short: Shortened, n_units: int, difficulty: Difficulty
    ) -> "_MadeUp":
        rng = torch_rng(_SEED, "rehearsal", str(difficulty))
        n_inputs, picture = math.prod(data.inputs.shape[1:]), data.features.image_shape
        law = MadeUpLaw.drawn(
            difficulty,
            n_inputs=n_inputs,
            n_classes=len(data.classes),
            # Features that are to be moved to their centre have length 1; other columns have variance 1.
            length=1.0 if isinstance(module, CentredLinear) else math.sqrt(n_inputs),
            picture=picture if picture is not None and math.prod(picture) == n_inputs else None,
            rng=rng,
        )
        n_rows = round(short.mechanism.normaliser / short.mechanism.sample_rate)
        train, test = law.rows(n_rows, rng), law.rows(min(_TEST_ROWS, _MOST_VALUES // n_inputs), rng)
        best = law.best_accuracy(n_units, test, rng)
        device = next(module.parameters()).device

        def shaped(rows: _Rows) -> _Rows:
            inputs, classes = rows
            inputs = inputs.reshape(-1, *data.inputs.shape[1:])
            return inputs.to(device, data.inputs.dtype), classes.to(device)

        return cls(shaped(train), shaped(test), best)


def _accuracy(module: nn.Module, short: Shortened, made: _MadeUp) -> float:
    """Of what comes out of the training; the module is as before."""
    before, seed = _state(module), derive_seed(_SEED, "rehearsal")
    with (
        global_generators_seeded(seed),
        ClippedGradients(
            module.train(),
            short.mechanism.max_grad_norm,
            physical_batch_size=short.physical_batch_size,
            clipping=short.clipping,
        ) as clipped,
    ):
        measured = None
        if isinstance(module, CentredLinear):
            measured = MeasuredCentre(module.centre, short.mechanism)
        steps = PrivateSteps(
            clipped,
            PrivateUnits(inputs=made.train[0], targets=made.train[1]),
            short.mechanism,
            short,
            SeededDraws.from_seed(seed),
            measured=measured,
        )
        try:
            for step in range(short.mechanism.steps):
                steps.take(step)
            steps.finish()
            return _share_right(module, made.test, short.physical_batch_size)
        except AuditkitError:  # it diverged
            return 0.0
        finally:
            _put_back(module, before)


def _share_right(module: nn.Module, test: _Rows, at_once: int) -> float:
    module.eval()
    with torch.no_grad():
        chosen = torch.cat([module(part).argmax(dim=1) for part in torch.split(test[0], at_once)])
    return float(chosen.eq(test[1]).float().mean())
