"""How raw rows become the inputs of a model: fitted on training rows only, stored with the checkpoint."""

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
    n_inputs,
)

__all__ = [
    "CategoricalFeature",
    "ImagePreprocessing",
    "NumericFeature",
    "Preprocessing",
    "TablePreprocessing",
    "encode",
    "fit_preprocessing",
    "n_inputs",
]
