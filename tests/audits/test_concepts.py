"""Concepts: closed forms, Captum's TCAV, silence on random concepts, layers and classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from captum.concept import CAV, TCAV, Classifier, Concept
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import nn

from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.layers import Place, places_of
from auditkit.audits.explainability.concepts.sensitivity import Explained, Plan, Pool, sensitivity
from auditkit.audits.explainability.concepts.vectors import PENALTY, coefficients, held_out_accuracy
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.config import Architecture
from auditkit.errors import UsageError
from auditkit.execution.isolation import unchanged
from auditkit.models.given_weights import linear_layer
from auditkit.records import Message
from auditkit.selftest.subjects import logistic, rows_of, subject_of
from auditkit.subjects.torch_subject import TorchSubject
from tests.audits.concept_scenes import REAL, figures, measured, network, pool_of, rng_of, scene
from tests.tolerances import FLOAT, FLOAT32, statistical

# --- right figures -----------------------------------------------------------------------------------


def test_along_a_linear_score_the_effect_is_the_weight_times_the_step_of_the_means():
    subject, data = scene(weight=2.0, clean=0.0)
    data = replace(data, inputs=data.inputs * torch.tensor([1.0, 0.0, 1.0]))
    found = figures(measured(subject, data))
    assert found["concept_effect[real,yes]"].value == pytest.approx(1.0, **FLOAT32)
    assert found["tcav_score[real,yes]"].value == 1.0
    assert found["shown_concepts[]"].value == 1


def test_a_concept_that_speaks_against_the_class_scores_nothing():
    subject, data = scene(weight=-4.0)
    output = measured(subject, data)
    found = figures(output)
    assert found["tcav_score[real,yes]"].value == 0.0
    assert found["concept_effect[real,yes]"].interval.high < 0
    assert "speaks against" in output.evidence[0].title.text


def test_of_a_score_that_bends_the_share_of_rows_is_that_of_positive_slopes():
    """logit = |x1|: along x1 it rises for rows with x1 > 0 and falls for the others."""
    bend = nn.Sequential(
        linear_layer(torch.tensor([[1.0, 0.0]])),
        linear_layer(torch.tensor([[1.0], [-1.0]])),
        nn.ReLU(),
        linear_layer(torch.tensor([[0.0, 0.0], [1.0, 1.0]])),
    )
    rng = rng_of(1)
    inputs = rng.normal(size=(300, 2)) + np.array([0.5, 0.0])
    shows = inputs[:, 0] > 0.5
    data = rows_of(inputs, inputs[:, 1] > 0, groups={"real": np.where(shows, "yes", "no").tolist()})
    found = figures(measured(subject_of(bend), data, layers=["0"], max_rows=1000))
    expected = (inputs[inputs[:, 1] > 0, 0] > 0).mean()
    score = found["tcav_score[real,yes]"]
    assert score.value == pytest.approx(expected, **FLOAT)
    assert score.interval.low < expected < score.interval.high


class NoClassifier(Classifier):
    """Captum asks for one; the direction is given."""

    def __init__(self):
        pass

    def train_and_eval(self, dataloader, **kwargs):
        raise NotImplementedError

    def weights(self):
        raise NotImplementedError

    def classes(self):
        raise NotImplementedError


def test_score_and_effect_are_those_of_captum_with_the_same_direction(tmp_path):
    module = network((4, 8, 6, 3))
    subject = TorchSubject.build(module, architecture=Architecture(name="test"), classes=("a", "b", "c"))
    rng = rng_of(2)
    inputs = torch.from_numpy(rng.normal(size=(60, 4))).float()
    (place,) = places_of(subject, ("1",), inputs)
    reader = Reader(subject, place, "mean", None, 16)
    shows = np.arange(60) % 2 == 0
    pool = Pool(reader.activations(inputs), shows, np.arange(60))
    target = torch.full((60,), 2)
    gradients = reader.gradients(inputs, target, LogitScore(subject))
    own = sensitivity(
        pool, Explained(gradients, np.arange(60)), Plan("mean-difference", 39, 50, 1, 0.95), rng
    )

    theirs = LayerGradientXActivation(module, module[1], multiply_by_inputs=False).attribute(inputs, target=2)
    assert gradients == pytest.approx(theirs.detach().numpy(), abs=1e-5)
    direction = pool.activations[shows].mean(axis=0) - pool.activations[~shows].mean(axis=0)
    concepts = [Concept(0, "without", None), Concept(1, "with", None)]
    stats = {"weights": torch.tensor(np.array([-direction, direction])), "classes": [0, 1]}
    tcav = TCAV(
        module,
        "1",
        classifier=NoClassifier(),
        layer_attr_method=LayerGradientXActivation(module, module[1], multiply_by_inputs=False),
        save_path=str(tmp_path),
    )
    tcav.cavs["0-1"] = {"1": CAV(concepts, "1", stats, str(tmp_path))}
    tcav.compute_cavs = lambda *_args, **_named: tcav.cavs
    captum = tcav.interpret(inputs, [concepts], target=2)["0-1"]["1"]
    assert own.effect == pytest.approx(float(captum["magnitude"][1]), abs=1e-5)
    assert own.score == pytest.approx(float(captum["sign_count"][1]), abs=1e-6)


def test_the_ridge_direction_is_that_of_scikit_learn():
    pool = pool_of()
    centred = pool.activations - pool.activations.mean(axis=0)
    penalty = PENALTY * (centred**2).sum() / len(centred)
    theirs = Ridge(alpha=penalty).fit(pool.activations, pool.shows).coef_
    kernel = pool.activations @ pool.activations.T
    own = coefficients(kernel, pool.shows[None], "ridge")[0] @ pool.activations
    step = pool.activations[pool.shows].mean(axis=0) - pool.activations[~pool.shows].mean(axis=0)
    assert own / np.linalg.norm(own) == pytest.approx(theirs / np.linalg.norm(theirs), **FLOAT)
    # as long as the step between the means along it
    assert own @ own == pytest.approx(own @ step, **FLOAT)


def test_the_p_value_is_the_share_of_random_subsets_that_reach_as_far():
    pool, rng = pool_of(distance=0.3), rng_of(4)
    slope = rng.normal(size=5)
    gradients = np.tile(slope, (20, 1))
    found = sensitivity(
        pool, Explained(gradients, np.arange(20)), Plan("mean-difference", 1999, 50, 1, 0.95), rng
    )
    along = pool.activations @ slope
    observed = along[pool.shows].mean() - along[~pool.shows].mean()
    reached = [
        abs(along[order[:20]].mean() - along[order[20:]].mean()) >= abs(observed)
        for order in (rng.permutation(40) for _ in range(2000))
    ]
    assert found.effect == pytest.approx(observed, **FLOAT)
    assert found.p == pytest.approx(np.mean(reached), abs=1.5 * statistical(2000, p=np.mean(reached)))
    assert found.is_linear


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_moving_and_stretching_activations_does_not_change_p_or_score(scale, shift):
    pool, slopes = pool_of(), rng_of(5).normal(size=(15, 5))
    plan = Plan("mean-difference", 49, 50, 1, 0.95)
    plain, moved = (
        sensitivity(one, Explained(slopes / factor, np.arange(15)), plan, rng_of(6))
        for one, factor in ((pool, 1.0), (replace(pool, activations=scale * pool.activations + shift), scale))
    )
    assert (moved.p, moved.score) == (plain.p, plain.score)
    assert moved.effect == pytest.approx(plain.effect, rel=1e-6, abs=1e-9)


def test_held_out_accuracy_of_clear_examples_is_one_and_of_noise_a_half():
    folds = np.arange(400) // 2 % 5
    clear, noise = (pool_of(n=400, distance=distance) for distance in (8.0, 0.0))
    for pool, expected, slack in ((clear, 1.0, 0.0), (noise, 0.5, statistical(400))):
        value, interval = held_out_accuracy(
            pool.activations, pool.shows, folds, pool.units, how="mean-difference", confidence=0.95
        )
        assert value == pytest.approx(expected, abs=slack)
        assert interval.low < expected <= interval.high


# --- silence on random concepts ----------------------------------------------------------------------


def test_random_concepts_reach_a_small_p_no_more_often_than_declared():
    rng, n_tests, plan = rng_of(7), 60, Plan("mean-difference", 99, 50, 1, 0.95)
    slopes, small = rng.normal(size=(10, 5)) + 1, 0
    for _ in range(n_tests):
        pool = pool_of(seed=rng.integers(2**32), n=24, distance=0.0)
        small += sensitivity(pool, Explained(slopes, np.arange(10)), plan, rng).p <= 0.05
    assert small / n_tests < 0.05 + statistical(n_tests, p=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_concept_is_shown_and_a_coin_beside_it_is_not(seed):
    subject, data = scene(seed=seed)
    both = {**REAL, "coin": {"feature": "coin", "level": "yes"}}
    found = figures(measured(subject, data, both, seed=seed))
    assert found["shown_concepts[]"].value == 1
    assert found["concept_effect[real,yes]"].note.values["p_adjusted"] <= 0.05


def test_rows_of_one_person_are_not_evidence_many_times():
    """Twelve persons with twenty rows each, every one with a level of its own: nothing can be shown."""
    rng = rng_of(8)
    person = np.repeat(np.arange(24), 20)
    inputs = rng.normal(size=(24, 3))[person] + 0.1 * rng.normal(size=(480, 3))
    shows = (rng.permutation(24) % 2 == 0)[person]
    data = rows_of(inputs, inputs[:, 1] > 0, groups={"real": np.where(shows, "yes", "no").tolist()})
    subject = logistic([1.0, 1.0, 1.0])
    split, kept = (figures(measured(subject, one)) for one in (data, replace(data, person=person)))
    assert split["shown_concepts[]"].value == 1
    assert kept["shown_concepts[]"].value in (None, 0)


# --- layers, classes, and leaving no trace -----------------------------------------------------------


def test_layers_are_found_by_themselves_or_by_name():
    subject = subject_of(network((3, 6, 4, 2)))
    probe = torch.zeros(4, 3)
    (last,) = places_of(subject, (), probe)
    assert isinstance(last, Place)
    assert (last.name, last.side) == ("4", "input")
    named, absent = places_of(subject, ("2", "22"), probe)
    assert isinstance(named, Place)
    assert isinstance(absent, Message)
    assert "Did you mean '2'" in str(absent)


def test_a_layer_that_is_called_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = linear_layer(torch.eye(2))

        def forward(self, inputs):
            return self.shared(self.shared(inputs))

    (place,) = places_of(subject_of(Twice()), ("shared",), torch.zeros(2, 2))
    assert "called 2 times" in str(place)


def test_a_recurrent_layer_is_read_at_tokens_only():
    lstm = nn.LSTM(3, 4, batch_first=True)

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.lstm = lstm
            self.head = nn.Linear(4, 2)

        def forward(self, ids):
            return self.head(self.lstm(self.embed(ids))[0][:, 0])

    subject = subject_of(Reads())
    ids = torch.tensor([[1, 2, 0, 0], [3, 4, 1, 2]])
    (place,) = places_of(subject, ("lstm",), ids)
    reader = Reader(subject, place, "mean", 0, 16)
    with torch.no_grad():
        outputs = lstm(subject.module.embed(ids))[0]
    expected = torch.stack([outputs[0, :2].mean(dim=0), outputs[1].mean(dim=0)])
    assert reader.activations(ids) == pytest.approx(expected.numpy(), abs=1e-6)
    gradients = reader.gradients(ids, torch.tensor([1, 1]), LogitScore(subject))
    weight = subject.module.head.weight[1].detach().numpy()
    assert gradients == pytest.approx(np.stack([weight, weight]), abs=1e-6)


def test_all_classes_with_rows_are_explained_unless_some_are_named():
    rng = rng_of(13)
    inputs = rng.normal(size=(200, 3))
    data = replace(
        rows_of(inputs, inputs[:, 0] > 0, groups={"real": np.where(inputs[:, 2] > 0, "yes", "no").tolist()}),
        classes=("a", "b", "c"),
        positive=None,
        y_true=np.where(inputs[:, 0] > 0, 1, 2),
    )
    subject = TorchSubject.build(
        network((3, 8, 3)), architecture=Architecture(name="test"), classes=("a", "b", "c")
    )
    found = figures(measured(subject, data))
    assert {"tcav_score[real,b]", "tcav_score[real,c]"} <= set(found)
    assert "tcav_score[real,a]" not in found
    with pytest.raises(UsageError, match="'d'"):
        measured(subject, data, classes=["d"])
    asked = figures(measured(subject, data, classes=["a"]))
    assert "no class has enough rows" in str(asked["tcav_score[]"].missing)


def test_the_subject_is_left_as_it_was_also_by_layers_that_write_in_place():
    module = network((3, 6, 4, 2))
    module[1] = nn.ReLU(inplace=True)
    subject, (_, data) = subject_of(module), scene()
    with unchanged(subject, seed=0) as watch:
        measured(subject, data, layers=["0", "1", "3"])
    assert not watch.violations


def test_the_direction_can_be_that_of_ridge_regression():
    subject, data = scene()
    found = figures(measured(subject, data, direction="ridge"))
    assert found["concept_accuracy[real]"].value > 0.9
    assert found["concept_effect[real,yes]"].value == pytest.approx(1.0, abs=0.2)


def test_a_score_that_no_row_moves_is_missing_with_its_reason():
    subject, data = scene(weight=0.0)
    subject = logistic([0.0, 0.0, 0.0])
    found = figures(measured(subject, data))
    assert "no row's score moves" in str(found["tcav_score[real,yes]"].missing)
    assert found["concept_effect[real,yes]"].value == 0.0
    assert found["shown_concepts[]"].value == 0
