"""Certificates tell what of the preprocessing is covered, what is public and what is neither."""

import pytest

from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    TablePreprocessing,
    TextPreprocessing,
)
from auditkit.data.public_steps import public_steps
from auditkit.data.tokenizers import ByteTokenizer, CharacterTokenizer, WordTokenizer
from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.preflight.learned_steps import (
    preprocessing_checks,
    refuse_learned_steps,
    taken_as_public,
)

CLASSES = ("no", "yes")
NUMBER = NumericFeature(name="age", mean=40.0, scale=10.0, fill=38.0)
LEVELS = CategoricalFeature(name="city", levels=("b", "a", "c"))
TABLE = TablePreprocessing(target="t", classes=CLASSES, features=(NUMBER, LEVELS))
PICTURES = ImagePreprocessing(
    target="t", classes=CLASSES, height=8, width=8, divisor=255, mean=0.1, scale=0.3
)


def texts(tokenizer) -> TextPreprocessing:
    return TextPreprocessing(target="t", classes=CLASSES, tokenizer=tokenizer, length=4)


def told(steps, *, is_public=False, levels_are_public=False) -> list[tuple[str, str]]:
    found = preprocessing_checks(steps, 50, is_public=is_public, levels_are_public=levels_are_public)
    return [(check.status, str(check.message)) for check in found]


def test_measured_figures_of_a_table_are_covered_and_so_are_its_levels():
    measured, levels = told(public_steps(TABLE))
    assert measured == (
        "passed",
        "means and scales of numeric columns, 1 in all, were measured by the first 50 steps, within epsilon",
    )
    assert levels == (
        "passed",
        "text columns, 1 in all: of their levels those have a name that noisy counts of the first 50 steps "
        "found frequent, within epsilon and delta",
    )
    (public,) = taken_as_public(TABLE, is_public=False, levels_are_public=False)
    assert str(public).startswith("Which columns there are")


def test_levels_that_the_user_calls_public_are_taken_as_such_and_numbers_are_measured_all_the_same():
    ((status, text),) = told(public_steps(TABLE), levels_are_public=True)
    assert (status, text.startswith("means and scales")) == ("passed", True)
    (public,) = taken_as_public(TABLE, is_public=False, levels_are_public=True)
    assert "levels of text columns, by the word of the user" in str(public)


def test_of_pixels_scaled_by_constants_it_is_said_that_they_are():
    ((status, text),) = told(public_steps(PICTURES))
    assert (status, "scaled by constants" in text) == ("passed", True)


@pytest.mark.parametrize(("steps", "named"), [(TABLE, "columns"), (PICTURES, "pixels")])
def test_figures_that_were_learned_from_the_rows_are_refused_with_what_to_do(steps, named):
    with pytest.raises(PrivacyRefusedError, match=rf"scales of the {named}.*--public-preprocessing"):
        refuse_learned_steps(steps, is_public=False)
    refuse_learned_steps(steps, is_public=True)
    refuse_learned_steps(public_steps(steps), is_public=False)


def test_what_the_user_says_is_public_is_taken_as_such_and_nothing_else_is_said():
    for steps in (TABLE, PICTURES, texts(WordTokenizer(words=("so",)))):
        assert told(steps, is_public=True) == []
        (sentence,) = taken_as_public(steps, is_public=True, levels_are_public=False)
        assert "by the word of the user" in str(sentence)


def test_of_rows_whose_steps_are_not_known_it_is_said_that_nothing_covers_them():
    (sentence,) = taken_as_public(None, is_public=False, levels_are_public=False)
    assert "are not covered, unless they were public" in str(sentence)


@pytest.mark.parametrize(
    "tokenizer", [WordTokenizer(words=("so", "it")), CharacterTokenizer(characters=("a", "b"))]
)
def test_a_vocabulary_of_the_private_rows_is_refused_with_what_to_do(tokenizer):
    with pytest.raises(PrivacyRefusedError, match=r"vocabulary of 4 tokens.*--public-preprocessing"):
        refuse_learned_steps(texts(tokenizer), is_public=False)
    refuse_learned_steps(texts(tokenizer), is_public=True)


def test_texts_read_as_bytes_are_not_refused():
    refuse_learned_steps(texts(ByteTokenizer()), is_public=False)
    assert told(texts(ByteTokenizer())) == []


def test_public_steps_hold_no_figure_and_no_order_of_the_rows():
    number, levels = public_steps(TABLE).features
    assert (number.mean, number.scale, number.fill) == (0.0, 1.0, 0.0)
    assert levels.levels == ("a", "b", "c")
    assert public_steps(texts(ByteTokenizer())) == texts(ByteTokenizer())
