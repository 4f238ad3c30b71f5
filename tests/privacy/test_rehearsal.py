"""A private training on made-up rows: what they are, what a short one keeps of a long one, what is lost."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.models.centred_linear import CentredLinear
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.dp_settings import DpSettings, plan
from auditkit.privacy.made_up_rows import Difficulty, MadeUpLaw
from auditkit.privacy.rehearsal import rehearse
from auditkit.privacy.shortened import shortened
from auditkit.randomness import torch_rng
from tests.tolerances import FLOAT, FLOAT32, statistical

N_TEST = 20_000
ROWS = {"n_rows": 4000, "physical_batch_size": 256}
HOW = DpSettings(epsilon=1.0, delta=1e-4)
LONG = Mechanism(noise_multiplier=8.0, sample_rate=0.1, steps=1000, max_grad_norm=1.0, normaliser=400.0)


def law(*, accuracy=0.85, varies_in=None, n_inputs=40, n_classes=4, picture=None, seed=0):
    return MadeUpLaw.drawn(
        Difficulty(accuracy=accuracy, varies_in=varies_in),
        n_inputs=n_inputs,
        n_classes=n_classes,
        length=3.0,
        picture=picture,
        rng=torch_rng(seed, "law"),
    )


def dataset(inputs, classes, n_classes, **features):
    return Dataset(
        name="made up",
        source="test",
        split=None,
        inputs=inputs,
        y_true=classes.numpy(),
        classes=tuple(f"class {index}" for index in range(n_classes)),
        features=FeatureSpace((), **features),
    )


def learner(n_inputs, n_classes):
    """Linear, from small weights."""
    module = nn.Linear(n_inputs, n_classes)
    with torch.no_grad():
        module.weight.copy_(0.01 * torch.randn(module.weight.shape, generator=torch_rng(0, "weights")))
        module.bias.zero_()
    return module


SHAPES = {
    "few directions": {"varies_in": 16},
    "all directions": {},
    "pictures": {"varies_in": 16, "n_inputs": 48, "picture": (6, 8)},
    "more classes than inputs": {"n_inputs": 3, "n_classes": 5},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("accuracy", [0.75, 0.95])
def test_the_best_rule_is_right_as_often_as_was_planted(shape, accuracy):
    made, rng = law(accuracy=accuracy, **shape), torch_rng(0, "rows")
    found = made.best_accuracy(10**9, made.rows(N_TEST, rng), rng)
    assert found == pytest.approx(accuracy, abs=statistical(4096, p=accuracy))


def test_with_fewer_rows_to_learn_from_the_best_rule_is_worse():
    made, rng = law(), torch_rng(0, "rows")
    test = made.rows(N_TEST, rng)
    assert made.best_accuracy(200, test, rng) < made.best_accuracy(10**6, test, rng) - 0.02


def test_rows_vary_in_as_many_directions_as_asked_and_are_as_long():
    made = law(varies_in=16)
    inputs, classes = made.rows(2000, torch_rng(0, "rows"))
    assert int(torch.linalg.matrix_rank(inputs - made.scale * made.means[classes])) == 16
    assert float(inputs.square().sum(dim=1).mean()) == pytest.approx(9.0, rel=0.05)
    assert classes.bincount().tolist() == [500] * 4


def test_rows_of_pictures_vary_in_the_coarsest_patterns():
    made = law(varies_in=16, n_inputs=64, picture=(8, 8))
    pictures = made.rows(400, torch_rng(0, "rows"))[0].reshape(-1, 8, 8)
    steps = pictures.diff(dim=2).square().mean() / pictures.square().mean()
    assert steps < 1.0  # of independent pixels it is 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_short_training_adds_up_to_as_much_noise_as_the_long_one(optimizer):
    how = replace(HOW, optimizer=optimizer, learning_rate=0.5)
    short = shortened(LONG, how, steps=100, n_weights=50, **ROWS)

    def total(mechanism, rate):
        noise = mechanism.noise_multiplier / mechanism.normaliser if optimizer == "sgd" else 1.0
        return rate * noise * math.sqrt(mechanism.steps)

    assert short.mechanism.steps == 100
    assert total(short.mechanism, short.learning_rate) == pytest.approx(total(LONG, 0.5), **FLOAT)


def test_a_short_training_holds_rows_against_noise_as_the_long_one_does():
    """Over all steps the mean gradient adds up as often as steps, the noise of it as their root."""
    short = shortened(LONG, HOW, steps=100, n_weights=50, **ROWS).mechanism

    def share(mechanism):
        return mechanism.noise_multiplier / mechanism.normaliser / math.sqrt(mechanism.steps)

    assert share(short) == pytest.approx(share(LONG), **FLOAT)


def test_without_much_noise_more_rows_keep_chance_small():
    mechanisms = (LONG, replace(LONG, noise_multiplier=0.1))
    shorts = [shortened(one, HOW, steps=100, n_weights=5000, **ROWS) for one in mechanisms]
    assert [short.mechanism.normaliser for short in shorts] == [64, 256]


def rehearsed(module, blank, mechanism, steps):
    with ClippedGradients(module, mechanism.max_grad_norm) as clipped:
        return rehearse(clipped, blank, mechanism, HOW, steps)


def losses_of(mechanism):
    """Least and largest, of rows of 24 inputs and 3 classes."""
    blank = dataset(torch.zeros(3, 24), torch.arange(3), 3)
    rehearsal = rehearsed(learner(24, 3), blank, mechanism, 50)
    ends = [end for spread in rehearsal.spreads for end in spread.loss]
    return min(ends), max(ends)


def test_more_noise_and_fewer_rows_lose_more():
    many = Mechanism(noise_multiplier=6.0, sample_rate=0.1, steps=300, max_grad_norm=1.0, normaliser=400.0)
    few = replace(many, normaliser=40.0)
    most = [losses_of(one)[1] for one in (many, few, replace(few, noise_multiplier=24.0))]
    assert most[0] + 0.02 < most[1] < most[2] - 0.05


def test_the_loss_of_a_planted_training_lies_within_what_was_foretold():
    """Rows of another law, in between, trained on in all their steps; a point on either side is chance."""
    low, high = losses_of(plan(replace(HOW, steps=300), 1e-4, 800))
    inside = 0
    for seed in range(3):
        made, rng = law(varies_in=20, n_inputs=24, n_classes=3, seed=seed), torch_rng(seed, "rows")
        made = replace(made, scale=made.scale * math.sqrt(24) / 3.0)
        train, test = made.rows(800, rng), made.rows(N_TEST, rng)
        fitted = dp_fit(learner(24, 3), dataset(*train, 3), replace(HOW, steps=300), seed=seed)
        with torch.no_grad():
            private = float(fitted.module(test[0]).argmax(dim=1).eq(test[1]).float().mean())
        inside += low - 0.01 <= made.best_accuracy(800, test, rng) - private <= high + 0.01
    assert inside >= 2


def test_weights_buffers_mode_and_generators_stay_as_they_were():
    module = CentredLinear(20, 3)
    module.centre.fill_(0.25)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    generator = torch.random.get_rng_state()
    blank = dataset(torch.zeros(3, 20), torch.arange(3), 3)
    rehearsed(module.train(), blank, replace(LONG, steps=5), 100)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert torch.equal(generator, torch.random.get_rng_state())
    assert module.training
    assert [parameter.grad for parameter in module.parameters()] == [None, None]


def test_the_same_rehearsal_gives_the_same_figures():
    blank = dataset(torch.zeros(3, 20), torch.arange(3), 3)
    mechanism = replace(LONG, steps=5)
    first, second = (rehearsed(learner(20, 3), blank, mechanism, 100) for _ in range(2))
    assert first == second
    assert [spread.n_directions for spread in first.spreads] == [16, 20]


def test_a_training_of_few_steps_is_rehearsed_as_it_is():
    short = shortened(
        replace(LONG, steps=20), HOW, steps=20, n_weights=50, n_rows=4000, physical_batch_size=256
    )
    assert short.learning_rate == HOW.learning_rate
    assert short.averaging == HOW.averaging
    noise = short.mechanism.noise_multiplier / short.mechanism.normaliser
    assert noise == pytest.approx(LONG.noise_multiplier / LONG.normaliser, **FLOAT32)
