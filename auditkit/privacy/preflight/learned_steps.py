"""What the preprocessing learned from the private rows, and whether epsilon covers it."""

from collections.abc import Iterator

from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from auditkit.data.public_steps import public_steps
from auditkit.data.tokenizers import CharacterTokenizer, WordTokenizer
from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.preflight.report import Check, passed
from auditkit.records import Message


def refuse_learned_steps(steps: Preprocessing | None, *, is_public: bool) -> None:
    """Refuse what was learned from the private rows without noise, unless it is public all the same.

    Raises:
        PrivacyRefusedError: Texts are read by words that were collected from them, or numbers and pixels
            are scaled by figures of the rows. With what can be done.
    """
    if is_public or steps is None:
        return
    if isinstance(steps, TextPreprocessing | LanguagePreprocessing):
        _refuse_vocabulary(steps)
    elif steps != public_steps(steps):
        raise PrivacyRefusedError(
            f"private training: means and scales of the {_NAMED[steps.kind]} were learned from the training "
            "rows, and epsilon would not cover them. If they are public, say so: --public-preprocessing "
            "(public_preprocessing: true in a config). Else give rows that are encoded by "
            "auditkit.data.public_steps"
        )


_NAMED = {"image": "pixels", "table": "columns"}


def _refuse_vocabulary(steps: TextPreprocessing | LanguagePreprocessing) -> None:
    if isinstance(steps.tokenizer, WordTokenizer | CharacterTokenizer):
        raise PrivacyRefusedError(
            f"private training: the vocabulary of {len(steps.tokenizer.vocabulary)} tokens was collected "
            "from the training rows, and epsilon would not cover which words occur there. If it is public, "
            "say so: --public-preprocessing (public_preprocessing: true in a config). Else read texts as "
            "bytes (data.tokenizer: byte) or by a pretrained tokenizer, and train the audited model again"
        )


def preprocessing_checks(
    steps: Preprocessing | None, n_measuring: int, *, is_public: bool, levels_are_public: bool
) -> Iterator[Check]:
    """What epsilon covers of the preprocessing.

    Args:
        steps: By which the private rows were encoded; ``None`` where that is not known.
        n_measuring: How many steps measure what is learned of a table.
        is_public: By the user's word.
        levels_are_public: Likewise.
    """
    if is_public:
        return
    if isinstance(steps, TablePreprocessing):
        yield from _of_table(steps, n_measuring, levels_are_public=levels_are_public)
    elif isinstance(steps, ImagePreprocessing):
        yield passed("preprocessing", Message(text=_CONSTANTS))


def _of_table(steps: TablePreprocessing, n_measuring: int, *, levels_are_public: bool) -> Iterator[Check]:
    n_numbers = sum(isinstance(feature, NumericFeature) for feature in steps.features)
    n_texts = sum(isinstance(feature, CategoricalFeature) for feature in steps.features)
    if n_numbers:
        values = {"n": n_numbers, "steps": n_measuring}
        yield passed("preprocessing", Message(text=_MEASURED, values=values))
    if n_texts and not levels_are_public:
        values = {"n": n_texts, "steps": n_measuring}
        yield passed("preprocessing", Message(text=_LEVELS, values=values))


def taken_as_public(
    steps: Preprocessing | None, *, is_public: bool, levels_are_public: bool
) -> tuple[Message, ...]:
    """What the guarantee takes as public of the preprocessing; the arguments as of the checks."""
    if steps is None:
        return (Message(text=_UNKNOWN),)
    if is_public:
        return (Message(text=_PUBLIC),)
    if not isinstance(steps, TablePreprocessing):
        return (Message(text=_CLASSES),)
    return (Message(text=_STATED_LEVELS if levels_are_public else _SCHEMA),)


_UNKNOWN = (
    "Preprocessing statistics fitted on the training rows (means, scales, fill values, category levels) are "
    "not covered, unless they were public beforehand."
)
_PUBLIC = "What the preprocessing learned (scales, levels, vocabulary) is public, by the word of the user."
_MEASURED = (
    "means and scales of numeric columns, {n} in all, were measured by the first {steps} steps, within "
    "epsilon"
)
_CONSTANTS = "pixels were scaled by constants, not by figures of the training rows"
_SCHEMA = (
    "Which columns there are, of which kind, how many levels each has and which have gaps, and the classes "
    "are taken as public."
)
_STATED_LEVELS = (
    "Which columns there are, of which kind and which have gaps, and the classes are taken as public; so are "
    "the levels of text columns, by the word of the user."
)
_CLASSES = "The classes, and the size of pictures or the length of texts, are taken as public."
_LEVELS = (
    "text columns, {n} in all: of their levels those have a name that noisy counts of the first {steps} "
    "steps found frequent, within epsilon and delta"
)
