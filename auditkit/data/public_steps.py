"""Preprocessing that nothing private was learned for: what a private training starts from."""

from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
)

PIXEL_MEAN, PIXEL_SCALE = 0.0, 0.5
"""Of grey values within 0 and 1. Black stays 0, as most of many pictures is black."""


def public_steps(fitted: Preprocessing) -> Preprocessing:
    """``fitted`` without the figures that were learned from rows.

    Numbers of a table stay as they are, and missing ones are 0; pixels are scaled by constants. What is kept
    is the schema: columns, their kinds, which of them have missing values, the classes, and the levels, in
    alphabetical order, as the other one tells which are frequent. Texts are read as before.
    """
    if isinstance(fitted, TablePreprocessing):
        return fitted.model_copy(
            update={"features": tuple(_without_figures(feature) for feature in fitted.features)}
        )
    if isinstance(fitted, ImagePreprocessing):
        return fitted.model_copy(update={"mean": PIXEL_MEAN, "scale": PIXEL_SCALE})
    return fitted


def _without_figures(feature: NumericFeature | CategoricalFeature) -> NumericFeature | CategoricalFeature:
    if isinstance(feature, NumericFeature):
        return feature.model_copy(update={"mean": 0.0, "scale": 1.0, "fill": 0.0})
    return feature.model_copy(update={"levels": tuple(sorted(feature.levels))})
