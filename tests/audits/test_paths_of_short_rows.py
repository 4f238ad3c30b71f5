"""Rows that are filled up: what stands behind their end is not computed, and changes nothing."""

import numpy as np
import pytest
import torch

from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.audits.explainability.straight_path.points import PLACES_AT_ONCE, WORTH_A_BATCH, StraightPath
from auditkit.audits.explainability.token_embedding import find_token_embedding
from auditkit.audits.explainability.token_score import PathScore, lengths_that_count
from tests.audits.paths import normal
from tests.audits.test_token_attribution import LENGTH, Encoder, Recurrent, made, subject_of, texts

LONGEST = 3 * PLACES_AT_ONCE


def path_of(lengths, seen=None, batch_size=256):
    """A score that bends and sees no place behind the end of a row, of which ``seen`` gets the shapes."""
    ends = torch.tensor(lengths)
    inputs = normal(len(ends), LONGEST, 2)
    ids = (torch.arange(LONGEST) < ends.unsqueeze(1)).long()
    target = torch.cat([torch.zeros(len(ends), 1, dtype=torch.int64), ids], dim=1)

    def score(vectors, wanted):
        if seen is not None:
            seen.append(tuple(vectors.shape[:2]))
        return (torch.tanh(vectors).sum(dim=2) * wanted[:, 1:]).sum(dim=1)

    baseline = torch.zeros(1, LONGEST, 2)
    return StraightPath(score, inputs, baseline, target, lambda x: x.sum(dim=2), batch_size, ends)


def points(path, n):
    rows = torch.arange(len(path.inputs)).repeat_interleave(n)
    return rows, torch.linspace(0.1, 0.9, n, dtype=torch.float64).repeat(len(path.inputs))


@pytest.mark.parametrize("batch_size", [7, 256])
def test_rows_that_are_cut_say_what_whole_rows_say(batch_size):
    path = path_of([1, 20, 3, 24, 8, 9], batch_size=batch_size)
    whole = StraightPath(
        path.score, path.inputs, path.baseline, path.target, path.pooled, path.batch_size, lengths=None
    )
    n = 2 * WORTH_A_BATCH
    for found, expected in zip(
        path.evaluate(*points(path, n)), whole.evaluate(*points(path, n)), strict=True
    ):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_short_rows_are_evaluated_apart_from_long_ones_where_they_are_many():
    seen = []
    path = path_of([2, 8, 24], seen)
    path.evaluate(*points(path, WORTH_A_BATCH))
    assert seen == [(2 * WORTH_A_BATCH, PLACES_AT_ONCE), (WORTH_A_BATCH, LONGEST)]


def test_a_few_short_rows_go_with_the_long_ones():
    seen = []
    path = path_of([2, 8, 24], seen)
    path.evaluate(*points(path, 3))
    assert seen == [(9, LONGEST)]


def test_lengths_stay_with_the_rows_that_are_taken():
    path = path_of([2, 8, 24]).take(torch.tensor([2, 0]))
    assert path.lengths.tolist() == [24, 2]


def asked(module):
    """What is found out about the lengths of texts, and of how many places they truly are."""
    subject, data = subject_of(module.eval(), ("a", "b", "c")), texts()
    embedding = find_token_embedding(subject, data.inputs[:4], 0)
    target = torch.cat([torch.zeros(len(data), 1, dtype=torch.int64), data.inputs], dim=1)
    score = PathScore(LogitScore(subject), embedding)
    found = lengths_that_count(score, embedding.vectors(data.inputs), target)
    return found, (data.inputs != 0).sum(dim=1).tolist()


@pytest.mark.parametrize("kind", [Recurrent, Encoder])
def test_models_that_leave_padding_out_are_asked_about_shorter_rows(kind):
    found, lengths = asked(made(kind))
    assert found.tolist() == lengths


class Looks(Recurrent):
    """Reads to the end of the row, padding and all."""

    def forward(self, ids):
        return self.head(self.layer(self.word_embeddings(ids))[0][:, -1])


class Fixed(Recurrent):
    """Takes rows of one length alone."""

    def forward(self, ids):
        return super().forward(ids.view(-1, LENGTH))


@pytest.mark.parametrize("kind", [Looks, Fixed])
def test_models_that_look_at_padding_or_need_it_get_whole_rows(kind):
    found, lengths = asked(made(kind))
    assert found is None
    assert np.min(lengths) < LENGTH
