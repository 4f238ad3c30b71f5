"""How raw rows become the inputs of a model: fitted on training rows only, stored with the checkpoint."""

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
    TextPreprocessing,
    n_inputs,
    sizes_of,
)

__all__ = [
    "CategoricalFeature",
    "ImagePreprocessing",
    "LanguagePreprocessing",
    "NumericFeature",
    "Preprocessing",
    "TablePreprocessing",
    "TextPreprocessing",
    "encode",
    "fit_preprocessing",
    "n_inputs",
    "sizes_of",
]
