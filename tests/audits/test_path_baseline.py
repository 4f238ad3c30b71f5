"""Where paths begin: what is found there for one row serves all rows of its kind."""

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.audits.explainability.explained_rows import explained_rows
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.audits.explainability.integrated_gradients import Precision, integrated_gradients
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.quality.explaining import some_of
from auditkit.audits.explainability.straight_path.points import PLACES_AT_ONCE, StraightPath
from auditkit.audits.explainability.token_embedding import find_token_embedding
from auditkit.audits.explainability.token_score import PathScore, kinds_of_texts
from tests.audits.paths import normal
from tests.audits.test_token_attribution import WORDS, Encoder, Recurrent, made, subject_of, texts

CLASSES = ("a", "b", "c")
N_PLACES = 20


def path_of(target, *, kinds=None, lengths=None, seen=None, batch_size=256):
    """A score that bends, of each row in the places that ``target`` marks, times its first number."""
    target = torch.tensor(target)
    inputs, baseline = normal(len(target), N_PLACES, 2), normal(1, N_PLACES, 2, seed=9)

    def score(vectors, wanted):
        if seen is not None:
            seen.append(len(vectors))
        return wanted[:, 0] * (torch.tanh(vectors).sum(dim=2) * wanted[:, 1:]).sum(dim=1)

    def pooled(x):
        return x.sum(dim=2)

    return StraightPath(score, inputs, baseline, target, pooled, batch_size, lengths, kinds)


def marks(factor, length):
    return [factor, *[1] * length, *[0] * (N_PLACES - length)]


MIXED = [marks(1, 20), marks(2, 3), marks(1, 3), marks(2, 3), marks(1, 20), marks(3, 9)]


@pytest.mark.parametrize("batch_size", [1, 2, 256])
@pytest.mark.parametrize("lengths", [None, torch.tensor([20, 3, 3, 3, 20, 9])])
@pytest.mark.parametrize("kinds", [None, torch.tensor([4, 7, 0, 7, 4, 2])])
def test_rows_of_a_kind_get_at_the_baseline_what_each_would_get_alone(kinds, lengths, batch_size):
    path = path_of(MIXED, kinds=kinds, lengths=lengths, batch_size=batch_size)
    rows = torch.tensor([5, 1, 0, 4, 3])
    expected = path.evaluate(rows, torch.zeros(len(rows), dtype=torch.float64))
    for found, known in zip(path.evaluate_baseline(rows), expected, strict=True):
        assert torch.allclose(found, known, rtol=1e-5, atol=1e-6)
    assert torch.allclose(path.at_baseline()[rows], expected[0], rtol=1e-5, atol=1e-6)


def test_each_kind_is_evaluated_once():
    seen = []
    path_of(MIXED, seen=seen).evaluate_baseline(torch.arange(len(MIXED)))
    assert sum(seen) == len({tuple(row) for row in MIXED})


def test_the_baseline_is_left_as_it_was():
    path = path_of(MIXED[:1])
    before = path.baseline.clone()
    path.evaluate_baseline(torch.tensor([0]))
    assert torch.equal(path.baseline, before)
    assert not path.baseline.requires_grad


def test_rows_that_are_wrongly_said_to_be_of_a_kind_are_not_said_to_be_done():
    wrong = path_of(MIXED, kinds=torch.zeros(len(MIXED), dtype=torch.int64))
    found = integrated_gradients(wrong, Precision())
    assert found.complete.tolist() == [True, False, False, False, True, False]


# --- which texts are of a kind ---------------------------------------------------------------------


class Looks(Recurrent):
    """Scores a word of its own besides what its vector says."""

    def forward(self, ids):
        return super().forward(ids) + (ids == WORDS.index("w5")).any(dim=1, keepdim=True)


class Distinct(Recurrent):
    """Takes no text that has a word twice."""

    def forward(self, ids):
        ordered = ids.sort(dim=1).values
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)).any():
            raise ValueError("a word is there twice")
        return super().forward(ids)


def kinds_of(module, data):
    subject = subject_of(module.eval(), CLASSES)
    score = PathScore(LogitScore(subject), find_token_embedding(subject, data.inputs[:4], 0))
    target = torch.cat([torch.from_numpy(data.y_true).unsqueeze(1), data.inputs], dim=1)
    return kinds_of_texts(score, score.embedding.vectors(data.inputs), target)


@pytest.mark.parametrize("kind", [Recurrent, Encoder])
def test_texts_of_one_class_and_length_are_of_a_kind_whatever_their_words(kind):
    data = texts(40, classes=CLASSES)
    found = kinds_of(made(kind), data).tolist()
    known = list(zip(data.y_true.tolist(), (data.inputs != 0).sum(dim=1).tolist(), strict=True))
    assert len(set(found)) == len(set(known)) < len(known)
    assert len(set(zip(found, known, strict=True))) == len(set(known))


def test_of_texts_whose_model_looks_for_a_word_nothing_is_said():
    assert kinds_of(made(Looks), texts(classes=CLASSES)) is None


def test_of_texts_whose_model_refuses_other_words_nothing_is_said():
    data = texts(classes=CLASSES)
    words = torch.arange(1, 1 + data.inputs.shape[1]).expand_as(data.inputs)
    data.inputs.copy_(torch.where(data.inputs != 0, words, 0))
    assert kinds_of(made(Distinct), data) is None


def test_kinds_and_lengths_stay_with_the_rows_that_are_taken():
    data = texts(classes=CLASSES)
    rows = explained_rows(
        subject_of(made(Encoder).eval(), CLASSES), data, data.y_true, explained="logit", batch_size=8
    )
    few = rows.take(np.array([7, 2]))
    assert few.lengths.tolist() == [int(rows.lengths[7]), int(rows.lengths[2])]
    assert few.kinds.tolist() == [int(rows.kinds[7]), int(rows.kinds[2])]
    assert torch.equal(few.inputs, rows.inputs[[7, 2]])
    assert torch.equal(few.target, rows.target[[7, 2]])
    assert (few.present == rows.present[[7, 2]]).all()


def test_attributions_of_texts_are_those_of_rows_that_are_each_a_kind_of_their_own():
    data = texts(classes=CLASSES)
    with torch.random.fork_rng():
        torch.random.manual_seed(4)
        module = nn.Sequential(Encoder(), nn.Tanh()).eval()
    rows = explained_rows(subject_of(module, CLASSES), data, data.y_true, explained="logit", batch_size=8)
    paths = [
        StraightPath(rows.score, rows.inputs, rows.baseline, rows.target, rows.pooled, 8, rows.lengths, kinds)
        for kinds in (rows.kinds, torch.arange(len(data)))
    ]
    found, apart = (integrated_gradients(path, Precision()) for path in paths)
    assert len(rows.kinds.unique()) < len(data)
    assert (np.linalg.norm(found.values - apart.values, axis=1) <= 0.1 * apart.error_allowed).all()


def test_texts_that_are_explained_again_in_another_order_are_cut_where_they_end():
    data = texts(96, classes=CLASSES, length=2 * PLACES_AT_ONCE)
    rows = explained_rows(
        subject_of(made(Encoder).eval(), CLASSES), data, data.y_true, explained="logit", batch_size=256
    )
    order = np.arange(96)[::-1].copy()
    found, again = along_the_path(rows), along_the_path(some_of(rows, order))
    assert len(set((rows.lengths > PLACES_AT_ONCE).tolist())) == 2
    assert again.values == pytest.approx(found.values[order], abs=1e-4)
