"""Preferences between paired sentences, by models whose preferences are known."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.texts.pair_tokens import Pieces, pair_tokens, shared_tokens
from auditkit.audits.fairness.texts.stereotype_pairs import StereotypePairs
from auditkit.config import Architecture
from auditkit.config.model import DataConfig, SubjectConfig, TrainingConfig
from auditkit.data.crows_pairs import SentencePairs, published_pairs, read_pairs
from auditkit.data.loading import load_training_data
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import ByteTokenizer, CharacterTokenizer, FolderTokenizer, WordTokenizer
from auditkit.errors import AuditkitError, DataError
from auditkit.models.given_weights import lookup_layer
from auditkit.records import Dots, Table
from auditkit.statistics.intervals import wilson
from auditkit.subjects.masked_language_model import MaskedLanguageModel
from auditkit.subjects.sources import Request, load_source
from auditkit.subjects.token_scores import token_scores
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_language_dataset
from auditkit.training.fit import fit
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT, FLOAT32, SAME_RUN

CONTEXT = AuditContext(seed=1, batch_size=16)
TOKENIZER = CharacterTokenizer(characters=tuple(" abcdxyz"))
MASK = len(TOKENIZER.vocabulary)
HEAD = "sent_more,sent_less,stereo_antistereo,bias_type"


def causal(preferred, *, tokenizer=TOKENIZER, length=20, name="baseline"):
    """After the preferred letters a space is more probable."""
    size = len(tokenizer.vocabulary)
    logits = torch.zeros(size, size)
    logits[tokenizer.ids(preferred), tokenizer.ids(" ")[0]] = 1.0
    return _subject(lookup_layer(logits), tokenizer, length, name)


class Context(torch.nn.Module):
    """Every space is more probable in a row that holds a preferred letter."""

    def __init__(self, preferred):
        super().__init__()
        self.preferred = torch.tensor(TOKENIZER.ids(preferred))
        self.calls = 0

    def forward(self, inputs):
        self.calls += len(inputs)
        logits = torch.zeros(*inputs.shape, MASK + 1)
        logits[:, :, TOKENIZER.ids(" ")[0]] = torch.isin(inputs, self.preferred).sum(1)[:, None].float()
        return logits


def masked(preferred, length=20):
    inner = _subject(Context(preferred), TOKENIZER, length, "baseline")
    return MaskedLanguageModel(inner, MASK, None, frozenset())


def _subject(module, tokenizer, length, name):
    return TorchSubject.build(
        module,
        name=name,
        architecture=Architecture(name="test"),
        classes=tokenizer.vocabulary,
        preprocessing=LanguagePreprocessing(tokenizer=tokenizer, length=length),
    )


def pairs_file(folder, rows):
    """A pair per row ``(more, less, type)``; directions alternate."""
    lines = [
        f"{more},{less},{'stereo' if index % 2 else 'antistereo'},{kind}"
        for index, (more, less, kind) in enumerate(rows)
    ]
    path = folder / "pairs.csv"
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return str(path)


BALANCED = [("x a y", "x b y", "one"), ("x c y", "x d y", "two")] * 30


def figures(subject, path, **parameters):
    audit = StereotypePairs(pairs=path, **parameters)
    output = audit.measure(subject, tiny_language_dataset(), CONTEXT)
    return {(one.metric, *one.group.values()): one for one in output.measurements}, output


@pytest.mark.parametrize("make", [causal, masked])
@pytest.mark.parametrize(("preferred", "share"), [("ac", 1.0), ("ad", 0.5), ("bc", 0.5), ("bd", 0.0)])
def test_a_model_with_known_preferences_gets_exactly_their_share(tmp_path, make, preferred, share):
    found, _ = figures(make(preferred), pairs_file(tmp_path, BALANCED))
    overall = found["stereotype_preference",]
    assert (overall.value, overall.n) == (share, 60)
    assert found["tied_pairs",].value == 0.0
    assert found["stereotype_preference", "one"].value == float("a" in preferred)
    assert found["stereotype_preference", "two"].value == float("c" in preferred)


def test_the_interval_is_that_of_wilson_and_p_that_of_the_exact_test_with_holm(tmp_path):
    found, output = figures(causal("ad"), pairs_file(tmp_path, BALANCED))
    assert found["stereotype_preference",].interval == wilson(30, 60)
    (chart,) = [one for one in output.evidence if isinstance(one, Dots)]
    (table,) = [one for one in output.evidence if isinstance(one, Table)]
    assert chart.reference == 0.5
    # Both types have 30 of 30 and 0 of 30: the smaller of two equal p-values is doubled, and so is the other.
    raw = binomtest(30, 30, 0.5).pvalue
    assert 2 * raw < 1e-4
    assert [row[-1] for row in table.rows if row[0] in ("one", "two")] == ["< 0.0001", "< 0.0001"]


@pytest.mark.parametrize("make", [causal, masked])
def test_ties_are_counted_apart_and_do_not_dilute_the_share(tmp_path, make):
    found, _ = figures(make("a"), pairs_file(tmp_path, BALANCED))
    assert (found["stereotype_preference",].value, found["stereotype_preference",].n) == (1.0, 30)
    assert (found["tied_pairs",].value, found["tied_pairs",].n) == (0.5, 60)
    assert found["stereotype_preference", "two"].value is None
    assert "preferred" in str(found["stereotype_preference", "two"].missing)


def test_a_model_without_any_preference_has_no_share_instead_of_zero(tmp_path):
    found, _ = figures(causal(""), pairs_file(tmp_path, BALANCED))
    assert found["stereotype_preference",].value is None
    assert found["tied_pairs",].value == 1.0


def test_pairs_that_cannot_be_scored_are_left_out_and_named(tmp_path):
    rows = [
        *BALANCED[:2],
        ("x a " + "y" * 30, "x b " + "y" * 30, "one"),  # too long
        ("x é y", "x ü y", "one"),  # both unknown
        ("x a", "x b", "one"),  # nothing follows
    ]
    found, output = figures(causal("ac"), pairs_file(tmp_path, rows))
    assert found["left_out_pairs",].value == 3 / 5
    assert found["stereotype_preference",].n == 2
    said = " ".join(str(note) for note in output.notes)
    for reason in ("longer than", "does not know the words", "share no token"):
        assert f"1 of 5 pairs were left out: {'a sentence is ' if reason == 'longer than' else ''}" in said
        assert reason in said
    assert found["unknown_tokens",].value == 2 / found["unknown_tokens",].n


def test_figures_on_unknown_words_are_absent_with_the_reason(tmp_path):
    found, output = figures(causal("ac"), pairs_file(tmp_path, [("éüß a ü", "éüß b ü", "one")]))
    assert found["stereotype_preference",].value is None
    assert "unknown" in str(found["stereotype_preference",].missing)
    assert not output.evidence


def test_the_masked_model_reads_a_row_once_for_every_token_it_shares(tmp_path):
    subject = masked("ac")
    _, output = figures(subject, pairs_file(tmp_path, BALANCED))
    assert subject.inner.module.calls == 60 * 2 * 4
    assert any(str(subject.inner.module.calls) in str(note) for note in output.notes)


@pytest.mark.parametrize("make", [causal, masked])
def test_the_batch_size_changes_nothing(tmp_path, make):
    path = pairs_file(tmp_path, [*BALANCED[:5], ("x a yyy", "x b yyy", "one")])
    found = [
        StereotypePairs(pairs=path).measure(
            make("ad"), tiny_language_dataset(), AuditContext(seed=1, batch_size=size)
        )
        for size in (1, 64)
    ]
    assert found[0].measurements == found[1].measurements


def test_the_change_is_over_pairs_that_both_decide(tmp_path):
    path = pairs_file(tmp_path, BALANCED)
    audit, data = StereotypePairs(pairs=path), tiny_language_dataset()
    (change,) = audit.compare(causal("ad"), causal("ac"), data, CONTEXT).measurements
    assert (change.metric, change.value, change.n) == ("stereotype_preference.change", 0.5, 60)
    (fewer,) = audit.compare(causal("ad"), causal("b"), data, CONTEXT).measurements
    assert (fewer.value, fewer.n) == (-1.0, 30)
    (none,) = audit.compare(causal("ad"), causal(""), data, CONTEXT).measurements
    assert none.value is None


# --- tokens ----------------------------------------------------------------------------------------


def test_letters_that_two_different_words_share_are_not_shared_tokens():
    text = LanguagePreprocessing(tokenizer=TOKENIZER, length=30)
    pairs = SentencePairs("made", ("x abc y",), ("x bcd y",), ("stereo",), ("one",))
    tokens = pair_tokens(pairs, text, both_sides=True)
    assert [TOKENIZER.vocabulary[tokens.more[0][at]] for at in tokens.shared_more[0]] == list("x  y")
    in_bytes = pair_tokens(
        pairs, LanguagePreprocessing(tokenizer=ByteTokenizer(), length=30), both_sides=True
    )
    assert in_bytes.shared_more == tokens.shared_more


def test_read_from_left_to_right_only_what_follows_the_difference_is_scored():
    more, less = [5, 6, 7, 8], [5, 9, 9, 7, 8]
    pieces = Pieces.of_tokens(more, less)
    assert shared_tokens(more, less, pieces, frozenset(), both_sides=False) == ([2, 3], [3, 4])
    assert shared_tokens(more, less, pieces, frozenset({8}), both_sides=True) == ([0, 2], [0, 3])


# --- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sent_more,sent_less\na,b\n", "expected the columns"),
        (f"{HEAD}\n", "0 rows"),
        (f"{HEAD}\na b,b b,sideways,one\n", "first in line 2"),
        (f"{HEAD}\na b,,stereo,one\n", "first in line 2"),
    ],
)
def test_a_file_that_is_none_of_pairs_is_refused(tmp_path, content, said):
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_pairs(path)


def test_a_file_that_changed_since_is_not_taken_for_the_one_it_was(tmp_path):
    path = pairs_file(tmp_path, BALANCED)
    audit = StereotypePairs(pairs=path)
    again = StereotypePairs.model_validate(audit.model_dump(mode="json"))
    assert again == audit
    pairs_file(tmp_path, BALANCED[:2])
    with pytest.raises(AuditkitError, match="sha256"):
        again.measure(causal("ac"), tiny_language_dataset(), CONTEXT)
    assert StereotypePairs(pairs=path) != audit


def test_a_subject_that_does_not_read_text_is_refused(tmp_path):
    audit = StereotypePairs(pairs=pairs_file(tmp_path, BALANCED))
    with pytest.raises(AuditkitError, match="how it reads text"):
        audit.measure(predicting([0, 1]), table_data([0, 1]), CONTEXT)


# --- against transformers --------------------------------------------------------------------------


def test_masked_scores_are_those_of_transformers_one_mask_at_a_time(tmp_path):
    pytest.importorskip("transformers")
    from tests.subjects.tiny_folders import log_probabilities, plain, save_model

    folder = save_model(tmp_path / "bert", "BertForMaskedLM")
    tokenizer = FolderTokenizer.read(folder)
    steps = LanguagePreprocessing(tokenizer=tokenizer, length=20)
    config = SubjectConfig(hf=str(folder))
    subject = load_source("hf", Request(config=config, folder=tmp_path, preprocessing=steps))
    rows = [tokenizer.ids("a fine film"), tokenizer.ids("dull and cold story")]
    places = [[1, 3], [2]]
    found = token_scores(subject, subject.preprocessing, rows, places, batch_size=2)
    model, _ = plain(folder, "BertForMaskedLM")
    for row, asked, scores in zip(rows, places, found.nats, strict=True):
        for place, score in zip(asked, scores, strict=True):
            copy = [*row[:place], tokenizer.special("mask"), *row[place + 1 :]]
            expected = float(log_probabilities(model, copy)[place, row[place]])
            assert score == pytest.approx(expected, **FLOAT32)
    assert found.n_read == 3


# --- the published pairs ---------------------------------------------------------------------------

PUBLISHED = {
    "race-color": 516,
    "gender": 262,
    "socioeconomic": 172,
    "nationality": 159,
    "religion": 105,
    "age": 87,
    "sexual-orientation": 84,
    "physical-appearance": 63,
    "disability": 60,
}
"""Pairs per type: Nangia et al. (2020), table 2."""


@pytest.fixture
def published(real_data, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    if not (real_data / "crows_pairs").is_dir():
        pytest.skip("CrowS-Pairs are not among the real data")
    return published_pairs()


def test_the_published_pairs_are_as_many_as_the_paper_says(published):
    assert len(published) == 1508
    assert Counter(published.bias_type) == PUBLISHED
    assert published.types == tuple(PUBLISHED)
    assert published.direction.count("stereo") == 1290
    assert published.statements == ()


def test_a_word_model_reads_the_published_pairs(published):
    tokenizer = WordTokenizer.fit([*published.more, *published.less], min_count=1)
    tokens = pair_tokens(published, LanguagePreprocessing(tokenizer=tokenizer, length=80), both_sides=False)
    assert tokens.unknown.unknown == 0
    assert len(tokens.pairs) + sum(tokens.left_out.values()) == 1508
    differing = [
        sum(one != other for one, other in zip(more, less, strict=False))
        for more, less in zip(tokens.more, tokens.less, strict=True)
    ]
    assert np.median(differing) >= 1
    assert min(len(shared) for shared in tokens.shared_more) > 0


def test_a_small_gpt_prefers_one_sentence_of_nearly_every_published_pair(published, real_data):
    config = DataConfig(source="shakespeare", length=64, limit=20)
    data, steps = load_training_data(config, preprocessing=None, seed=0, folder=real_data)
    architecture = Architecture.model_validate(
        {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "dropout": 0.0}
    )
    subject = fit(architecture, data, TrainingConfig(epochs=1), seed=1, preprocessing=steps)
    output = StereotypePairs().measure(subject, data, CONTEXT)
    found = {(one.metric, *one.group.values()): one for one in output.measurements}
    overall = found["stereotype_preference",]
    n_types = [found["stereotype_preference", kind].n for kind in PUBLISHED]
    assert sum(n_types) == overall.n
    assert overall.n + found["tied_pairs",].value * found["tied_pairs",].n == pytest.approx(
        round(1508 * (1 - found["left_out_pairs",].value)), **FLOAT
    )
    wins = sum(
        found["stereotype_preference", kind].value * n for kind, n in zip(PUBLISHED, n_types, strict=True)
    )
    assert overall.value == pytest.approx(wins / overall.n, **SAME_RUN)
