"""Explaining models that only answer, against the same models seen from inside, and known answers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from auditkit.audits.explainability.attribution_notes import notes_of
from auditkit.audits.explainability.black_box_rows import asked_rows, black_box_rows
from auditkit.audits.explainability.explained_rows import explained_rows, with_tokens
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.feature_ablation import feature_ablation
from auditkit.audits.explainability.methods.kernel_shap import kernel_shap
from auditkit.audits.explainability.methods.players import players_of
from auditkit.audits.explainability.words import word_numbers
from auditkit.data.dataset import FloatArray
from auditkit.data.preprocessing import encode, fit_raw
from auditkit.data.rows import Rows
from auditkit.data.tokenizers import ByteTokenizer, padded
from auditkit.errors import AuditkitError
from auditkit.records import Message
from auditkit.subjects.black_box import BlackBox, as_read
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.testing import (
    PredictionsOnly,
    tiny_dataset,
    tiny_language_dataset,
    tiny_language_subject,
    tiny_subject,
    tiny_text_dataset,
    tiny_text_subject,
)
from tests.fakes import table_card
from tests.tolerances import FLOAT, FLOAT32

PROBABILITIES = frozenset({"predictions", "probabilities", "losses"})
PERTURBING = ("kernel-shap", "permutation-shapley", "feature-ablation", "occlusion")


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class LogOddsOf(BlackBox):
    """Answers with these log-odds of the second of two classes; ``rule`` gets the rows as they were read."""

    rule: object

    def log_probabilities(self, inputs: torch.Tensor) -> FloatArray:
        odds = np.asarray(self.rule(as_read(inputs, self.preprocessing)), dtype=np.float64)
        return np.column_stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)])


def black_box(rows, rule):
    preprocessing = fit_raw(rows)
    subject = LogOddsOf(card=table_card(), preprocessing=preprocessing, gives_probabilities=True, rule=rule)
    return subject, encode(rows, preprocessing)


def raw(**more):
    n = len(next(iter(more.get("columns", {}).values()), more.get("texts", more.get("images"))))
    labels = np.array(["no", "yes"] * n, dtype=object)[:n]
    return Rows(name="made", source="memory", split="test", target="label", labels=labels, **more)


def objects(*values):
    return np.array(values, dtype=object)


def second_class(data):
    return np.ones(len(data), dtype=np.int64)


# --- the same model from outside and from inside ---------------------------------------------------


@pytest.mark.parametrize("name", PERTURBING)
def test_from_outside_a_table_gets_what_its_log_odds_get_from_inside(name):
    subject, data = tiny_subject(3), tiny_dataset(10, classes=3)
    inside = explained_rows(subject, data, data.y_true, explained="log_odds", batch_size=256)
    outside = asked_rows(
        PredictionsOnly(subject, PROBABILITIES), data, data.y_true, explained="log_odds", batch_size=256
    )
    assert METHODS[name].obstacle(outside) is None
    found = METHODS[name].attribute(outside, drawn())
    assert found == pytest.approx(METHODS[name].attribute(inside, drawn()), **FLOAT32)


def test_gradients_are_taken_where_they_reach_the_inputs():
    data = tiny_dataset(4)
    rows = asked_rows(tiny_subject(), data, data.y_true, explained="logit", batch_size=256)
    assert rows.no_gradients is None
    assert METHODS["saliency"].obstacle(rows) is None


@pytest.mark.parametrize("name", ["integrated-gradients", "saliency", "input-x-gradient"])
def test_methods_that_need_gradients_say_that_there_are_none(name):
    data = tiny_dataset(4)
    rows = black_box_rows(PredictionsOnly(tiny_subject(), PROBABILITIES), data, data.y_true, batch_size=256)
    assert "no gradients" in str(METHODS[name].obstacle(rows))
    with pytest.raises(AuditkitError, match="choose a method that only asks"):
        METHODS[name].attribute(rows, drawn())


def test_a_network_whose_gradients_are_cut_off_is_asked_instead_and_the_reason_is_kept():
    subject, data = tiny_subject(), tiny_dataset(4)

    def cut(_module, inputs):
        return (inputs[0].detach(),)

    handle = subject.module[0].register_forward_pre_hook(cut)
    try:
        rows = asked_rows(subject, data, data.y_true, explained="logit", batch_size=256)
        found = kernel_shap(rows, drawn())
    finally:
        handle.remove()
    assert "cut off" in str(rows.no_gradients)
    inside = explained_rows(subject, data, data.y_true, explained="log_odds", batch_size=256)
    assert found == pytest.approx(kernel_shap(inside, drawn()), **FLOAT32)


# --- tables as they were read ----------------------------------------------------------------------


def table():
    return raw(
        columns={
            "income": np.array([1.5, 2.5, np.nan, 5.0]),
            "rooms": np.array([1.0, 2.0, 3.0, 10.0]),
            "city": objects("Bern", "Bern", "Ulm", None),
        }
    )


def test_the_baseline_is_the_mean_the_median_of_whole_numbers_and_the_most_frequent_level():
    subject, data = black_box(table(), lambda frame: frame["rooms"])
    rows = black_box_rows(subject, data, second_class(data), batch_size=256)
    frame = as_read(rows.baseline, subject.preprocessing)
    assert frame["income"][0] == pytest.approx(3.0)
    assert frame["rooms"][0] == 2
    assert frame["rooms"].dtype == np.int64
    assert frame["city"][0] == "Bern"
    assert "median" in rows.baseline_meaning.text


def test_an_additive_model_of_raw_columns_gets_its_terms_missing_values_and_levels_included():
    def rule(frame):
        is_known = frame["income"].notna()
        city = frame["city"].map({"Bern": 0.5, "Ulm": -1.0}).fillna(2.0)
        return frame["income"].fillna(0.0) * 0.5 - (~is_known) * 1.0 + 0.1 * frame["rooms"] + city

    subject, data = black_box(table(), rule)
    rows = black_box_rows(subject, data, second_class(data), batch_size=3)
    expected = np.array(
        [[-0.75, -0.1, 0.0], [-0.25, 0.0, 0.0], [-2.5, 0.1, -1.5], [1.0, 0.8, 1.5]], dtype=np.float64
    )
    for name in PERTURBING:
        assert METHODS[name].attribute(rows, drawn()) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_a_column_without_any_value_stays_without():
    subject, data = black_box(raw(columns={"a": np.full(3, np.nan), "b": np.arange(3.0)}), lambda f: f["b"])
    rows = black_box_rows(subject, data, second_class(data), batch_size=256)
    assert kernel_shap(rows, drawn()) == pytest.approx(np.array([[0, -1], [0, 0], [0, 1.0]]), **FLOAT)


def test_answers_that_are_certain_are_explained_by_their_probability():
    """As trees answer: 0 and 1 have no odds."""
    subject, data = black_box(table(), lambda frame: np.where(frame["rooms"] > 2, 1e3, -1e3))
    rows = black_box_rows(subject, data, second_class(data), batch_size=256)
    assert rows.unit == "1"
    assert "probability" in rows.score_meaning.text
    assert not any("nat" in note.text.split() for note in notes_of(rows, data, data))
    expected = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]])
    assert kernel_shap(rows, drawn()) == pytest.approx(expected, **FLOAT)
    graded = black_box_rows(*black_box(table(), lambda f: f["rooms"]), second_class(data), batch_size=256)
    assert graded.unit == "nat"


# --- pictures and texts ----------------------------------------------------------------------------


def test_pictures_are_explained_from_a_black_one():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6)).astype(np.uint8)
    weights = np.linspace(-1, 1, 36).reshape(6, 6)
    subject, data = black_box(raw(images=images, divisor=255), lambda x: (x * weights).sum(axis=(1, 2)))
    rows = black_box_rows(subject, data, second_class(data), batch_size=256)
    assert rows.baseline_meaning.text == "The baseline is a black picture."
    expected = (images / 255 * weights).reshape(3, 36)
    assert feature_ablation(rows) == pytest.approx(expected, **FLOAT32)
    assert kernel_shap(rows, drawn()) == pytest.approx(expected, **FLOAT32)


def test_texts_lose_whole_words_and_the_function_never_sees_part_of_one():
    seen = set()
    texts = objects("a good day", "好天气 today", "")

    def rule(asked):
        seen.update(asked)
        return [2.0 * ("good" in text) - 1.0 * ("天" in text) + 0.5 * text.count("day") for text in asked]

    subject, data = black_box(raw(texts=texts), rule)
    data = with_tokens(data)
    rows = black_box_rows(subject, data, second_class(data), batch_size=256)
    assert players_of(rows, 64).n_players.tolist() == [3, 4]
    found = kernel_shap(rows, drawn())
    assert found[0, : len("a good day")] == pytest.approx([0.0, *[0.4] * 5, *[0.125] * 4], **FLOAT)
    chinese = [0.0] * 3 + [-1 / 3] * 3 + [0.0] * 3 + [0.5 / 6] * 6
    assert found[1, :15] == pytest.approx(chinese, **FLOAT)
    assert not any("\ufffd" in text for text in seen)
    assert {"a good", "a day", " good day", "好气", ""} <= seen


def test_bytes_belong_to_words_with_the_space_before_them():
    texts = ["one two", "é, 你好!", "  ", ""]
    ids = torch.tensor(padded([ByteTokenizer().ids(text) for text in texts], 12, 0))
    found = word_numbers(ids)
    assert found[0, :7].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert found[1, :11].tolist() == [0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 4]
    assert found[2, :2].tolist() == [0, 0]


def test_a_language_model_from_outside_is_asked_about_shorter_texts():
    subject = tiny_language_subject()
    data = with_tokens(tiny_language_dataset(8))
    answers = frozenset({*PROBABILITIES, "generative"})
    rows = black_box_rows(PredictionsOnly(subject, answers), data, data.y_true, batch_size=64)
    found = feature_ablation(rows)
    ids, target = data.inputs, torch.from_numpy(data.y_true)

    def log_odds(row, token):
        logits = subject.logits(row)[0].double()
        others = torch.cat([logits[:token], logits[token + 1 :]])
        return float(logits[token] - others.logsumexp(0))

    for index, row in enumerate(ids):
        length = int((row != 0).sum())
        # the last token decides alone; without it the one before it does
        shorter = row.clone()
        shorter[length - 1] = 0
        with torch.no_grad():
            expected = log_odds(row[None], target[index]) - log_odds(shorter[None], target[index])
        assert found[index, length - 1] == pytest.approx(expected, **FLOAT32)
        assert not found[index, : length - 1].any()


@pytest.mark.parametrize("name", PERTURBING)
def test_each_method_explains_texts_from_outside(name):
    data = tiny_text_dataset(4)
    subject = PredictionsOnly(tiny_text_subject(), PROBABILITIES)
    rows = black_box_rows(subject, data, data.y_true, batch_size=64)
    found = METHODS[name].attribute(rows, drawn())
    assert np.isfinite(found).all()
    assert found.any()
    assert not found[~rows.present].any()


# --- what cannot be asked --------------------------------------------------------------------------


def test_what_cannot_be_asked_is_refused_with_the_reason():
    data = tiny_dataset(4)
    labels = black_box_rows(PredictionsOnly(tiny_subject()), data, data.y_true, batch_size=64)
    assert isinstance(labels, Message)
    assert "labels without probabilities" in str(labels)
    subject, rows = black_box(table(), lambda frame: frame["rooms"])
    stored = PredictionsTable(table_card(), subject.preprocessing, gives_probabilities=True)
    assert "read from a table" in str(black_box_rows(stored, rows, rows.y_true, batch_size=64))
    texts = tiny_text_dataset(2)
    empty = replace(texts, inputs=torch.zeros_like(texts.inputs))
    asked = black_box_rows(
        PredictionsOnly(tiny_text_subject(), PROBABILITIES), empty, empty.y_true, batch_size=64
    )
    assert str(asked) == "no row has any token"
