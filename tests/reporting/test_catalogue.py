"""The Chinese catalogue: complete, compiled, with the same placeholders, and the same numbers on the page."""

import io
import re
import string
from collections import Counter

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from auditkit.records import Message
from auditkit.reporting.language import texts_for
from tests.reporting.extraction import (
    CATALOGUE,
    PACKAGE,
    all_messages,
    all_values,
    differences,
    messages_of,
)
from tests.reporting.page_reading import Page


@pytest.fixture(scope="module")
def catalogue():
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh")


def test_catalogue_holds_exactly_the_texts_of_the_source():
    assert differences() == []


def test_texts_about_privacy_have_one_word_for_a_row(catalogue):
    said = {one.id: one.string for one in catalogue if isinstance(one.id, str)}
    texts = [text for path in sorted((PACKAGE / "privacy").rglob("*.py")) for text in messages_of(path)]
    of_rows = [said[text] for text in texts if re.search(r"\brows?\b", text)]
    assert len(of_rows) > 20
    assert [text for text in of_rows if re.search("[一每各条]行|这些行|训练行|其他行|行数", text)] == []


def test_extraction_finds_texts_of_templates_code_and_values():
    messages = all_messages()
    assert "What this audit could not show" in messages
    assert "The whole interval clears the threshold." in messages
    assert "a subject that predicts classes" in all_values()


def test_compiled_catalogue_is_up_to_date(catalogue):
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    stored = CATALOGUE.with_suffix(".mo").read_bytes()
    assert stored == compiled.getvalue(), "stale: run `make locales`"


def test_no_translation_is_uncertain(catalogue):
    assert not [message.id for message in catalogue if message.fuzzy and message.id]


def placeholders(template: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(template) if name}


def test_translations_fill_the_same_values_in_the_same_format(catalogue):
    for message in catalogue:
        if message.id:
            english = message.id if isinstance(message.id, str) else message.id[1]
            chinese = message.string if isinstance(message.string, str) else message.string[0]
            if "{" in english and "}" in english:
                assert placeholders(chinese) == placeholders(english), english


def test_numbers_are_the_same_in_both_languages(english, chinese):
    found = [
        Counter(re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", Page(html).text(but=("style", "pre"))))
        for html in (english, chinese)
    ]
    assert found[0] == found[1]


def test_both_languages_have_the_same_elements(english, chinese):
    # not in the same order: columns are balanced by the length of their texts
    assert sorted(tag for tag, _ in Page(english).elements) == sorted(
        tag for tag, _ in Page(chinese).elements
    )


def test_page_says_its_language(english, chinese):
    assert '<html lang="en">' in english
    assert '<html lang="zh-Hans">' in chinese


def test_own_words_are_chinese_on_the_chinese_page(chinese):
    text = Page(chinese).text()
    for english in ("Fail", "Inconclusive", "measured", "What this audit", "samples", "at most", "Table"):
        assert english not in text, english


def test_values_of_messages_are_data_and_stay():
    texts = texts_for("zh")
    message = Message(text="The audit {audit} is not part of this run.", values={"audit": "accuracy"})
    assert texts.message(message) == "本次运行不含审计 accuracy。"


def test_known_terms_in_values_are_translated():
    needs = "a subject that predicts classes; data.positive: the favourable label"
    message = Message(text="It needs {needs}.", values={"needs": needs})
    assert texts_for("zh").message(message) == "需要：能预测类别的模型；data.positive: 有利标签。"


def test_text_without_translation_stays_english():
    assert texts_for("zh").message(Message(text="A third-party remark.")) == "A third-party remark."


def test_text_without_values_is_literal():
    assert texts_for("en").message(Message(text="a {brace} stays")) == "a {brace} stays"


def test_empty_text_is_empty_not_the_catalogue_header():
    assert texts_for("zh").message(Message(text="")) == ""


def test_template_that_does_not_fit_its_values_is_shown_as_it_is():
    message = Message(text="{a} of {b}", values={"a": 1})
    assert texts_for("en").message(message) == "{a} of {b}"
