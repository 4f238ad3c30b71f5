"""Reports of models of text: highlighted tokens, rows of tokens, and perplexity in the place of accuracy."""

import pytest

from auditkit.data.token_text import visible
from auditkit.execution.executor import SerialExecutor
from auditkit.policy import judge
from auditkit.records import Message, Rule, Token, Tokens
from auditkit.registry import AUDITS
from auditkit.reporting.html import render_html
from auditkit.reporting.json_export import render_json
from auditkit.reporting.language import texts_for
from auditkit.reporting.markdown import render_markdown
from auditkit.reporting.model_card import render_model_card
from auditkit.reporting.numbers import Scale
from auditkit.reporting.view.evidence.estimates import with_unit
from auditkit.reporting.view.evidence.evidence import evidence_view
from auditkit.reporting.view.page import page
from auditkit.runner import Bench, Runner
from auditkit.testing import tiny_language_dataset, tiny_language_subject
from tests.reporting.page_reading import Page
from tests.reporting.sample_run import sample_run

EN = texts_for("en")
AUDITS_OF_IT = {
    "performance": {},
    "language-modelling": {},
    "attribution": {"max_evaluations": 16, "max_texts": 20},
    "membership-inference": {"n_bootstrap": 200},
    "group-fairness": {},
}


@pytest.fixture(scope="module")
def language_run():
    subjects = {"baseline": tiny_language_subject(), "other": tiny_language_subject(seed=1, name="other")}
    data = tiny_language_dataset(80)
    bench = Bench(
        subjects=subjects,
        data=data,
        data_digest=data.digest(),
        held_out=data.held_out(),
        audits={name: AUDITS.make(name, more) for name, more in AUDITS_OF_IT.items()},
        seed=1,
        batch_size=64,
        device="cpu",
    )
    results = Runner(bench=bench, executor=SerialExecutor()).run()
    rules = (Rule(figure="language-modelling/perplexity", at_most=3.0),)
    return sample_run(
        title="A model of language",
        subjects=tuple(subject.card for subject in subjects.values()),
        data=data.card(),
        results=results,
        findings=judge(rules, results, tuple(subject.card for subject in subjects.values())),
    )


@pytest.fixture(scope="module")
def rendered(language_run):
    return Page(render_html(language_run, "en"))


def tokens(*pieces, separator=" "):
    return Tokens(
        title=Message(text="t"),
        tokens=tuple(Token(text=text, weight=weight) for text, weight in pieces),
        scale=Message(text="s"),
        separator=separator,
    )


def test_the_report_of_a_language_model_is_whole(rendered):
    text = rendered.text()
    assert rendered.misplaced == []
    assert "Perplexity" in text
    assert "classes" not in [words for tag, words in rendered.texts if tag == "dt"]


def test_audits_of_classes_are_skipped_with_words_a_reader_understands(language_run, rendered):
    assert "It needs a subject that predicts classes." in rendered.text()
    chinese = Page(render_html(language_run, "zh")).text()
    assert "能预测类别的模型" in chinese
    assert "a subject that" not in chinese


def test_rows_of_tokens_are_told_by_how_many_they_may_be(rendered):
    facts = [text for tag, text in rendered.texts if tag in {"dt", "dd"}]
    assert facts[facts.index("tokens per row") + 1] == "up to 12"
    assert "features" not in facts


def test_perplexity_leads_the_comparison_of_variants(language_run):
    view = page(language_run, EN)
    first = view.costs.bands[0][0]
    assert first.heading == "Perplexity"
    assert first.cells[1].change.value.startswith("× ")


def test_the_model_card_of_a_language_model_claims_no_classes(language_run):
    card = render_model_card(language_run)
    assert "foretells tokens of a language" in card
    assert "classes:" not in card
    assert '"language-modelling/perplexity"' in card


def test_other_exports_of_a_language_model_are_made(language_run):
    assert "perplexity" in render_json(language_run)
    assert "Perplexity" in render_markdown(language_run, "en") or "perplexity" in render_markdown(
        language_run, "en"
    )


def test_the_unit_of_an_axis_is_named_once_in_full_width_brackets_too():
    assert with_unit("平均绝对归因（nat）", "nat", Scale(1.0, "nat")) == "平均绝对归因（nat）"
    assert with_unit("平均绝对归因", "nat", Scale(1.0, "nat")) == "平均绝对归因, nat"


def test_words_stand_apart_and_characters_together():
    words = evidence_view(tokens(("good", 1.0), ("film", -0.5)), EN)
    characters = evidence_view(tokens(("a", 1.0), ("b", -0.5), separator=""), EN)
    assert (words.separator, characters.separator) == (" ", "")


def test_characters_are_set_without_anything_between_them():
    run = sample_run()
    evidence = (tokens(("t", 0.9), ("o", 0.0), (" ", -0.9), ("↵\n", 0.9), separator=""),)
    result = run.results[0].model_copy(update={"evidence": evidence})
    html = render_html(run.model_copy(update={"results": (result,)}), "en")
    assert (
        '<span class="p4" tabindex="0">t<i> +0.9</i></span>o'
        '<span class="n4" tabindex="0"> <i> −0.9</i></span>'
        '<span class="p4" tabindex="0">↵\n<i> +0.9</i></span></p>'
    ) in html


def test_only_the_tokens_of_the_table_can_be_reached_by_keyboard():
    many = [(f"w{index}", 0.5 + index / 200) for index in range(60)]
    views = evidence_view(tokens(*many), EN).tokens
    assert [bool(view.weight) for view in views] == [False] * 36 + [True] * 24
    assert views[-1].weight == "+0.79"


@pytest.mark.parametrize(
    ("weight", "class_"),
    [(1.0, "p5"), (0.2, "p1"), (0.05, ""), (0.0, ""), (-0.05, ""), (-0.6, "n3"), (-1.0, "n5")],
)
def test_colour_follows_the_weight_in_steps(weight, class_):
    assert evidence_view(tokens(("word", weight)), EN).tokens[0].class_ == class_


def test_the_table_holds_the_heaviest_tokens_in_the_order_of_the_text():
    many = [(f"w{index}", (index % 40) / 40) for index in range(120)]
    table = evidence_view(tokens(*many), EN).table
    places = [int(row[0].number.value) for row in table.rows]
    assert len(places) == 24
    assert places == sorted(places)
    assert {row[1].text for row in table.rows} >= {"w39", "w79", "w119"}
    assert table.note == "96 lighter ones are in run.json."


def test_a_line_break_can_be_seen_in_the_table():
    table = evidence_view(tokens(("↵\n", 1.0), (" ", 0.5), separator=""), EN).table
    assert [row[1].text for row in table.rows] == [visible("\n"), visible(" ")]


def test_tokens_that_are_markup_stay_text():
    run = sample_run()
    result = run.results[0].model_copy(update={"evidence": (tokens(("<script>alert(1)</script>", 1.0)),)})
    html = render_html(run.model_copy(update={"results": (result,)}), "en")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
