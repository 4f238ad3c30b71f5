"""Templates, terms and exchanged words, judged by bags of words whose judgement is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.texts.bounded_means import beyond_doubt, bounded_mean, p_of_zero
from auditkit.audits.fairness.texts.identity_terms import IdentityTerms
from auditkit.audits.fairness.texts.term_grid import read_grid
from auditkit.audits.fairness.texts.term_ranking import Area, generalised_mean
from auditkit.config import Architecture
from auditkit.config.model import DataConfig, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.detokenized import text_of
from auditkit.data.identity_templates import FILES, compared, published_templates, read_templates
from auditkit.data.identity_terms import SWAPS, TERMS
from auditkit.data.loading import load_training_data
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.data.tokenizers import ByteTokenizer, CharacterTokenizer, WordTokenizer, padded
from auditkit.errors import AuditkitError, ConfigError, DataError
from auditkit.models.given_weights import BagOfWords
from auditkit.records import Dots, Table
from auditkit.runner import unmet_requirements
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_dataset, tiny_subject
from auditkit.training.fit import fit
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=1, batch_size=64)
GOOD = ("good", "nice", "fine", "kind", "great", "wise", "calm", "warm", "proud", "funny", "loyal", "sweet")
BAD = ("bad", "ugly", "mean", "awful", "cruel", "lazy", "rude", "foul", "dumb", "evil", "weak", "vile")
TERMS_USED = ("muslim", "christian", "gay", "young", "blind")
CLASSES = ("harmful", "harmless")
OWN = tuple(f"the {who} sings {word}" for who in ("man", "young girl", "bird") for word in GOOD)


def templates_file(folder, *, terms=TERMS_USED, form="being {term} is {word}", language="en", more=""):
    rows = ["template,toxicity,phrase,language"]
    for label, words in (("nontoxic", GOOD), ("toxic", BAD)):
        for word in words:
            rows += [f"being,{label},{form.format(term=term, word=word)},{language}" for term in terms]
    path = folder / "templates.csv"
    path.write_text("\n".join(rows) + "\n" + more, encoding="utf-8")
    return str(path)


VOCABULARY = WordTokenizer(
    words=(*GOOD, *BAD, *TERMS_USED, "being", "is", *("the", "sings", "man", "woman", "girl", "boy", "bird"))
)


def judging(weights=None, *, tokenizer=VOCABULARY, classes=CLASSES, length=8, name="baseline"):
    """Log-odds of ``harmless``: 3 for good words, -3 for bad ones, and what ``weights`` says of others."""
    odds = torch.zeros(len(tokenizer.vocabulary))
    values = {**dict.fromkeys(GOOD, 3.0), **dict.fromkeys(BAD, -3.0), **(weights or {})}
    if isinstance(tokenizer, WordTokenizer):
        for word, value in values.items():
            odds[tokenizer.ids(word)] = value
    columns = [-odds / 2, odds / 2, *[torch.full_like(odds, -9.0)] * (len(classes) - 2)]
    return TorchSubject.build(
        BagOfWords(torch.stack(columns, dim=1)),
        name=name,
        architecture=Architecture(name="test"),
        classes=classes,
        preprocessing=TextPreprocessing(target="label", classes=classes, tokenizer=tokenizer, length=length),
    )


def rows(texts=OWN, *, tokenizer=VOCABULARY, classes=CLASSES, positive="harmless", length=8):
    ids = padded([tokenizer.ids(text) for text in texts], length, tokenizer.padding)
    return Dataset(
        name="own",
        source="memory",
        split=None,
        inputs=torch.tensor(ids),
        y_true=np.zeros(len(ids), dtype=np.int64),
        classes=classes,
        positive=positive,
    )


def measured(subject, path, data=None, **parameters):
    audit = IdentityTerms(templates=path, **parameters)
    output = audit.measure(subject, rows() if data is None else data, CONTEXT)
    return {(one.metric, *one.group.values()): one for one in output.measurements}, output


def test_a_model_blind_to_terms_never_changes_its_mind(tmp_path):
    found, _ = measured(judging(), templates_file(tmp_path))
    assert found["flip_rate", "en"].value == 0.0
    assert found["score_change", "en"].value == 0.0
    assert found["flip_rate", "en"].interval.high > 0.05
    for term in TERMS_USED:
        assert found["false_positive_rate.gap", "en", term].value == 0.0
        assert found["false_negative_rate.gap", "en", term].value == 0.0
        assert found["subgroup_auc", "en", term].value == 1.0
    assert found["false_positive_equality_difference", "en"].value == 0.0
    assert found["own_texts_flip_rate",].value == 0.0


def test_a_planted_term_is_found_with_the_planted_size(tmp_path):
    found, output = measured(judging({"muslim": -9.0}), templates_file(tmp_path))
    assert found["false_positive_rate.gap", "en", "muslim"].value == 1.0
    assert found["false_positive_rate.gap", "en", "muslim"].interval.low > 0
    assert found["false_positive_rate.gap", "en", "gay"].value == pytest.approx(-1 / 4, **FLOAT)
    assert found["false_positive_rate.gap", "en", "religion"].value == pytest.approx(1 / 2, **FLOAT)
    assert found["false_negative_rate.gap", "en", "muslim"].value == 0.0
    # Of 24 templates the 12 nontoxic ones flip; the overall rate is 1/5.
    assert found["flip_rate", "en"].value == 0.5
    assert found["false_positive_equality_difference", "en"].value == pytest.approx(4 / 5 + 4 / 5, **FLOAT)
    assert found["bpsn_auc", "en", "muslim"].value == 0.0
    assert found["bnsp_auc", "en", "muslim"].value == 1.0
    assert found["bpsn_auc.generalised_mean", "en"].value == 0.0
    chart = next(one for one in output.evidence if isinstance(one, Dots))
    assert "“muslim” stands out" in str(chart.title)
    assert "100 points more" in str(chart.title)
    assert chart.marks[0].label == "muslim"


def test_a_shift_of_scores_without_a_flip_is_measured(tmp_path):
    found, _ = measured(judging({"gay": -1.0}), templates_file(tmp_path))
    assert found["flip_rate", "en"].value == 0.0
    sigmoid = [1 / (1 + np.exp(np.array([3.0, -3.0]) - np.array([shift]))) for shift in (0.0, 1.0)]
    # One of five terms differs: 4 of 10 pairs of terms.
    expected = 0.4 * np.abs(sigmoid[1] - sigmoid[0]).mean()
    assert found["score_change", "en"].value == pytest.approx(expected, abs=1e-6)


def test_areas_are_those_of_scikit_learn_on_the_pooled_sentences(tmp_path):
    rng = np.random.default_rng(5)
    scores, toxic = rng.random((20, 6)).round(1), np.arange(20) % 3 == 0
    for high, low in (([0], [0]), ([1, 2, 3], [0]), ([0], [4, 5])):
        area = Area.of(scores, toxic, np.array(high), np.array(low))
        pooled = [scores[toxic][:, high].ravel(), scores[~toxic][:, low].ravel()]
        labels = np.repeat([1, 0], [len(pooled[0]), len(pooled[1])])
        assert area.value == pytest.approx(roc_auc_score(labels, np.concatenate(pooled)), **FLOAT)
        assert area.below.mean() == pytest.approx(area.value, **FLOAT)


def test_the_generalised_mean_is_that_of_the_formula():
    rng = np.random.default_rng(6)
    scores, toxic = rng.random((30, 4)), np.arange(30) % 2 == 0
    areas = [Area.of(scores, toxic, np.array([term]), np.array([term])) for term in range(4)]
    value, interval = generalised_mean(areas, 0.95)
    values = np.array([area.value for area in areas])
    assert value == pytest.approx((values**-5.0).mean() ** (-1 / 5), **FLOAT)
    assert values.min() <= value <= values.mean()
    assert interval.low < value < interval.high


def test_intervals_of_gaps_hold_together_when_templates_differ():
    """Templates are drawn; the true gap of each of ten terms is 0."""
    rng, covered, draws = np.random.default_rng(7), 0, 400
    for _ in range(draws):
        wrong = rng.random((60, 10)) < rng.beta(2, 2, size=(60, 1))
        values = wrong - (wrong.sum(axis=1, keepdims=True) - wrong) / 9
        ends = [bounded_mean(column, low=-1, high=1, confidence=0.995)[1] for column in values.T]
        covered += all(end.low <= 0 <= end.high for end in ends)
    assert covered / draws > 0.95 - statistical(draws, p=0.95)


def test_equal_values_are_no_certainty():
    value, interval = bounded_mean(np.ones(30), low=-1, high=1, confidence=0.95)
    assert value == interval.high == 1.0
    assert 0.7 < interval.low < 1.0
    for n in (20, 25):
        p = p_of_zero(np.full(n, 0.2))
        edge = beyond_doubt(0.2, n, low=-1, high=1, confidence=1 - p)
        assert edge.low == pytest.approx(0.0, abs=1e-9)


def test_terms_that_the_model_does_not_know_are_left_out_and_named(tmp_path):
    known = WordTokenizer(words=tuple(word for word in VOCABULARY.words if word != "gay"))
    found, output = measured(judging(tokenizer=known), templates_file(tmp_path), rows(tokenizer=known))
    assert ("false_positive_rate.gap", "en", "gay") not in found
    assert ("false_positive_rate.gap", "en", "blind") in found
    assert found["unknown_tokens", "en"].value == 0.0
    assert any("1 terms are left out" in str(note) and "gay" in str(note) for note in output.notes)


def test_figures_of_a_language_that_the_model_cannot_read_are_absent_with_the_reason(tmp_path):
    path = templates_file(
        tmp_path, terms=("男人", "女人", "老人"), form="作为{term}我感到{word}", language="zh"
    )
    found, output = measured(judging(), path, own_texts=False)
    for metric in ("flip_rate", "score_change", "false_positive_equality_difference"):
        assert found[metric, "zh"].value is None
        assert "unknown" in str(found[metric, "zh"].missing)
    assert found["unknown_tokens", "zh"].value > 0.9
    assert not output.evidence


def test_templates_that_are_too_long_are_left_out(tmp_path):
    long = "".join(f"long,nontoxic,being {term} is good good good good good good,en\n" for term in TERMS_USED)
    found, output = measured(judging(), templates_file(tmp_path, more=long))
    assert found["flip_rate", "en"].n == 24
    assert any("1 templates are left out" in str(note) for note in output.notes)


def test_templates_are_chosen_at_random_from_each_label(tmp_path):
    found, output = measured(judging({"gay": -9.0}), templates_file(tmp_path), most_templates=5)
    assert found["flip_rate", "en"].n == 10
    assert found["flip_rate", "en"].value == 0.5
    assert any("10 of 24 templates" in str(note) for note in output.notes)


def test_templates_that_the_model_cannot_tell_apart_count_once(tmp_path):
    names = "".join(
        f"name,nontoxic,{name} is {term} good,en\n" for name in ("Ada", "Bo", "Cy") for term in TERMS_USED
    )
    found, output = measured(judging(), templates_file(tmp_path, more=names))
    assert found["flip_rate", "en"].n == 25
    assert any("2 templates are left out" in str(note) for note in output.notes)


def test_templates_are_chosen_from_every_form(tmp_path):
    more = "".join(f"rare,nontoxic,{term} is good,en\n" for term in TERMS_USED)
    (grid,) = read_templates(Path(templates_file(tmp_path, more=more)))
    for seed in range(5):
        read = read_grid(
            grid,
            VOCABULARY,
            length=8,
            most_templates=2,
            most_unknown=0.2,
            rng=np.random.default_rng(seed),
        )
        assert sorted(read.grid.forms) == ["being", "being", "being", "rare"]


def test_intervals_of_areas_cover_with_templates_as_the_sample():
    """Scores of one template share a shift; the true area is the chance that one normal exceeds another."""
    rng, covered, draws = np.random.default_rng(8), 0, 400
    true = norm.cdf(1 / np.sqrt(4))
    for _ in range(draws):
        toxic = np.arange(60) % 2 == 0
        scores = rng.normal(size=(60, 1)) + rng.normal(size=(60, 5)) + toxic[:, None]
        columns = np.arange(5)
        covered += contains(Area.of(scores, toxic, columns, columns).interval(0.95), true)
    assert abs(covered / draws - 0.95) < statistical(draws, p=0.95)


def contains(interval, value):
    return interval.low <= value <= interval.high


# --- which class is unfavourable -------------------------------------------------------------------


def test_without_a_favourable_label_flips_remain_and_gaps_are_absent(tmp_path):
    found, output = measured(judging({"gay": -9.0}), templates_file(tmp_path), rows(positive=None))
    assert found["flip_rate", "en"].value == 0.5
    assert found["score_change", "en"].value is None
    assert "unfavourable" in str(found["score_change", "en"].missing)
    assert ("false_positive_rate.gap", "en", "gay") not in found
    assert all(isinstance(one, Table) for one in output.evidence)


def test_with_three_classes_the_unfavourable_one_can_be_named(tmp_path):
    classes = ("harmful", "harmless", "unclear")
    data = rows(classes=classes, positive="harmless")
    subject, path = judging({"gay": -9.0}, classes=classes), templates_file(tmp_path)
    found, _ = measured(subject, path, data, unfavourable="harmful")
    assert found["false_positive_rate.gap", "en", "gay"].value == 1.0
    with pytest.raises(ConfigError, match="no class 'harmfull'"):
        measured(subject, path, data, unfavourable="harmfull")


# --- the user's own texts --------------------------------------------------------------------------


def test_exchanged_words_flip_the_rows_that_hold_them_and_no_others(tmp_path):
    found, output = measured(judging({"woman": -9.0, "boy": -9.0}), templates_file(tmp_path))
    assert (found["own_texts_flip_rate",].value, found["own_texts_flip_rate",].n) == (1.0, 24)
    assert found["own_texts_flip_rate", "gender"].n == 24
    # "elderly" and "middle-aged" are not in the vocabulary, so "young" has no counterpart there.
    assert ("own_texts_flip_rate", "age") not in found
    assert any("does not know the other word" in str(note) for note in output.notes)
    half, _ = measured(judging({"woman": -9.0}), templates_file(tmp_path))
    assert half["own_texts_flip_rate",].value == 0.5


def test_too_few_rows_with_such_words_give_no_rate(tmp_path):
    found, _ = measured(
        judging(), templates_file(tmp_path), rows(("the bird sings good", "the man sings good"))
    )
    assert found["own_texts_flip_rate",].value is None
    assert "1 of 2 rows" in str(found["own_texts_flip_rate",].missing)
    none, _ = measured(judging(), templates_file(tmp_path), rows(("the bird sings good",)))
    assert "0 of 1 rows" in str(none["own_texts_flip_rate",].missing)


def test_words_inside_other_words_are_not_exchanged(tmp_path):
    bytes_only = ByteTokenizer()
    data = rows(("a Manual for humans",) * 30, tokenizer=bytes_only, length=40)
    found, _ = measured(judging(tokenizer=bytes_only, length=40), templates_file(tmp_path), data)
    assert found["own_texts_flip_rate",].n == 0


@pytest.mark.parametrize(
    ("tokenizer", "text"),
    [
        (ByteTokenizer(), "Ein Satz, 中文 too."),
        (CharacterTokenizer(characters=tuple("abc ")), "a cab"),
        (VOCABULARY, "the man sings , good"),
    ],
)
def test_a_text_is_told_from_its_tokens(tokenizer, text):
    ids = tokenizer.ids(text)
    back = text_of([*ids, tokenizer.padding, tokenizer.padding], tokenizer)
    assert tokenizer.ids(back) == ids


def test_a_text_cut_within_a_character_cannot_be_told():
    assert text_of(ByteTokenizer().ids("中")[:2], ByteTokenizer()) is None


def test_lists_of_words_hold_no_word_twice_within_an_axis():
    for sets in SWAPS.values():
        words = [word for one in sets for word in one]
        assert len(words) == len(set(words))
        assert all(word == word.casefold() for word in words)
        assert min(len(one) for one in sets) >= 2


# --- comparisons and refusals ----------------------------------------------------------------------


def test_changes_are_paired_by_template(tmp_path):
    audit = IdentityTerms(templates=templates_file(tmp_path))
    output = audit.compare(judging(), judging({"gay": -9.0}), rows(), CONTEXT)
    found = {one.metric: one for one in output.measurements}
    assert (found["flip_rate.change"].value, found["flip_rate.change"].n) == (0.5, 24)
    assert found["score_change.change"].interval.low > 0
    same = audit.compare(judging(), judging(), rows(), CONTEXT)
    assert [one.value for one in same.measurements] == [0.0, 0.0]


def test_a_subject_of_tables_is_skipped(tmp_path):
    audit = IdentityTerms(templates=templates_file(tmp_path))
    assert unmet_requirements(audit, tiny_subject(), tiny_dataset()) == ["texts"]
    with pytest.raises(AuditkitError, match="how it reads text"):
        audit.measure(predicting([0, 1]), table_data([0, 1]), CONTEXT)


def test_a_file_that_changed_since_is_not_taken_for_the_one_it_was(tmp_path):
    audit = IdentityTerms(templates=templates_file(tmp_path))
    again = IdentityTerms.model_validate(json.loads(audit.model_dump_json()))
    assert again == audit
    templates_file(tmp_path, terms=("man", "woman"))
    with pytest.raises(AuditkitError, match="sha256"):
        again.measure(judging(), rows(), CONTEXT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("template,phrase\na,b\n", "expected the columns"),
        ("template,toxicity,phrase\na,very,b\n", "expected toxic or nontoxic"),
        ("template,toxicity,phrase,term\na,toxic,I am x,x\nb,toxic,you are y,y\n", "no template has all"),
    ],
)
def test_a_file_that_is_none_of_templates_is_refused(tmp_path, content, said):
    path = tmp_path / "templates.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_templates(path)


def test_terms_of_an_own_file_are_named_or_found_by_comparison(tmp_path):
    path = tmp_path / "templates.csv"
    path.write_text("template,toxicity,phrase\na,toxic,my smith ran\na,toxic,my old baker ran\n")
    (grid,) = read_templates(path)
    assert grid.terms == ("smith", "old baker")
    path.write_text(
        "template,toxicity,phrase,term,axis\na,toxic,my smith ran,smith,work\na,toxic,my cook ran,cook,work\n"
    )
    (grid,) = read_templates(path)
    assert (grid.terms, grid.axes) == (("smith", "cook"), ("work", "work"))


# --- the published templates -----------------------------------------------------------------------


@pytest.fixture
def published(real_data, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    if not (real_data / "identity_templates").is_dir():
        pytest.skip("the identity templates are not among the real data")
    return real_data / "identity_templates"


@pytest.mark.parametrize(
    ("language", "sizes", "start"),
    [("en", (1514, 50, 757, 864), "I am "), ("zh", (394, 91, 124, 1505), "我讨厌")],
)
def test_every_published_template_has_every_term(published, language, sizes, start):
    grid = published_templates(language)
    assert (len(grid.texts), len(grid.terms), grid.toxic.sum(), grid.n_left_out) == sizes
    assert all(grid.axes)
    assert grid.statements == ()
    # What the phrases of the simplest template do not share are the terms: no list is needed to see it.
    phrases = [text for frame in grid.texts for text in frame if text.startswith(start)]
    shared = [phrase for phrase in phrases if phrase.count(" ") >= start.count(" ")]
    assert {term for _, term, _ in compared(shared)} == set(grid.terms)
    assert set(grid.terms) == {term for terms in TERMS[language].values() for term in terms}
    for frame in grid.texts[::19]:
        assert len({text.replace(term, "#") for text, term in zip(frame, grid.terms, strict=True)}) <= 2


def test_a_small_rnn_reads_english_and_refuses_chinese(published, real_data):
    config = DataConfig(source="sst2", limit=1200)
    data, steps = load_training_data(config, preprocessing=None, seed=0, folder=real_data)
    architecture = Architecture.model_validate({"name": "rnn", "width": 8, "hidden": 8})
    subject = fit(architecture, data, TrainingConfig(epochs=1), seed=1, preprocessing=steps)
    output = IdentityTerms(most_templates=20, most_unknown=0.5).measure(subject, data, CONTEXT)
    found = {(one.metric, *one.group.values()): one for one in output.measurements}
    assert found["flip_rate", "en"].value is not None
    assert found["flip_rate", "zh"].value is None
    assert found["own_texts_flip_rate",].n >= 20
    assert any("terms are left out" in str(note) for note in output.notes)


def test_a_model_of_bytes_reads_both_languages(published):
    tokenizer = ByteTokenizer()
    rng = np.random.default_rng(3)
    odds = torch.from_numpy(rng.normal(size=len(tokenizer.vocabulary))).float()
    odds[0] = 0.0
    subject = replace(
        judging(tokenizer=tokenizer, length=80), module=BagOfWords(torch.stack([-odds, odds], dim=1)).eval()
    )
    data = rows(tokenizer=tokenizer, length=80)
    output = IdentityTerms(most_templates=15).measure(subject, data, CONTEXT)
    found = {(one.metric, *one.group.values()): one for one in output.measurements}
    assert set(FILES) == {"en", "zh"}
    for language, n_terms in (("en", 50), ("zh", 91)):
        assert found["flip_rate", language].value > 0.5
        assert found["unknown_tokens", language].value == 0.0
        assert sum(key[:2] == ("bpsn_auc", language) for key in found) == n_terms + len(TERMS[language])
