"""Attributions of tokens against models whose explanation is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from torch import nn
from torch.nn import functional

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.explained_rows import explained_rows
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.token_embedding import find_token_embedding
from auditkit.audits.explainability.token_evidence import token_bars, token_importances
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.execution.isolation import unchanged
from auditkit.models.given_weights import linear_layer, lookup_layer
from auditkit.models.token_model import TokenModel
from auditkit.records import Message, Tokens
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_language_dataset, tiny_language_subject
from auditkit.variants.quantise import quantise_module
from tests.tolerances import FLOAT32

CONTEXT = AuditContext(seed=3, batch_size=32)
WORDS = ("<pad>", "<unknown>", *(f"w{index}" for index in range(2, 20)))
SIZE, LENGTH = len(WORDS), 6
PRECISION = Precision()


class Bag(nn.Module):
    """Logits are the sum over tokens of a score of each, scaled by how many there are."""

    def __init__(self, scores, *, trim=False):
        super().__init__()
        self.token_embedding = lookup_layer(torch.as_tensor(scores, dtype=torch.float32))
        width = self.token_embedding.embedding_dim
        self.head = linear_layer(torch.stack([-torch.ones(width), torch.ones(width)]))
        self.trim = trim

    def forward(self, ids):
        real = ids != 0
        if self.trim:
            longest = int(real.sum(dim=1).max())
            ids, real = ids[:, :longest], real[:, :longest]
        vectors = self.token_embedding(ids) * real.unsqueeze(2)
        return self.head(vectors.sum(dim=1) / real.sum(dim=1, keepdim=True))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.word_embeddings = nn.Embedding(SIZE, 8, padding_idx=0)
        self.layer = kind(8, 12, batch_first=True, dropout=0.5, num_layers=2)
        self.head = nn.Linear(12, 3)

    def forward(self, ids):
        real = (ids != 0).unsqueeze(2)
        states, _ = self.layer(self.word_embeddings(ids))
        return self.head((states * real).sum(dim=1) / real.sum(dim=1))


class Encoder(nn.Module):
    """Has as many positions as tokens, so that only what it is called with tells the two layers apart."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Embedding(SIZE, 8)
        self.token_embedding = nn.Embedding(SIZE, 8, padding_idx=0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.token_embedding(ids) + self.positions(places.expand_as(ids))
        return self.head(self.encoder(states, src_key_padding_mask=ids == 0)[:, 0])


def made(kind, seed=0):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return kind()


def subject_of(module, classes=("no", "yes")):
    return TorchSubject.build(module, architecture=Architecture(name="test"), classes=classes)


def texts(n=24, *, seed=1, classes=("no", "yes"), shortest=1, vocabulary=WORDS, length=LENGTH):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, SIZE, (n, length))
    ids[np.arange(length) >= rng.integers(shortest, length + 1, n)[:, None]] = 0
    return Dataset(
        name="texts",
        source="memory",
        split=None,
        inputs=torch.from_numpy(ids),
        y_true=rng.integers(0, len(classes), n),
        classes=classes,
        features=FeatureSpace((), tokens=TokenSpace(vocabulary)),
    )


def explained(subject, data, precision=PRECISION, batch_size=7):
    target = subject.predict(data, batch_size=64).y_pred
    rows = explained_rows(subject, data, target, explained="logit", batch_size=batch_size)
    assert not isinstance(rows, Message), str(rows)
    return along_the_path(rows, precision), target


def test_a_bag_of_words_gets_the_score_of_each_word():
    scores = np.random.default_rng(0).normal(size=(SIZE, 3))
    data, subject = texts(), subject_of(Bag(scores))
    found, target = explained(subject, data)
    ids = data.inputs.numpy()
    sign = np.where(target == 1, 1.0, -1.0)[:, None]
    # from padding's own vector, which a real place of the baseline holds
    by_word = (scores.sum(axis=1)[ids] - scores.sum(axis=1)[0]) * (ids != 0)
    expected = sign * by_word / (ids != 0).sum(axis=1, keepdims=True)
    assert found.values == pytest.approx(expected, **FLOAT32)
    assert found.complete.all()


def captums(subject, data, target, n_steps):
    """Captum's integrated gradients of the layer; it, too, replaces what the layer answers."""
    layer = next(
        layer
        for name, layer in subject.module.named_modules()
        if name in {"word_embeddings", "token_embedding"}
    )
    found = LayerIntegratedGradients(subject.module, layer).attribute(
        data.inputs, torch.zeros_like(data.inputs), target=torch.from_numpy(target), n_steps=n_steps
    )
    return found.sum(dim=2).detach().double().numpy()


@pytest.mark.parametrize("kind", [Recurrent, lambda: Recurrent(nn.GRU), Encoder])
def test_attributions_agree_with_captums_of_the_layer(kind):
    subject, data = subject_of(made(kind), ("a", "b", "c")), texts(classes=("a", "b", "c"))
    ours, target = explained(subject, data)
    theirs = captums(subject, data, target, n_steps=64)
    error = np.linalg.norm(ours.values - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    assert error.max() < 1e-3


@pytest.mark.parametrize("kind", [Recurrent, Encoder])
def test_at_equal_places_of_the_path_captum_gets_the_same_to_rounding(kind):
    subject, data = subject_of(made(kind), ("a", "b", "c")), texts(8, classes=("a", "b", "c"))
    target = subject.predict(data, batch_size=64).y_pred
    rows = explained_rows(subject, data, target, explained="logit", batch_size=7)
    path = StraightPath(rows.score, rows.inputs, rows.baseline, rows.target, rows.pooled, rows.batch_size)
    places, weights = np.polynomial.legendre.leggauss(16)
    _, slopes = path.evaluate(
        torch.arange(8).repeat_interleave(16), torch.from_numpy((places + 1) / 2).repeat(8)
    )
    summed = (slopes.view(8, 16, -1) * torch.from_numpy(weights / 2).view(1, -1, 1)).sum(dim=1)
    assert summed.numpy() == pytest.approx(captums(subject, data, target, n_steps=16), abs=1e-6)


@pytest.mark.parametrize("kind", [Recurrent, Encoder])
def test_padding_gets_exactly_nothing(kind):
    data = texts(classes=("a", "b", "c"))
    found, _ = explained(subject_of(made(kind), ("a", "b", "c")), data)
    assert set(found.values[(data.inputs == 0).numpy()].tolist()) == {0.0}
    assert np.abs(found.values[(data.inputs != 0).numpy()]).min() > 0


@pytest.mark.parametrize("kind", [Recurrent, Encoder])
def test_smooth_models_add_up_in_nearly_all_rows(kind):
    output = Attribution().measure(
        subject_of(made(kind), ("a", "b", "c")), texts(classes=("a", "b", "c")), CONTEXT
    )
    within = next(one for one in output.measurements if one.metric == "convergence_delta.share_within")
    assert within.value >= 0.95


def test_a_model_that_cuts_padding_off_is_explained_alike():
    scores, data = np.random.default_rng(0).normal(size=(SIZE, 3)), texts(shortest=3)
    data = data.take((data.inputs[:, 4] == 0).numpy())
    whole, _ = explained(subject_of(Bag(scores)), data)
    cut, _ = explained(subject_of(Bag(scores, trim=True)), data)
    assert cut.values == pytest.approx(whole.values, **FLOAT32)


def test_units_that_stand_in_order_are_added_up_as_others_are():
    subject, data = subject_of(made(Recurrent), ("a", "b", "c")), texts()
    rows = explained_rows(subject, data, np.zeros(len(data), dtype=np.int64), explained="logit", batch_size=7)
    turned = replace(rows, unit_of=rows.n_units - 1 - rows.unit_of)
    elements = torch.randn(rows.inputs.shape, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(rows.pooled(elements), turned.pooled(elements).flip(1))


def test_batch_size_changes_nothing():
    subject, data = subject_of(made(Recurrent), ("a", "b", "c")), texts(classes=("a", "b", "c"))
    one, _ = explained(subject, data, batch_size=1)
    many, _ = explained(subject, data, batch_size=64)
    assert one.values == pytest.approx(many.values, abs=1e-6)


def test_of_a_model_of_pairs_only_the_last_token_weighs():
    subject, data = tiny_language_subject(), tiny_language_dataset(30)
    found, target = explained(subject, data)
    ids = data.inputs.numpy()
    table = subject.module.weight.detach().double().numpy()
    last = (ids != 0).sum(axis=1) - 1
    expected = np.zeros(ids.shape)
    rows = np.arange(len(ids))
    expected[rows, last] = table[ids[rows, last], target] - table[0, target]
    assert found.values == pytest.approx(expected, **FLOAT32)


def test_the_notes_say_what_is_explained_and_from_where():
    language = Attribution().measure(tiny_language_subject(), tiny_language_dataset(12), CONTEXT)
    said = " ".join(str(note) for note in language.notes)
    assert "the logit of the token foretold after the row" in said
    assert "padding in place of every token" in said


# --- which layer -----------------------------------------------------------------------------------


def test_positions_are_not_mistaken_for_tokens():
    module = made(Encoder).eval()
    found = find_token_embedding(subject_of(module, ("a", "b", "c")), texts().inputs[:4], 0)
    assert found.layer is module.token_embedding
    assert found.of_padding(texts().inputs).tolist() == [[[0.0] * 8] * LENGTH]


class Shown(Bag):
    """Looks another id up where there is padding, because padding is not in its vocabulary."""

    def forward(self, ids):
        real = ids != 99
        vectors = self.token_embedding(torch.where(real, ids, 4)) * real.unsqueeze(2)
        return self.head(vectors.sum(dim=1) / real.sum(dim=1, keepdim=True))


def test_what_a_model_looks_up_in_place_of_padding_is_the_baseline():
    scores = np.random.default_rng(0).normal(size=(SIZE, 1))
    data = texts()
    outside = data.inputs.masked_fill(data.inputs == 0, 99)
    space = FeatureSpace((), tokens=TokenSpace(WORDS, padding=99))
    found, target = explained(subject_of(Shown(scores)), replace(data, inputs=outside, features=space))
    ids = data.inputs.numpy()
    by_word = (scores[ids, 0] - scores[4, 0]) * (ids != 0) / (ids != 0).sum(axis=1, keepdims=True)
    assert found.values == pytest.approx(np.where(target == 1, 1.0, -1.0)[:, None] * by_word, **FLOAT32)


def library_model(kind):
    """A tiny model of transformers with random weights, as the adapter of its folders wraps it."""
    library = pytest.importorskip("transformers")
    sizes = {"vocab_size": SIZE, "num_labels": 2}
    if kind == "bert":
        settings = library.BertConfig(
            **sizes, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        model = library.BertForSequenceClassification(settings)
    else:
        settings = library.GPT2Config(**sizes, n_positions=LENGTH, n_embd=8, n_layer=1, n_head=2)
        model = library.GPT2ForSequenceClassification(settings)
    return TokenModel(model, padding=0, stand_in=3)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_models_of_transformers_are_explained_at_their_word_embeddings(kind):
    module = made(lambda: library_model(kind))
    subject, data = subject_of(module), texts()
    found = find_token_embedding(subject, data.inputs[:4], 0)
    expected = module.model.get_input_embeddings()
    assert found.layer is expected
    assert found.stand_in == 3
    explanation, _ = explained(subject, data)
    assert explanation.complete.mean() > 0.9
    assert set(explanation.values[(data.inputs == 0).numpy()].tolist()) == {0.0}


class OneHot(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(SIZE, 2)

    def forward(self, ids):
        return self.head(functional.one_hot(ids, SIZE).float().mean(dim=1))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Embedding(SIZE, 2), nn.Embedding(SIZE, 2)

    def forward(self, ids):
        return (self.one(ids) * self.two(ids)).sum(dim=1)


@pytest.mark.parametrize(("kind", "n"), [(OneHot, 0), (Twice, 2)])
def test_without_one_layer_for_tokens_a_model_is_explained_by_its_answers(kind, n):
    output = Attribution(max_texts=4).measure(subject_of(made(kind)), texts(), CONTEXT)
    (refused,) = [one for one in output.measurements if one.group.get("method") == "integrated-gradients"]
    assert str(refused.missing).startswith(f"{n} embedding layers read the token ids")
    assert output.measurements[0].value == 1.0


class Cut(Bag):
    def forward(self, ids):
        return super().forward(ids).detach()


def test_a_model_cut_off_from_its_tokens_is_missing_with_the_reason():
    output = Attribution().measure(subject_of(Cut(np.ones((SIZE, 2)))), texts(), CONTEXT)
    assert "cut off from its tokens" in str(output.measurements[0].missing)


def test_quantised_weights_are_explained_too():
    module = made(Recurrent)
    quantise_module(module, bits=8, activations=True)
    subject, data = subject_of(module, ("a", "b", "c")), texts(8, classes=("a", "b", "c"))
    found, _ = explained(subject, data, Precision(max_evaluations=64), 64)
    assert np.abs(found.values).max() > 0


# --- no trace --------------------------------------------------------------------------------------


class Fails(Recurrent):
    """Raises at a chosen call."""

    def __init__(self):
        super().__init__()
        self.left = 10**9

    def forward(self, ids):
        outputs = super().forward(ids)
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("planned")
        return outputs


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 9])
def test_the_subject_is_left_as_it_was_when_the_model_raises(calls):
    module = made(Fails)
    subject = subject_of(module, ("a", "b", "c"))
    module.left = calls
    with unchanged(subject, seed=0) as watch, pytest.raises(RuntimeError, match="planned"):
        Attribution().measure(subject, texts(classes=("a", "b", "c")), CONTEXT)
    assert watch.violations == []
    assert not module.word_embeddings._forward_hooks
    assert not module.word_embeddings._forward_pre_hooks


def test_the_subject_is_left_as_it_was_when_all_goes_well():
    subject = subject_of(made(Encoder), ("a", "b", "c"))
    with unchanged(subject, seed=0) as watch:
        Attribution().measure(subject, texts(classes=("a", "b", "c")), CONTEXT)
    assert watch.violations == []


# --- evidence --------------------------------------------------------------------------------------


def test_importance_of_a_token_is_the_mean_over_its_occurrences():
    ids = np.array([[2, 3, 2], [2, 4, 0], [3, 0, 0]])
    values = np.array([[1.0, -4.0, 3.0], [-2.0, 0.5, 0.0], [2.0, 0.0, 0.0]])
    ranked = {entry.token: entry for entry in token_importances(values, ids, ids != 0, 0.95)}
    assert [(ranked[t].n, ranked[t].mean) for t in (2, 3, 4)] == [(3, 2.0), (2, 3.0), (1, 0.5)]
    assert ranked[2].signed == pytest.approx(2 / 3)
    assert ranked[2].share == pytest.approx(6 / 12.5)
    assert ranked[4].interval is None
    assert 0 not in ranked


def test_tokens_that_hardly_occur_are_left_out_where_others_do_not():
    ids = np.array([[2, 3]] * 6 + [[2, 4]])
    values = np.where(ids == 4, 9.0, 1.0) + 0.01 * np.arange(7)[:, None]
    ranked = token_importances(values, ids, ids != 0, 0.95)
    assert [entry.token for entry in ranked] == [4, 2, 3]
    shown = token_bars(ranked, 10, TokenSpace(WORDS))
    assert {mark.label for mark in shown.marks} == {"w2", "w3"}


def highlighted(subject, data):
    output = Attribution().measure(subject, data, CONTEXT)
    return [one for one in output.evidence if isinstance(one, Tokens)]


def test_a_text_shows_its_words_without_padding_and_with_the_unknown_one():
    scores = np.zeros((SIZE, 1))
    scores[5], scores[6] = 2.0, -1.0
    data = texts(1)
    data.inputs[0] = torch.tensor([5, 1, 6, 7, 0, 0])
    first = highlighted(subject_of(Bag(scores)), data)[0]
    assert [token.text for token in first.tokens] == ["w5", "<unknown>", "w6", "w7"]
    assert [token.weight for token in first.tokens] == [1.0, 0.0, -0.5, 0.0]
    assert first.separator == " "
    assert "0.5 nat" in str(first.scale)


def test_characters_follow_each_other_and_line_breaks_are_seen():
    shown = highlighted(tiny_language_subject(), tiny_language_dataset(40))
    texts_shown = {token.text for one in shown for token in one.tokens}
    assert {one.separator for one in shown} == {""}
    assert "\n" not in texts_shown
    assert texts_shown <= {"↵\n", " ", "a", "b", "c", "d"}


def test_rows_without_a_token_are_left_out_and_counted():
    data = texts()
    data.inputs[3:5] = 0
    output = Attribution().measure(subject_of(Bag(np.ones((SIZE, 1)))), data, CONTEXT)
    assert output.measurements[0].n == len(data) - 2
    assert any(str(note) == "2 rows without any token are left out." for note in output.notes)


def test_texts_of_nothing_but_padding_are_missing_with_the_reason():
    data = texts()
    data.inputs[:] = 0
    output = Attribution().measure(subject_of(Bag(np.ones((SIZE, 1)))), data, CONTEXT)
    assert str(output.measurements[0].missing) == "no row has any token"


def test_agreement_is_over_the_tokens_of_each_row_and_not_its_padding():
    scores = np.random.default_rng(0).normal(size=(SIZE, 1))
    scores[0] = 0.0
    subject, opposite = subject_of(Bag(scores)), subject_of(Bag(-scores))
    data = texts(shortest=2)
    ids = data.inputs.numpy()
    telling = sum(len(set(row[row != 0])) > 1 for row in ids)
    same = Attribution().compare(subject, subject, data, CONTEXT).measurements[0]
    other = Attribution().compare(subject, opposite, data, CONTEXT).measurements[0]
    assert (same.value, same.n) == (pytest.approx(1.0), telling)
    # the logit of the same class under the opposite scores: every order is turned round
    assert other.value == pytest.approx(-1.0)
