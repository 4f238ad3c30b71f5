"""Perplexity and its company against languages whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from auditkit.audits.audit import AuditContext
from auditkit.audits.performance.language_modelling import LanguageModelling
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.sequences import targets_of
from auditkit.data.token_text import between, visible
from auditkit.data.tokenizers import ByteTokenizer, CharacterTokenizer
from auditkit.errors import AuditkitError, DataError
from auditkit.models.given_weights import lookup_layer
from auditkit.records import Curve, Table
from auditkit.registry import AUDITS
from auditkit.statistics.ratios import ratio_of_totals
from auditkit.subjects.subject import TokenLosses
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_language_dataset, tiny_language_subject
from tests.fakes import predicting
from tests.tolerances import FLOAT, FLOAT32, SAME_RUN, statistical

CONTEXT = AuditContext(seed=1, batch_size=16)
TOKENIZER = CharacterTokenizer(characters=tuple("\nab"))
PAD, UNKNOWN, NEWLINE, A, B = range(5)


def bigrams(table, name="baseline"):
    """A subject whose logits after token ``i`` are row ``i`` of the table."""
    return TorchSubject.build(
        lookup_layer(torch.as_tensor(np.asarray(table), dtype=torch.float32)),
        name=name,
        architecture=Architecture(name="test"),
        classes=TOKENIZER.vocabulary,
        preprocessing=LanguagePreprocessing(tokenizer=TOKENIZER, length=3),
    )


def rows(inputs, last, **more):
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=torch.tensor(inputs),
        y_true=np.array(last),
        classes=TOKENIZER.vocabulary,
        target="next token",
        features=FeatureSpace((), tokens=TokenSpace(TOKENIZER.vocabulary)),
        task="language-modelling",
        **more,
    )


def measured(subject, data, **parameters):
    output = LanguageModelling(**parameters).measure(subject, data, CONTEXT)
    return {figure.metric: figure for figure in output.measurements}, output.evidence


def changed(baseline, variant, data):
    output = LanguageModelling().compare(baseline, variant, data, CONTEXT)
    return {figure.metric: figure for figure in output.measurements}


def test_a_model_that_knows_nothing_has_the_vocabulary_as_its_perplexity():
    found, _ = measured(bigrams(np.zeros((5, 5))), rows([[A, B, A], [B, A, PAD], [A, A, A]], [B, A, B]))
    assert found["perplexity"].value == pytest.approx(5.0, **FLOAT)
    assert found["loss"].value == pytest.approx(np.log(5), **FLOAT)
    assert found["bits_per_token"].value == pytest.approx(np.log2(5), **FLOAT)
    assert found["bits_per_token"].unit == "bit"
    assert (found["perplexity"].interval.low, found["perplexity"].interval.high) == pytest.approx(
        (5.0, 5.0), **FLOAT
    )


def test_padding_is_not_counted():
    found, _ = measured(bigrams(np.zeros((5, 5))), rows([[A, PAD, PAD], [B, A, PAD], [A, A, A]], [B, A, B]))
    assert {figure.n for figure in found.values()} == {1 + 2 + 3}


def test_every_token_weighs_the_same_however_long_its_row():
    table = np.zeros((5, 5))
    table[A, A], table[B, A] = 3.0, -1.0
    data = rows([[A, A, A], [B, PAD, PAD]], [A, A])
    found, _ = measured(bigrams(table), data)
    after_a = float(functional.cross_entropy(torch.tensor(table[[A]]), torch.tensor([A])))
    after_b = float(functional.cross_entropy(torch.tensor(table[[B]]), torch.tensor([A])))
    assert found["loss"].value == pytest.approx((3 * after_a + after_b) / 4, **FLOAT32)
    assert found["perplexity"].value == pytest.approx(np.exp(found["loss"].value), **FLOAT)
    assert found["accuracy"].value == 3 / 4


def test_figures_agree_with_torch_over_all_tokens_at_once():
    subject, data = tiny_language_subject(), tiny_language_dataset(40)
    targets = targets_of(data)
    with torch.no_grad():
        outputs = subject.module(data.inputs).double()
        loss = functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-100)
        hits = (outputs.argmax(dim=2) == targets)[targets != -100].double().mean()
    found, _ = measured(subject, data)
    assert found["loss"].value == pytest.approx(float(loss), **SAME_RUN)
    assert found["accuracy"].value == pytest.approx(float(hits), **FLOAT)


def test_the_perplexity_of_the_true_model_is_that_of_the_language():
    data = tiny_language_dataset(4000, seed=2)
    found, _ = measured(tiny_language_subject(), data)
    figure = found["perplexity"]
    assert figure.interval.high / figure.interval.low < 1.05
    assert 1.0 < figure.value < len(data.classes)


def test_an_all_right_model_is_not_certain_to_be_right_always():
    table = np.zeros((5, 5))
    table[:, A] = 9.0
    found, _ = measured(bigrams(table), rows([[A, A, A]] * 10, [A] * 10))
    assert found["accuracy"].value == 1.0
    assert found["accuracy"].interval.low == pytest.approx(0.6915, abs=1e-4)


def test_a_single_row_gives_figures_without_interval_and_says_so():
    found, _ = measured(bigrams(np.eye(5)), rows([[A, B, A]], [B]))
    assert found["loss"].interval is None
    assert str(found["loss"].note) == "A single row gives no interval."


def test_weights_count_rows_as_often_as_they_say():
    table = np.random.default_rng(0).normal(size=(5, 5))
    data = rows([[A, A, B], [B, PAD, PAD], [A, B, PAD]], [A, A, B])
    weighted, _ = measured(bigrams(table), replace(data, sample_weight=np.array([2.0, 1.0, 3.0])))
    repeated, _ = measured(bigrams(table), data.take(np.array([0, 0, 1, 2, 2, 2])))
    for metric in ("loss", "perplexity", "accuracy"):
        assert weighted[metric].value == pytest.approx(repeated[metric].value, **FLOAT)


def test_rows_without_any_weight_are_refused():
    with pytest.raises(DataError, match="all 2 rows have weight 0"):
        measured(bigrams(np.eye(5)), rows([[A, B, A]] * 2, [B] * 2, sample_weight=np.zeros(2)))


def test_a_diverged_model_gets_its_loss_and_no_perplexity():
    table = np.zeros((5, 5))
    table[:, B] = 5000.0
    found, _ = measured(bigrams(table), rows([[A, A, A]] * 4, [A] * 4))
    assert found["loss"].value == pytest.approx(5000.0, **FLOAT32)
    assert found["perplexity"].value is None
    assert "too large" in str(found["perplexity"].missing)


def test_losses_that_are_no_numbers_are_refused_with_their_number():
    table = np.zeros((5, 5))
    table[A] = np.nan
    with pytest.raises(AuditkitError, match="gives 3 tokens no finite loss"):
        measured(bigrams(table), rows([[A, A, A], [B, PAD, PAD]], [A, A]))


def test_a_subject_that_foretells_no_tokens_is_refused():
    with pytest.raises(AuditkitError, match="does not foretell tokens"):
        measured(predicting([0, 1]), rows([[A, B, A]] * 2, [B] * 2))


# --- pairs -----------------------------------------------------------------------------------------


def test_a_known_shift_of_the_loss_is_found_exactly():
    data = rows([[A, A, A], [B, A, PAD], [A, B, PAD]], [A, A, A])
    flat, sharp = np.zeros((5, 5)), np.zeros((5, 5))
    sharp[:, A] = np.log(4.0)
    found = changed(bigrams(flat), bigrams(sharp, "variant"), data)
    targets = targets_of(data)
    hits = int((targets == A).sum())
    n = int((targets != -100).sum())
    expected = (hits * np.log(8 / 4) + (n - hits) * np.log(8 / 1)) / n - np.log(5)
    assert found["loss.change"].value == pytest.approx(expected, **FLOAT32)
    assert found["perplexity.ratio"].value == pytest.approx(np.exp(expected), **FLOAT32)
    assert found["accuracy.change"].value == hits / n


def test_pairing_by_row_makes_the_interval_of_the_change_narrow():
    data = tiny_language_dataset(200)
    one, two = tiny_language_subject(), tiny_language_subject(seed=1, name="other")
    change = changed(one, two, data)["loss.change"].interval
    alone, _ = measured(one, data)
    assert change.high - change.low < 0.2 * (alone["loss"].interval.high - alone["loss"].interval.low)


def test_no_changed_token_is_not_certainty_about_the_next_ones():
    data = tiny_language_dataset(44)
    found = changed(tiny_language_subject(), tiny_language_subject(name="same"), data)
    assert found["perplexity.ratio"].value == 1.0
    assert found["accuracy.change"].value == 0.0
    assert found["accuracy.change"].interval.high == pytest.approx(0.0803, abs=1e-4)


# --- evidence --------------------------------------------------------------------------------------


def test_the_curve_holds_the_mean_loss_of_each_position():
    data = tiny_language_dataset(50)
    subject = tiny_language_subject()
    _, evidence = measured(subject, data)
    curve = next(one for one in evidence if isinstance(one, Curve))
    losses = subject.token_losses(data, batch_size=50)
    expected = losses.nats.sum(axis=0) / losses.counted.sum(axis=0)
    assert curve.series[0].x == tuple(range(1, 13))
    assert curve.series[0].y == pytest.approx(expected.tolist(), **FLOAT)
    low, high = curve.series[0].low, curve.series[0].high
    assert all(a <= y <= b for a, y, b in zip(low, curve.series[0].y, high, strict=True))


def test_long_rows_are_drawn_with_few_points_that_cover_every_position():
    tokens = torch.randint(2, 5, (6, 300), generator=torch.Generator().manual_seed(0))
    data = rows(tokens.tolist(), [A] * 6)
    _, evidence = measured(bigrams(np.eye(5)), data)
    series = evidence[0].series[0]
    assert len(series.x) <= 32
    assert series.x[0] == 1.0
    assert series.x[-1] > 250


def test_the_table_names_the_token_that_costs_most_and_shows_what_leaves_no_ink():
    table = np.zeros((5, 5))
    table[:, A] = 4.0
    data = rows([[A, A, NEWLINE], [A, NEWLINE, PAD]], [A, A])
    _, evidence = measured(bigrams(table), data)
    found = next(one for one in evidence if isinstance(one, Table))
    assert found.rows[0][:2] == ("↵", 2)
    assert found.rows[0][4].value == 0.0
    assert sum(row[2].value for row in found.rows) == pytest.approx(1.0, **FLOAT)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" ", "␣"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("\u202e", "U+202E"),
        ("Ġthe", "␣the"),
        ("<unknown>", "<unknown>"),
    ],
)
def test_every_token_can_be_seen(token, shown):
    assert visible(token) == shown


def test_characters_and_bytes_follow_each_other_and_words_stand_apart():
    assert between(CharacterTokenizer(characters=tuple("ab ")).vocabulary) == ""
    assert between(ByteTokenizer().vocabulary) == ""
    assert between(("<pad>", "<unknown>", "a", "film")) == " "


# --- statistics ------------------------------------------------------------------------------------


def test_a_ratio_with_equal_sizes_is_the_mean_of_the_rows():
    values = np.array([1.0, 2.0, 4.0, 3.0])
    value, interval = ratio_of_totals(values * 5, np.full(4, 5))
    half = 3.182446 * values.std(ddof=1) / 2
    assert value == pytest.approx(2.5, **FLOAT)
    assert (interval.low, interval.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)


def test_rows_without_any_part_change_nothing():
    one = ratio_of_totals([1.0, 2.0, 4.0], [2, 3, 4])
    two = ratio_of_totals([1.0, 0.0, 2.0, 4.0, 0.0], [2, 0, 3, 4, 0])
    assert one == two


def test_a_ratio_over_nothing_is_refused():
    with pytest.raises(DataError, match="no row has a size"):
        ratio_of_totals([0.0], [0])


def clustered(n_rows, rng):
    """Losses that rows share in part, in rows of unequal length; the mean over tokens is known."""
    sizes = rng.integers(5, 40, n_rows)
    level = rng.gamma(4.0, 0.25, n_rows)
    counted = np.arange(40) < sizes[:, None]
    nats = np.where(counted, level[:, None] * rng.exponential(size=(n_rows, 40)), 0.0)
    return TokenLosses(nats, counted, counted & (nats < 0.5))


@pytest.mark.parametrize("n_rows", [20, 100])
def test_intervals_cover_the_truth_as_often_as_they_say(n_rows):
    repeats, rng = 1000, np.random.default_rng(5)
    covered, naive = 0, 0
    for _ in range(repeats):
        losses = clustered(n_rows, rng)
        sizes = losses.counted.sum(axis=1)
        value, interval = ratio_of_totals(losses.nats.sum(axis=1), sizes)
        covered += interval.low <= 1.0 <= interval.high
        tokens = losses.nats[losses.counted]
        naive += abs(value - 1.0) <= 1.96 * tokens.std() / len(tokens) ** 0.5
    assert covered / repeats == pytest.approx(
        0.95, abs=statistical(repeats, p=0.95) + (0.02 if n_rows < 50 else 0)
    )
    assert naive / repeats < 0.8


def test_it_is_registered():
    assert isinstance(AUDITS.make("language-modelling", {}), LanguageModelling)
