"""The steps between raw rows and the inputs of a model, as values that are stored with a checkpoint."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


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


Preprocessing = TablePreprocessing | ImagePreprocessing


def n_inputs(preprocessing: Preprocessing) -> int:
    """Numbers per encoded row."""
    if isinstance(preprocessing, ImagePreprocessing):
        return preprocessing.height * preprocessing.width
    return sum(n_columns(feature) for feature in preprocessing.features)


def n_columns(feature: NumericFeature | CategoricalFeature) -> int:
    """Input columns of one feature."""
    return 1 + feature.missing_indicator if isinstance(feature, NumericFeature) else len(feature.levels)
