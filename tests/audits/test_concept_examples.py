"""Ways to name a concept: features, words, painted pictures, files and folders of examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn

from auditkit.audits.audit import parameters
from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.concepts import Concepts
from auditkit.audits.explainability.concepts.definition import ConceptDefinition
from auditkit.audits.explainability.concepts.example_file import rows_of_examples
from auditkit.audits.explainability.concepts.layers import places_of
from auditkit.audits.explainability.concepts.patterns import painted, pattern_of
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.config import Architecture
from auditkit.data.dataset import FeatureSpace, GroupColumn, TokenSpace
from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    TablePreprocessing,
)
from auditkit.errors import DataError
from auditkit.models.given_weights import BagOfWords, linear_layer
from auditkit.registry import AUDITS
from auditkit.selftest.subjects import rows_of, subject_of
from auditkit.subjects.torch_subject import TorchSubject
from tests.audits.concept_scenes import CONTEXT, figures, measured, network, pictures, rng_of
from tests.tolerances import FLOAT32

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
