"""What of influence cannot be measured, the figures of the audit, and what it shows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.influence.explained_predictions import explained_predictions
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.influence.influence_figures import top_shares, top_tenth
from auditkit.audits.explainability.influence.influences import (
    by_gradients,
    by_last_layer,
)
from auditkit.audits.explainability.influence.row_contents import contents_of
from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import FeatureSpace
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.errors import AuditkitError
from auditkit.records import Message, Picture, Table
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import weights_digest
from auditkit.testing import PredictionsOnly, tiny_dataset, tiny_subject, tiny_text_dataset, tiny_text_subject
from auditkit.training.fit import fit
from tests.audits.influence_scenes import (
    CONTEXT,
    SETTING,
    Centred,
    Squashed,
    WeightedPixels,
    made,
    measured,
    question_of,
    rows_of,
    subject_of,
)
from tests.tolerances import FLOAT, FLOAT32

# --- what cannot be measured -----------------------------------------------------------------------


def test_a_model_that_mixes_rows_is_refused_with_the_reason():
    found, _ = measured(made(Centred))
    for method in ("last-layer", "gradients"):
        assert "the model mixes rows" in str(found["top_hundredth_share", method].missing)


@pytest.mark.parametrize(
    ("build", "reason"),
    [(Squashed, "are not the outputs of its last linear layer"), (WeightedPixels, "is not a linear one")],
)
def test_without_a_linear_last_layer_gradients_are_left(build, reason):
    found, output = measured(made(build))
    assert reason in str(found["top_hundredth_share", "last-layer"].missing)
    assert "no two methods" in str(found["rank_agreement", None].missing)
    assert found["top_hundredth_share", "gradients"].value > 0
    table = next(one for one in output.evidence if isinstance(one, Table))
    assert [str(column) for column in table.columns][:4] == [
        "Training row",
        "Label",
        "Prediction",
        "Influence",
    ]


def test_a_frozen_model_has_no_gradients_of_rows():
    module = made(lambda: nn.Linear(5, 2)).requires_grad_(False)
    found, _ = measured(module)
    assert "No parameter" in str(found["top_hundredth_share", "gradients"].missing)
    assert found["top_hundredth_share", "last-layer"].value > 0


def test_a_subject_that_only_answers_is_refused():
    with pytest.raises(AuditkitError, match="has no gradients"):
        Influence().measure(PredictionsOnly(tiny_subject()), tiny_dataset(), CONTEXT)


# --- figures ---------------------------------------------------------------------------------------


def test_the_top_hundredth_carries_what_it_carries():
    influence = np.zeros((3, 200))
    influence[0, :4] = [-3.0, 2.0, 4.0, 1.0]
    influence[1] = 1.0
    assert top_shares(influence) == pytest.approx([0.7, 0.01, np.nan], **FLOAT, nan_ok=True)
    assert top_tenth(np.array([1.0, 3.0, 3.0, 2.0] + [0.0] * 16)).tolist() == [1, 2]
    assert top_tenth(np.ones(3)).tolist() == [0]


def test_errors_are_explained_and_the_most_confident_shown():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7], [0.6, 0.4]])
    said, y_true = Predictions(np.log(probabilities)), np.array([0, 0, 0, 1, 1])
    chosen = explained_predictions(said, y_true, most=2, shown=2, rng=np.random.default_rng(0))
    shown = [int(chosen.rows[example.row]) for example in chosen.shown]
    assert (shown, chosen.n_errors, chosen.n_measured) == ([1, 4], 3, 2)
    assert set(chosen.rows.tolist()) <= {1, 2, 4}
    assert chosen.against.tolist() == y_true[chosen.rows].tolist()


def test_without_errors_the_least_certain_are_explained_against_the_second_class():
    probabilities = np.array([[0.5, 0.1, 0.4], [0.2, 0.8, 0.0], [0.36, 0.34, 0.3]]).clip(1e-9)
    said = Predictions(np.log(probabilities))
    chosen = explained_predictions(said, said.y_pred, most=2, shown=1, rng=np.random.default_rng(0))
    assert (chosen.rows.tolist(), chosen.against.tolist(), chosen.n_errors) == ([0, 2], [2, 1], 0)
    assert [(example.row, example.reason) for example in chosen.shown] == [(1, "uncertain")]


def test_rows_without_weight_have_no_influence():
    subject, data = tiny_subject(), tiny_dataset()
    weights = np.arange(60) % 3.0
    training, explained = data.take(np.arange(60)), data.take(np.arange(60, 70))
    predicted = subject.predict(explained, batch_size=16).y_pred
    question = question_of(training, explained, predicted, 1 - predicted, weights / weights.mean())
    for found in (
        by_last_layer(subject, question, SETTING),
        by_gradients(subject, question, SETTING, None),
    ):
        assert (found.on_predictions[:, weights == 0] == 0).all()
        assert (found.on_itself[weights == 0] == 0).all()
        assert (found.on_predictions[:, weights > 0] != 0).any()


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(60)))
def test_the_order_of_training_rows_changes_nothing(order):
    subject, data = tiny_subject(), tiny_dataset()
    training, explained = data.take(np.arange(60)), data.take(np.arange(60, 70))
    predicted = subject.predict(explained, batch_size=16).y_pred
    order = np.array(order)
    for method in (by_last_layer, lambda *arguments: by_gradients(*arguments, None)):
        before, after = (
            method(subject, question_of(rows, explained, predicted, 1 - predicted), SETTING)
            for rows in (training, training.take(order))
        )
        assert after.on_predictions == pytest.approx(before.on_predictions[:, order], **FLOAT32)
        assert after.on_itself == pytest.approx(before.on_itself[order], **FLOAT32)


def test_the_batch_size_changes_nothing_at_all():
    subject, data = tiny_subject(), tiny_dataset()
    outputs = [Influence().measure(subject, data, AuditContext(seed=3, batch_size=size)) for size in (3, 64)]
    assert outputs[0] == outputs[1]


# --- flipped labels --------------------------------------------------------------------------------


def test_flipped_labels_are_among_the_highest_self_influence():
    inputs, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(8)
    chosen = rng.permutation(len(labels))[:700]
    inputs, labels = (inputs[chosen] / 16 - 0.3).astype(np.float32), labels[chosen].astype(np.int64)
    flipped = np.arange(700) < 50
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, 50)) % 10
    classes = tuple("0123456789")
    is_member = np.arange(700) < 500
    data = rows_of(
        inputs, labels, classes, is_member=is_member, features=FeatureSpace((), image_shape=(8, 8))
    )
    training = data.take(is_member)
    subject = fit(
        Architecture(name="mlp", hidden=64), training, TrainingConfig(epochs=15, batch_size=16), seed=1
    )
    before = weights_digest(subject.module)
    question = question_of(training, training.take(np.arange(2)), labels[:2], (labels[:2] + 1) % 10)
    for found in (
        by_last_layer(subject, question, SETTING),
        by_gradients(subject, question, SETTING, None),
    ):
        assert flipped[:500][top_tenth(found.on_itself)].mean() >= 0.6
    output = Influence().measure(subject, data, CONTEXT)
    assert weights_digest(subject.module) == before
    pictures = [one for one in output.evidence if isinstance(one, Picture)]
    assert len(pictures) == 4
    assert len(pictures[0].panels) == 9
    assert len(pictures[0].panels[0].pixels) == 8
    # the listed rows say whose label is in doubt
    assert str(pictures[-1].title).startswith("The model contradicts the label of")


# --- what is shown ---------------------------------------------------------------------------------


def test_rows_of_a_table_are_told_in_their_own_units():
    steps = TablePreprocessing(
        target="y",
        classes=("no", "yes"),
        features=(
            NumericFeature(name="age", mean=40.0, scale=10.0, fill=40.0, missing_indicator=True),
            CategoricalFeature(name="town", levels=("north", "south")),
            NumericFeature(name="rest", mean=0.0, scale=1.0, fill=0.0),
        ),
    )
    module = nn.Linear(5, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0] * 5, [5.0, 1.0, 2.0, -2.0, 0.1]]))
    inputs = torch.tensor(
        [[0.5, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.25], [-1.05, 0.0, 0.0, 1.0, 1.0]]
    )
    space = FeatureSpace(("age", "town", "rest"), (0, 0, 1, 1, 2))
    data = rows_of(inputs, [0, 1, 1], features=space)
    subject = subject_of(module, preprocessing=steps)
    contents = contents_of(subject, steps, data, np.array([1, 1, 1]), most=2)
    assert [str(heading) for heading in contents.headings] == ["age", "town"]
    told = [[str(cell) for cell in contents.cells(data, row)] for row in range(3)]
    assert told == [["45", "north"], ["missing", "other"], ["29.5", "south"]]


def test_texts_are_shown_as_texts_and_can_be_withheld():
    subject, data = tiny_text_subject(), tiny_text_dataset()
    whole = Influence(shown_predictions=1, listed_rows=3).measure(subject, data, CONTEXT)
    hidden = Influence(shown_predictions=1, listed_rows=3, show_rows=False).measure(subject, data, CONTEXT)
    listed = [one for one in whole.evidence if isinstance(one, Table)][-1]
    assert str(listed.columns[-1]) == "Text"
    assert "a" in listed.rows[0][-1]
    assert all("Text" not in map(str, one.columns) for one in hidden.evidence if isinstance(one, Table))
    assert whole.measurements == hidden.measurements


def test_the_strongest_rows_for_and_against_are_listed_with_their_influence():
    subject, data = tiny_subject(), tiny_dataset()
    output = Influence(shown_predictions=1, shown_rows=2).measure(subject, data, CONTEXT)
    table = output.evidence[0]
    assert len(table.rows) == 5
    assert isinstance(table.rows[0][0], Message)
    influence = [row[3].value for row in table.rows[1:]]
    assert influence[0] >= influence[1] > 0 > influence[3] >= influence[2]
    members = data.take(data.is_member)
    for row in table.rows[1:]:
        assert row[1] == members.classes[members.y_true[row[0] - 1]]
