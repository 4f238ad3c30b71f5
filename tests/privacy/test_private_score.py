"""The score of a private run: one unit moves it by 1 at most, and its noise is what was promised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.private_score import noisy_score, shares_right
from auditkit.privacy.tuned_fit import best_of
from auditkit.privacy.tuning_draw import draw_runs, uniform_of
from auditkit.privacy.units import PersonRows
from tests.privacy.ledgers import rows


class FirstThree(nn.Module):
    """Says which of the first three inputs is the largest, which in most rows of ours is the class."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :3] * self.scale


def blurred(n: int) -> Dataset:
    """Rows that :class:`FirstThree` often gets wrong."""
    data = rows(n)
    noise = np.random.default_rng(5).standard_normal(data.inputs.shape)
    return replace(data, inputs=data.inputs + torch.tensor(noise, dtype=torch.float32))


def without(data: Dataset, kept: np.ndarray) -> Dataset:
    return replace(data, inputs=data.inputs[torch.from_numpy(kept)], y_true=data.y_true[kept])


def test_the_score_of_rows_is_the_number_of_right_answers():
    data = blurred(600)
    right = (data.inputs[:, :3].argmax(1).numpy() == data.y_true).astype(float)
    assert 0 < right.sum() < 600
    np.testing.assert_array_equal(shares_right(FirstThree(), data, None), right)


def test_a_row_fewer_changes_no_answer_of_the_others():
    data, module = blurred(600), FirstThree()
    whole = shares_right(module, data, None)
    for left_out in (0, 300, 599):
        kept = np.delete(np.arange(600), left_out)
        np.testing.assert_array_equal(shares_right(module, without(data, kept), None), whole[kept])


def test_a_person_counts_once_however_many_rows_they_have():
    data = blurred(90)
    person = np.repeat([0, 1, 2], [1, 9, 80])
    found = shares_right(FirstThree(), data, PersonRows.of(person, 4))
    right = (data.inputs[:, :3].argmax(1).numpy() == data.y_true).astype(float)
    np.testing.assert_allclose(found, [right[:1].mean(), right[1:10].mean(), right[10:].mean()])


def test_answers_that_are_no_numbers_stay_within_one_row():
    data = rows(300)
    broken = FirstThree()
    with torch.no_grad():
        broken.scale.fill_(float("nan"))
    found = shares_right(broken, data, None)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("draws", [SeededDraws.from_seed(3), EntropyDraws()], ids=["seeded", "certified"])
def test_the_noise_has_the_deviation_that_was_promised(draws):
    data, module = rows(30), FirstThree()
    right = shares_right(module, data, None).sum()
    errors = [noisy_score(module, data, None, noise=5.0, draws=draws) - right for _ in range(1000)]
    # 1000 draws: mean within 5 of 5/sqrt(1000), deviation within 5 of 5/sqrt(2000); one in a million each
    assert abs(np.mean(errors)) < 0.8
    assert abs(np.std(errors) - 5.0) < 0.6


def test_the_better_of_two_planted_models_is_chosen_through_the_noise():
    """One answers 90 % of 600 rows right and one 70 %; noise of 60 rows leaves the better one ahead."""
    right, draws = (540.0, 420.0), SeededDraws.from_seed(0)
    uniform, chosen, possible = uniform_of(0, certified=False), 0, 0
    for _ in range(500):
        drawn = draw_runs("poisson", 4.0, 2, uniform)

        def take(_number, candidate):
            return right[candidate] + 60 * draws.normal(1)[0], candidate

        if len(set(drawn)) == 2:
            possible += 1
            chosen += best_of(drawn, take) == 0
    assert possible > 300
    assert 0.85 < chosen / possible < 1.0
