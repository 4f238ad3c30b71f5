"""Concepts: closed forms, Captum's TCAV, silence on random concepts, ways to name one, what is missing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from captum.concept import CAV, TCAV, Classifier, Concept
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from sklearn.linear_model import Ridge
from torch import nn

from auditkit.audits.audit import AuditContext, parameters
from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.concepts import Concepts
from auditkit.audits.explainability.concepts.definition import ConceptDefinition
from auditkit.audits.explainability.concepts.example_file import rows_of_examples
from auditkit.audits.explainability.concepts.layers import Place, places_of
from auditkit.audits.explainability.concepts.patterns import painted, pattern_of
from auditkit.audits.explainability.concepts.sensitivity import Explained, Plan, Pool, sensitivity
from auditkit.audits.explainability.concepts.vectors import PENALTY, coefficients, held_out_accuracy
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn, TokenSpace
from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    TablePreprocessing,
)
from auditkit.errors import DataError, UsageError
from auditkit.execution.isolation import unchanged
from auditkit.models.given_weights import BagOfWords, linear_layer
from auditkit.records import Message
from auditkit.registry import AUDITS
from auditkit.selftest.subjects import logistic, rows_of, subject_of
from auditkit.subjects.torch_subject import TorchSubject
from tests.tolerances import FLOAT, FLOAT32, statistical

CONTEXT = AuditContext(seed=3)
REAL = {"real": {"feature": "real", "level": "yes"}}
FEW = {"n_random": 99, "n_bootstrap": 50}


def rng_of(seed=0):
    return np.random.default_rng(seed)


def network(widths, seed=0, last=()):
    """Dense layers with ReLU between, random weights."""
    rng, layers = rng_of(seed), []
    for fan_in, fan_out in pairwise(widths):
        weight = torch.from_numpy(rng.normal(size=(fan_out, fan_in)) / fan_in**0.5).float()
        layers += [linear_layer(weight, torch.zeros(fan_out)), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *last)


def scene(n=400, *, weight=2.0, seed=0, clean=0.3):
    """A linear subject whose first input is the concept, up to noise."""
    rng = rng_of(seed)
    shows = rng.permutation(n) % 5 < 2
    inputs = rng.normal(size=(n, 3))
    inputs[:, 0] = shows + clean * inputs[:, 0]
    groups = {
        "real": np.where(shows, "yes", "no").tolist(),
        "coin": np.where(rng.permutation(n) % 5 < 2, "yes", "no").tolist(),
    }
    return logistic([weight, 1.0, 0.0]), rows_of(inputs, inputs[:, 1] > 0, groups=groups)


def figures(output):
    return {f"{one.metric}[{','.join(one.group.values())}]": one for one in output.measurements}


def measured(subject, data, concepts=REAL, seed=3, **parameters):
    audit = Concepts.model_validate({"concepts": concepts, **FEW, **parameters})
    return audit.measure(subject, data, AuditContext(seed=seed))


def pool_of(seed=0, n=40, width=5, distance=1.0):
    rng = rng_of(seed)
    shows = np.arange(n) % 2 == 0
    return Pool(rng.normal(size=(n, width)) + distance * shows[:, None], shows, np.arange(n))


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


# --- ways to name a concept --------------------------------------------------------------------------

STEPS = TablePreprocessing(
    target="t",
    classes=("no", "yes"),
    features=(
        NumericFeature(name="age", mean=40.0, scale=10.0, fill=40.0, missing_indicator=True),
        CategoricalFeature(name="job", levels=("baker", "clerk")),
    ),
)


def table(n=200):
    rng = rng_of(9)
    age, job = rng.normal(size=n), rng.integers(0, 2, n)
    inputs = np.column_stack([age, np.zeros(n), job == 0, job == 1]).astype(np.float32)
    subject = TorchSubject.build(
        linear_layer(torch.tensor([[0.0] * 4, [1.0, 0.0, 2.0, 0.0]])),
        architecture=Architecture(name="test"),
        classes=("no", "yes"),
        preprocessing=STEPS,
    )
    return subject, replace(rows_of(inputs, age > 0), features=FeatureSpace(("age", "job"), (0, 0, 1, 1)))


def test_columns_are_named_in_the_units_of_the_data():
    subject, data = table()
    concepts = {
        "older": {"feature": "age", "above": 45},
        "middle": {"feature": "age", "above": 35, "below": 45},
        "bakers": {"feature": "job", "level": "baker"},
    }
    found = figures(measured(subject, data, concepts))
    above = int((data.inputs[:, 0] > 0.5).sum())
    assert found["concept_accuracy[older]"].n == 2 * above
    assert found["concept_effect[bakers,yes]"].value > 1
    # a band in the middle has no direction of its own
    assert "does not tell held-out rows" in str(found["tcav_score[middle,yes]"].missing)


@pytest.mark.parametrize(
    ("concept", "reason"),
    [
        ({"feature": "wage", "above": 1}, "no column wage"),
        ({"feature": "age", "level": "old"}, "say above or below"),
        ({"feature": "job", "above": 1}, "say level"),
        ({"feature": "job", "level": "backer"}, "Did you mean 'baker'"),
        ({"feature": "age", "above": 1000}, "0 rows (persons) show it"),
        ({"tokens": ["good"]}, "not of tokens"),
        ({"pattern": "bright-centre"}, "no pictures"),
    ],
)
def test_a_concept_that_cannot_be_found_says_why_and_leaves_the_others(concept, reason):
    subject, data = table()
    found = figures(measured(subject, data, {"wrong": concept, "b": {"feature": "job", "level": "baker"}}))
    assert reason in str(found["tcav_score[wrong,yes]"].missing)
    assert found["tcav_score[b,yes]"].value is not None


def test_without_a_concept_the_reason_is_a_line_to_copy():
    subject, data = table()
    reason = str(figures(measured(subject, data, {}))["tcav_score[]"].missing)
    assert "{NAME: {feature: age, above: " in reason
    groups = {"sex": GroupColumn(("f", "m"), np.zeros(200, dtype=np.int64))}
    reason = str(
        figures(measured(subject, replace(data, sensitive_features=groups), {}))["tcav_score[]"].missing
    )
    assert "{NAME: {feature: sex, level: f}}" in reason


def test_words_are_concepts_of_texts():
    rng = rng_of(10)
    ids = rng.integers(1, 6, (200, 4))
    module = BagOfWords(torch.tensor([[0.0, 0.0], [0, 0], [0, 0], [0, 2.0], [0, 0], [0, 0]]))
    data = replace(
        rows_of(np.zeros((200, 1)), ids[:, 0] > 2),
        inputs=torch.from_numpy(ids),
        features=FeatureSpace((), tokens=TokenSpace(("", "a", "b", "good", "c", "d"))),
    )
    head = nn.Sequential(module, linear_layer(torch.eye(2)))
    output = measured(subject_of(head), data, {"praise": {"tokens": ["good", "great"]}})
    found = figures(output)
    assert found["concept_effect[praise,yes]"].interval.low > 0
    nothing = figures(measured(subject_of(head), data, {"x": {"tokens": ["great"]}}))
    assert "vocabulary has none of" in str(nothing["tcav_score[x,yes]"].missing)


def pictures(n=240, *, last=(), seed=11):
    """Noise; a convolution sees horizontal edges and its mean square is the score of the second class."""
    grey = rng_of(seed).random((n, 1, 8, 8)).astype(np.float32)
    kernel = torch.tensor([[[[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0], [1.0, 1.0, 1.0]]]]).repeat(2, 1, 1, 1)
    kernel[1] *= -1
    conv = nn.Conv2d(1, 2, 3, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        conv.weight.copy_(kernel)
    module = nn.Sequential(
        conv,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear_layer(torch.tensor([[0.0, 0.0], [1.0, 1.0]])),
    )
    steps = ImagePreprocessing(
        target="t", classes=("no", "yes"), height=8, width=8, divisor=1, mean=0.0, scale=1.0, flatten=False
    )
    subject = TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=("no", "yes"), preprocessing=steps
    )
    data = Dataset(
        name="noise",
        source="memory",
        split=None,
        inputs=torch.from_numpy(grey),
        y_true=np.arange(n) % 2,
        classes=("no", "yes"),
        features=FeatureSpace((), image_shape=(8, 8)),
    )
    return subject, data


def test_pictures_have_concepts_of_their_own():
    subject, data = pictures()
    output = measured(subject, data, {})
    found = figures(output)
    assert found["concept_effect[horizontal-stripes,yes]"].interval.low > 0
    assert "picture" in [one.kind for one in output.evidence]
    across = found["concept_effect[vertical-stripes,yes]"]
    assert across.value is None or across.value < 0


@pytest.mark.parametrize("positions", ["mean", "flat"])
def test_a_convolution_is_read_at_its_positions(positions):
    subject, data = pictures(n=80)
    (place,) = places_of(subject, ("0",), data.inputs[:4])
    reader = Reader(subject, place, positions, None, 16)
    target = torch.ones(80, dtype=torch.int64)
    activations, gradients = (
        reader.activations(data.inputs),
        reader.gradients(data.inputs, target, LogitScore(subject)),
    )
    with torch.no_grad():
        maps = subject.module[0](data.inputs)
    plain = maps.mean(dim=(2, 3)) if positions == "mean" else maps.flatten(1)
    assert activations == pytest.approx(plain.numpy(), abs=1e-6)
    slope = (maps > 0).float() / 36
    expected = slope.sum(dim=(2, 3)) if positions == "mean" else slope.flatten(1)
    assert gradients == pytest.approx(expected.numpy(), abs=1e-6)


def test_paint_is_the_same_on_both_sides_but_for_its_order():
    rng = rng_of(12)
    inputs = np.zeros((2, 64))
    found = painted(
        inputs,
        np.array([True, False]),
        "vertical-stripes",
        preprocessing=None,
        image_shape=(8, 8),
        rng=rng,
    )
    assert found.shape == inputs.shape
    stripes = pattern_of("vertical-stripes", 8, 6, rng)
    assert (stripes == stripes[0]).all()
    assert np.ptp(stripes[0]) == 1
    centre = pattern_of("bright-centre", 9, 9, rng)
    border = pattern_of("bright-border", 9, 9, rng)
    assert (centre.argmax(), border[4, 4], border[0, 0]) == (40, 0.0, 1.0)


def test_examples_of_a_file_are_a_concept(tmp_path):
    subject, data = table()
    path = tmp_path / "bakers.csv"
    path.write_text("age,job\n" + "\n".join(f"{30 + row},baker" for row in range(30)) + "\n")
    found = figures(measured(subject, data, {"bakers": {"examples": str(path)}}))
    assert found["concept_accuracy[bakers]"].n == 60
    audit = Concepts.model_validate({"concepts": {"bakers": {"examples": str(path)}}})
    path.write_text(path.read_text() + "1,clerk\n")
    with pytest.raises(DataError, match="does not hold what has the sha256"):
        audit.measure(subject, data, CONTEXT)
    with pytest.raises(DataError, match="no file"):
        measured(subject, data, {"x": {"examples": str(tmp_path / "absent.csv")}})


def test_pictures_of_a_file_are_a_concept(tmp_path):
    subject, data = pictures()
    stripes = rng_of(14).integers(0, 2, (40, 8, 8), dtype=np.uint8)
    stripes[:, ::2] = 1
    np.save(tmp_path / "stripes.npy", stripes)
    found = figures(measured(subject, data, {"stripes": {"examples": str(tmp_path / "stripes.npy")}}))
    assert found["concept_effect[stripes,yes]"].value > 0
    np.save(tmp_path / "flat.npy", np.zeros((3, 8)))
    with pytest.raises(DataError, match="expected uint8 grey values"):
        measured(subject, data, {"x": {"examples": str(tmp_path / "flat.npy")}})


def folder_of(path, grey):
    """Pictures of these grey values, shape ``(n, height, width)``, as PNG files."""
    path.mkdir()
    for index, picture in enumerate(grey):
        Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(path / f"{index:03}.png")
    return {"examples": str(path)}


def striped(n=40, side=16):
    """Stripes that have period 2 once they are 8 pixels high, under noise that differs from file to file."""
    grey = 0.5 * rng_of(15).random((n, side, side))
    grey[:, np.arange(side) % (side // 4) < side // 8] += 0.5
    return grey


def test_stripes_in_a_folder_are_shown_and_a_folder_of_rows_like_any_other_is_not(tmp_path):
    subject, data = pictures()
    both = {
        "stripes": folder_of(tmp_path / "stripes", striped()),
        "noise": folder_of(tmp_path / "noise", rng_of(16).random((40, 8, 8))),
    }
    found = figures(measured(subject, data, both))
    assert found["concept_effect[stripes,yes]"].note.values["p_adjusted"] <= 0.05
    assert found["concept_effect[stripes,yes]"].value > 0
    assert found["shown_concepts[]"].value == 1


def test_pictures_of_a_folder_are_encoded_as_the_rows_are(tmp_path):
    grey = rng_of(17).integers(0, 256, (12, 8, 8)) / 255
    for steps in (
        ImagePreprocessing(
            target="t",
            classes=("no", "yes"),
            height=8,
            width=8,
            divisor=16,
            mean=0.3,
            scale=0.5,
            flatten=True,
        ),
        ImagePreprocessing(
            target="t", classes=("no", "yes"), height=8, width=8, divisor=255, mean=0, scale=1, flatten=False
        ),
    ):
        subject = TorchSubject.build(
            network((64, 2)),
            architecture=Architecture(name="test"),
            classes=("no", "yes"),
            preprocessing=steps,
        )
        place = tmp_path / f"{steps.divisor}"
        folder_of(place, grey)
        found = rows_of_examples(place, None, subject)
        assert found.shape == ((12, 64) if steps.flatten else (12, 8, 8))
        assert found.reshape(grey.shape).numpy() == pytest.approx(
            (grey - steps.mean) / steps.scale, **FLOAT32
        )


def test_the_report_shows_a_picture_of_the_folder_as_the_model_reads_it(tmp_path):
    subject, data = pictures()
    output = measured(subject, data, {"stripes": folder_of(tmp_path / "stripes", striped())})
    (shown,) = [one for one in output.evidence if one.kind == "picture"]
    assert [str(panel.label) for panel in shown.panels] == ["with stripes", "a row of the data"]
    lines = np.array(shown.panels[0].pixels).mean(axis=1)
    assert lines[::2].min() > lines[1::2].max() + 0.2
    assert "made grey" in " ".join(str(note) for note in output.notes)


def test_copies_of_a_picture_are_one_example(tmp_path):
    subject, data = pictures()
    nine = {"stripes": folder_of(tmp_path / "stripes", np.repeat(striped(9), 10, axis=0))}
    reason = str(figures(measured(subject, data, nine))["tcav_score[stripes,yes]"].missing)
    assert "9 rows (persons) show it" in reason
    assert "10 of each are needed" in reason


def test_a_damaged_picture_of_a_folder_is_named_and_nothing_is_measured(tmp_path):
    subject, data = pictures()
    stripes = {"stripes": folder_of(tmp_path / "stripes", striped())}
    broken = tmp_path / "stripes" / "007.png"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"1 of 40 files cannot be used: '007\.png' is damaged"):
        measured(subject, data, stripes)


def test_a_folder_whose_pictures_were_exchanged_is_refused(tmp_path):
    subject, data = pictures()
    audit = Concepts.model_validate({"concepts": {"a": folder_of(tmp_path / "a", striped())}})
    (tmp_path / "a" / "000.png").write_bytes((tmp_path / "a" / "001.png").read_bytes())
    with pytest.raises(DataError, match="does not hold what has the sha256"):
        audit.measure(subject, data, CONTEXT)


def test_a_model_of_a_table_reads_no_folder_of_pictures(tmp_path):
    subject, data = table()
    with pytest.raises(DataError, match="is a folder of pictures, which baseline does not read"):
        measured(subject, data, {"a": folder_of(tmp_path / "a", striped(10))})


def test_a_path_starts_at_the_folder_of_the_config_and_the_record_is_the_same_anywhere(tmp_path):
    records = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        folder_of(tmp_path / name / "stripes", striped(10))
        audit = AUDITS.make(
            "concepts", {"concepts": {"stripes": {"examples": "stripes"}}}, folder=tmp_path / name
        )
        assert audit.concepts["stripes"].place == tmp_path / name / "stripes"
        records.append(parameters(audit))
    assert records[0] == records[1]
    assert records[0]["concepts"]["stripes"]["examples"] == "stripes"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"feature": "a"},
        {"feature": "a", "level": "x", "above": 1},
        {"level": "x"},
        {"tokens": ["a"], "pattern": "bright-centre"},
    ],
)
def test_a_definition_that_says_too_little_or_too_much_is_refused(wrong):
    with pytest.raises(ValidationError):
        ConceptDefinition.model_validate(wrong)


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
