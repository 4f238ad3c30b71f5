"""The steps between raw rows and the inputs of a model, as values that are stored with a checkpoint."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from auditkit.data.tokenizers import Tokenizer


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NumericFeature(_Step):
    """Standardised as ``(x - mean) / scale``; a missing value becomes ``fill`` first.

    ``missing_indicator`` adds an input column that is 1 where the value was missing.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    mean: float
    scale: float = Field(gt=0)
    fill: float
    missing_indicator: bool = False


class CategoricalFeature(_Step):
    """One input column per level; a level unseen in training sets none of them."""

    kind: Literal["categorical"] = "categorical"
    name: str
    levels: tuple[str, ...]


class TablePreprocessing(_Step):
    """Columns in the order in which they are laid side by side."""

    kind: Literal["table"] = "table"
    target: str
    classes: tuple[str, ...]
    features: tuple[Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")], ...]


class ValueTablePreprocessing(_Step):
    """As :class:`TablePreprocessing`, for models that foretell a number.

    A model is trained on ``(target - mean) / scale``; its answers are given back in the unit of the target.
    """

    kind: Literal["table-value"] = "table-value"
    target: str
    mean: float
    scale: float = Field(gt=0)
    features: tuple[Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """None: the answer is a number."""
        return ()


class RawNumber(_Step):
    """A column of numbers as it was read; ``whole`` where all are whole and none is missing."""

    kind: Literal["number"] = "number"
    name: str
    whole: bool = False


class RawText(_Step):
    """A column of texts as it was read; ``levels`` are those that occur, in alphabetical order."""

    kind: Literal["text"] = "text"
    name: str
    levels: tuple[str, ...]


class RawTablePreprocessing(_Step):
    """Rows as they were read, for models that bring their own steps: one column per feature.

    Numbers stay as they are, texts become the index of their level; NaN is a missing value. There are no
    classes where the target is a number to be foretold.
    """

    kind: Literal["raw"] = "raw"
    target: str
    classes: tuple[str, ...]
    features: tuple[Annotated[RawNumber | RawText, Field(discriminator="kind")], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return tuple(feature.name for feature in self.features)


class ImagePreprocessing(_Step):
    """Pixels divided by ``divisor``, then standardised; ``flatten`` lays a row out as one vector."""

    kind: Literal["image"] = "image"
    target: str
    classes: tuple[str, ...]
    height: int
    width: int
    divisor: float = Field(gt=0)
    mean: float
    scale: float = Field(gt=0)
    flatten: bool = True


class TextPreprocessing(_Step):
    """A text as token ids, cut or filled up on the right to ``length``."""

    kind: Literal["text"] = "text"
    target: str
    classes: tuple[str, ...]
    tokenizer: Tokenizer
    length: int = Field(ge=1)


class LanguagePreprocessing(_Step):
    """A text as token ids of which each is to be foretold from those before it; at most ``length`` of them.

    ``classes`` are the tokens: what a model of language chooses from.
    """

    kind: Literal["language"] = "language"
    target: str = "next token"
    tokenizer: Tokenizer
    length: int = Field(ge=1)

    @property
    def classes(self) -> tuple[str, ...]:
        """The text of every token."""
        return self.tokenizer.vocabulary


Preprocessing = (
    TablePreprocessing
    | ValueTablePreprocessing
    | RawTablePreprocessing
    | ImagePreprocessing
    | TextPreprocessing
    | LanguagePreprocessing
)
AnyPreprocessing = Annotated[Preprocessing, Field(discriminator="kind")]


def foretells_value(preprocessing: Preprocessing) -> bool:
    """Whether the rows are for a model that foretells a number."""
    return not preprocessing.classes and not isinstance(preprocessing, LanguagePreprocessing)


def n_inputs(preprocessing: Preprocessing) -> int:
    """Numbers per encoded row."""
    if isinstance(preprocessing, ImagePreprocessing):
        return preprocessing.height * preprocessing.width
    if isinstance(preprocessing, TablePreprocessing | ValueTablePreprocessing):
        return sum(n_columns(feature) for feature in preprocessing.features)
    if isinstance(preprocessing, RawTablePreprocessing):
        return len(preprocessing.features)
    return preprocessing.length


def sizes_of(preprocessing: Preprocessing) -> dict[str, int]:
    """The sizes that an architecture may leave open, by the name of its parameter; a number is one class."""
    n_outputs = 1 if foretells_value(preprocessing) else len(preprocessing.classes)
    sizes = {"n_inputs": n_inputs(preprocessing), "n_classes": n_outputs}
    if isinstance(preprocessing, ImagePreprocessing):
        sizes |= {"height": preprocessing.height, "width": preprocessing.width}
    if isinstance(preprocessing, TextPreprocessing | LanguagePreprocessing):
        sizes |= {
            "length": preprocessing.length,
            "vocabulary_size": len(preprocessing.tokenizer.vocabulary),
        }
    return sizes


def n_columns(feature: NumericFeature | CategoricalFeature) -> int:
    """Input columns of one feature."""
    return 1 + feature.missing_indicator if isinstance(feature, NumericFeature) else len(feature.levels)
