"""How raw rows become the inputs of a model: fitted on training rows only, stored with the checkpoint."""

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.raw import fit_raw
from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    RawTablePreprocessing,
    TablePreprocessing,
    TextPreprocessing,
    ValueTablePreprocessing,
    foretells_value,
    n_inputs,
    sizes_of,
)

__all__ = [
    "CategoricalFeature",
    "ImagePreprocessing",
    "LanguagePreprocessing",
    "NumericFeature",
    "Preprocessing",
    "RawTablePreprocessing",
    "TablePreprocessing",
    "TextPreprocessing",
    "ValueTablePreprocessing",
    "encode",
    "fit_preprocessing",
    "fit_raw",
    "foretells_value",
    "n_inputs",
    "sizes_of",
]
