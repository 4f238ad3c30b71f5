"""What the preprocessing learned from the private rows, and whether epsilon covers it."""

from collections.abc import Iterator

from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    RawTablePreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from auditkit.data.public_steps import public_steps
from auditkit.data.rare_levels import is_told
from auditkit.data.steps import RawText
from auditkit.data.tokenizers import CharacterTokenizer, WordTokenizer
from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.preflight.report import Check, passed, warned
from auditkit.records import Message


def refuse_learned_vocabulary(steps: Preprocessing | None, *, is_public: bool) -> None:
    """Refuse texts whose words were collected from the private rows, unless they are public all the same.

    Raises:
        PrivacyRefusedError: With what can be done.
    """
    if is_public or not isinstance(steps, TextPreprocessing | LanguagePreprocessing):
        return
    if isinstance(steps.tokenizer, WordTokenizer | CharacterTokenizer):
        raise PrivacyRefusedError(
            f"private training: the vocabulary of {len(steps.tokenizer.vocabulary)} tokens was collected "
            "from the training rows, and epsilon would not cover which words occur there. If it is public, "
            "say so: --public-preprocessing (public_preprocessing: true in a config). Else read texts as "
            "bytes (data.tokenizer: byte) or by a pretrained tokenizer, and train the audited model again"
        )


def preprocessing_checks(
    steps: Preprocessing | None, n_measuring: int, *, is_public: bool
) -> Iterator[Check]:
    """What epsilon covers of the preprocessing, and what it does not.

    Args:
        steps: By which the private rows were encoded; ``None`` where that is not known.
        n_measuring: How many steps measure the figures of a table.
        is_public: By the user's word.
    """
    if is_public:
        return
    if isinstance(steps, TablePreprocessing | RawTablePreprocessing):
        yield from _of_table(steps, n_measuring)
    elif isinstance(steps, ImagePreprocessing):
        if steps == public_steps(steps):
            yield passed("preprocessing", Message(text=_CONSTANTS))
        else:
            yield warned("preprocessing", Message(text=_PIXELS))


def _of_table(steps: TablePreprocessing | RawTablePreprocessing, n_measuring: int) -> Iterator[Check]:
    n_numbers = sum(isinstance(feature, NumericFeature) for feature in steps.features)
    texts = [feature for feature in steps.features if isinstance(feature, CategoricalFeature | RawText)]
    if n_numbers:
        values = {"n": n_numbers, "steps": n_measuring}
        yield passed("preprocessing", Message(text=_MEASURED, values=values))
    if texts:
        values = {"n": sum(is_told(level) for feature in texts for level in feature.levels)}
        yield warned("preprocessing", Message(text=_LEVELS, values=values))


def taken_as_public(steps: Preprocessing | None, *, is_public: bool) -> tuple[Message, ...]:
    """What the guarantee takes as public of the preprocessing; the arguments as of the checks."""
    if steps is None:
        return (Message(text=_UNKNOWN),)
    if is_public:
        return (Message(text=_PUBLIC),)
    is_table = isinstance(steps, TablePreprocessing | RawTablePreprocessing)
    return (Message(text=_SCHEMA if is_table else _CLASSES),)


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
_SCHEMA = "Which columns there are, of which kind and which with gaps, and the classes are taken as public."
_CLASSES = "The classes, and the size of pictures or the length of texts, are taken as public."
_LEVELS = (
    "the levels of text columns, {n} in all, are those of the training rows; epsilon does not cover that "
    "they occur there"
)
_PIXELS = (
    "mean and scale of the pixels were learned from the training rows without noise; epsilon does not "
    "cover them"
)
