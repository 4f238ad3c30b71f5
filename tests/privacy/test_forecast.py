"""What a training will come to, before it begins."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.forecast import forecast
from tests.privacy.ledgers import MECHANISM, network, rows

SHORT = replace(MECHANISM, steps=12)
HOW = DpSettings(epsilon=3.0)


def forecast_of(data, mechanism=SHORT, module=None, n_measuring=0):
    with ClippedGradients((module or network()).train(), 1.0) as clipped:
        return forecast(clipped, data, mechanism, HOW, n_measuring=n_measuring)


def texts(task="classification"):
    words = TokenSpace(("", "good", "bad"))
    return Dataset(
        name="reviews",
        source="reviews.csv",
        split=None,
        inputs=torch.tensor([[1, 1, 2], [2, 2, 1]] * 3),
        y_true=np.array([1, 2] * 3 if task == "language-modelling" else [1, 0] * 3),
        classes=words.vocabulary if task == "language-modelling" else ("no", "yes"),
        features=FeatureSpace((), tokens=words),
        task=task,
    )


def test_the_noise_is_held_against_the_largest_sum_it_can_hide():
    module = network().train()
    generator = torch.random.get_rng_state()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    found = forecast_of(rows(), module=module)
    n_parameters = sum(parameter.numel() for parameter in before)
    assert found.n_parameters == n_parameters
    assert found.noise_to_signal == pytest.approx(2.0 * math.sqrt(n_parameters) / 60)
    assert found.duration_s > 0
    assert found.energy.low <= found.energy.value <= found.energy.high
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert module.training


def test_the_loss_of_accuracy_is_a_range_that_says_what_it_was_found_on():
    lines = list(forecast_of(rows(), replace(MECHANISM, steps=101), nn.Linear(6, 3)).sentences())
    assert "101 steps of 60 rows" in lines[0]
    assert lines[2].startswith("loss of accuracy: about ")
    assert lines[2].endswith("points where rows vary in all 6 (estimated)")
    assert "as if there were 600, with 6 inputs and 3 classes" in lines[3]
    assert "100 steps of 60 stand for 101 of 60" in lines[3]
    assert "None of your rows was looked at" in lines[3]


def test_steps_that_measure_are_told_of_and_train_nothing():
    module = nn.Linear(6, 3)
    found = forecast_of(rows(), replace(MECHANISM, steps=115), module, n_measuring=14)
    lines = list(found.sentences())
    assert lines[0].endswith("; the first 14 measure what rows look like")
    assert "100 steps of 60 stand for 101 of 60" in lines[3]
    assert found.rehearsal == forecast_of(rows(), replace(MECHANISM, steps=101), module).rehearsal


def test_the_values_of_the_rows_play_no_part():
    poisoned = rows()
    poisoned.inputs.fill_(float("nan"))
    found = forecast_of(poisoned)
    assert found.duration_s > 0
    assert found.rehearsal == forecast_of(rows()).rehearsal


class Bags(nn.Module):
    """Counts of words to classes, or at every place the next word."""

    def __init__(self, n_outputs, *, everywhere):
        super().__init__()
        self.output = nn.Linear(3, n_outputs)
        self.everywhere = everywhere

    def forward(self, ids):
        marks = nn.functional.one_hot(ids, 3).float()
        return self.output(marks if self.everywhere else marks.mean(dim=1))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("classification", "for which nothing made up can stand in"),
        ("language-modelling", "model of language"),
    ],
)
def test_where_nothing_can_stand_in_that_is_said(task, why):
    data = texts(task)
    module = Bags(len(data.classes), everywhere=task == "language-modelling")
    found = forecast_of(data, replace(SHORT, normaliser=6.0), module)
    assert found.rehearsal is None
    (line,) = [line for line in found.sentences() if line.startswith("loss of accuracy")]
    assert "not known beforehand" in line
    assert why in line


class Slow(nn.Linear):
    """Works as long as a large network."""

    def forward(self, rows):
        for _ in range(40):
            torch.ones(400, 400) @ torch.ones(400, 400)
        return super().forward(rows)


def test_a_rehearsal_that_would_take_too_long_is_left_out_and_that_is_said():
    found = forecast_of(rows(), replace(MECHANISM, steps=400), Slow(6, 3))
    assert found.rehearsal is None
    assert "to try it out on made-up ones would take" in found.unknown_loss


class Deaf(nn.Linear):
    """Gives every row the same answer."""

    def forward(self, rows):
        return super().forward(rows * 0)


def test_a_model_that_learns_little_of_made_up_rows_tells_nothing():
    found = forecast_of(rows(), SHORT, Deaf(6, 3))
    assert found.rehearsal is None
    assert "learns little from made-up rows" in found.unknown_loss
