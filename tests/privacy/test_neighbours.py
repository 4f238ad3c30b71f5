"""Two sets of rows that differ in one, the same random numbers: only what the row adds may differ."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.models.losses import per_row_loss
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.neighbours import compare_neighbours
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.privacy.units import PrivateUnits
from auditkit.randomness import torch_rng
from tests.privacy import networks
from tests.privacy.networks import built
from tests.privacy.unsuitable import Standardised

PROMISED = Mechanism(noise_multiplier=1.0, sample_rate=0.5, steps=8, max_grad_norm=0.5, normaliser=10.0)
N_ROWS, PLANTED = 20, 19


def rows_with(planted: float = 50.0, shape: tuple[int, ...] = (6,)):
    """Alike but for one, which is far off and labelled as the network least expects."""
    inputs = torch.randn(N_ROWS, *shape, generator=torch_rng(0, "rows")) * 0.1 + 1.0
    inputs[PLANTED] = planted
    targets = torch.zeros(N_ROWS, dtype=torch.int64)
    if shape == (6,):
        targets[PLANTED] = built(networks.mlp)(inputs[PLANTED:].nan_to_num()).argmin()
    return inputs, targets


def ours(make=networks.mlp, **options):
    def train(inputs, targets, draws):
        with ClippedGradients(built(make), PROMISED.max_grad_norm, **options) as clipped:
            for _ in range(PROMISED.steps):
                yield noisy_gradients(clipped, inputs, targets, PROMISED, draws)

    return train


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (networks.mlp, (6,)),
        (networks.convolutional, (1, 8, 8)),
        (networks.Recurrent, (5, 6)),
        (networks.FusedAttention, (5, 6)),
    ],
    ids=["mlp", "convolution", "lstm", "attention"],
)
@pytest.mark.parametrize("planted", [50.0, math.inf, math.nan, 1e38], ids=["large", "inf", "nan", "overflow"])
def test_one_row_moves_our_steps_by_no_more_than_the_norm(make, shape, planted):
    inputs, targets = rows_with(planted, shape)
    found = compare_neighbours(ours(make), inputs, targets, PLANTED, PROMISED)
    assert found.holds, found


def test_the_row_shows_at_all():
    found = compare_neighbours(ours(), *rows_with(), PLANTED, PROMISED)
    assert found.moved == pytest.approx(1.0, abs=1e-4)
    assert found.steps_with_row > 0


def test_physical_batches_do_not_change_what_a_row_can_move():
    found = compare_neighbours(ours(physical_batch_size=3), *rows_with(), PLANTED, PROMISED)
    assert found.holds, found


def twofold(rows: torch.Tensor) -> torch.Tensor:
    return rows.repeat_interleave(2, dim=0)


def test_two_copies_of_a_row_as_one_unit_move_no_more_than_one():
    def train(inputs, targets, draws):
        clipped = ClippedGradients(built(networks.mlp), PROMISED.max_grad_norm, rows_per_unit=2)
        for _ in range(PROMISED.steps):
            yield noisy_gradients(
                clipped,
                inputs,
                targets,
                PROMISED,
                draws,
                augment=lambda rows: rows.repeat_interleave(2, dim=0),
            )

    found = compare_neighbours(train, *rows_with(), PLANTED, PROMISED)
    assert found.holds, found


def test_the_steps_that_a_training_takes_move_no_more_than_the_norm():
    def train(inputs, targets, draws):
        rows = Dataset(
            name="rows",
            source="test",
            split=None,
            inputs=inputs,
            y_true=targets.numpy(),
            classes=("a", "b", "c"),
        )
        clipped = ClippedGradients(built(networks.mlp), PROMISED.max_grad_norm)
        units = PrivateUnits.of(rows, torch.device("cpu"))
        settings = DpSettings(epsilon=1.0, learning_rate=0.01)
        steps = PrivateSteps(clipped, units, PROMISED, settings, draws)
        for step in range(PROMISED.steps):
            yield [gradient.clone() for gradient in steps.gradients(step)]

    found = compare_neighbours(train, *rows_with(), PLANTED, PROMISED)
    assert found.holds, found
    assert found.moved == pytest.approx(1.0, abs=1e-4)


# --- planted breaks --------------------------------------------------------------------------------


def noise(draws, size: int, deviation: float) -> torch.Tensor:
    values = torch.empty(size)
    draws.fill_with_noise(values.numpy(), deviation)
    return values


def broken(
    *,
    make=networks.mlp,
    sizes_of_batch: bool = False,
    each_layer: bool = False,
    noise_by_batch: bool = False,
    twice: bool = False,
    no_clipping_of_inf: bool = False,
    steps_of_rows: bool = False,
    rate_of_rows: bool = False,
    slow: float = 1.0,
    late: bool = False,
):
    """DP-SGD written out plainly, with one thing wrong."""

    def train(inputs, targets, draws):
        module = built(make)
        parameters = list(module.parameters())
        n_steps = len(inputs) // 2 if steps_of_rows else PROMISED.steps
        rate = 10 / len(inputs) if rate_of_rows else PROMISED.sample_rate
        before = 0.0
        for _ in range(n_steps):
            rows = torch.from_numpy(draws.poisson_rows(len(inputs), rate))
            rows = torch.cat([rows, rows[-1:]]) if twice else rows
            sums = [torch.zeros_like(p) for p in parameters]
            losses = per_row_loss(module(inputs[rows]), targets[rows])
            for loss in losses:
                gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
                add_clipped(sums, gradients, each_layer, finite_only=not no_clipping_of_inf)
            divisor = float(len(rows)) if sizes_of_batch else PROMISED.normaliser
            deviation = PROMISED.noise_multiplier * PROMISED.max_grad_norm
            deviation *= len(rows) / PROMISED.normaliser if noise_by_batch else 1.0
            flat = torch.cat([part.flatten() for part in sums])
            if late:
                before, flat = flat, 0.5 * flat + 0.5 * before
            yield [(flat + noise(draws, len(flat), deviation)) * slow / divisor]

    return train


def add_clipped(sums, gradients, each_layer: bool, *, finite_only: bool) -> None:
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    if finite_only and not math.isfinite(norm):
        return
    for total, gradient in zip(sums, gradients, strict=True):
        length = float(gradient.norm()) if each_layer else norm
        total.add_(gradient * min(1.0, PROMISED.max_grad_norm / length) if length else gradient)


def test_the_plain_mechanism_without_a_break_holds():
    found = compare_neighbours(broken(), *rows_with(), PLANTED, PROMISED)
    assert found.holds, found


@pytest.mark.parametrize(
    "fault",
    [
        {"sizes_of_batch": True},
        {"each_layer": True},
        {"noise_by_batch": True},
        {"twice": True},
        {"no_clipping_of_inf": True},
        {"steps_of_rows": True},
        {"rate_of_rows": True},
        {"make": lambda: nn.Sequential(Standardised(), nn.Linear(3, 3))},
        {"slow": 1.01},
        {"late": True},
    ],
    ids=[
        "divided by the actual batch",
        "clipped layer by layer",
        "noise by the batch",
        "an index twice",
        "a row that is not finite",
        "as many steps as rows allow",
        "a rate that follows the rows",
        "a batch that couples rows",
        "one per cent too much",
        "half of every sum a step later",
    ],
)
def test_every_planted_break_is_caught(fault):
    planted = math.inf if "no_clipping_of_inf" in fault else 50.0
    found = compare_neighbours(broken(**fault), *rows_with(planted), PLANTED, PROMISED)
    assert not found.holds, found


def test_a_step_without_the_row_moves_by_nothing_at_all():
    assert compare_neighbours(ours(), *rows_with(), PLANTED, PROMISED).moved_without_row == 0
    found = compare_neighbours(broken(late=True), *rows_with(), PLANTED, PROMISED)
    assert found.differences == ("a step without the row moves",)


def test_fewer_steps_than_promised_are_a_difference():
    promised = replace(PROMISED, steps=PROMISED.steps + 1)
    found = compare_neighbours(ours(), *rows_with(), PLANTED, promised)
    assert found.differences == ("other numbers of steps",)


def test_a_row_that_was_never_sampled_shows_nothing():
    def idle(inputs, targets, draws):
        draws.poisson_rows(len(inputs), 0.0)
        yield [torch.zeros(3)]

    assert not compare_neighbours(idle, *rows_with(), PLANTED, PROMISED).holds
