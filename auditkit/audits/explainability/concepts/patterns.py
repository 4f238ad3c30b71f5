"""Concepts painted over pictures: half of the rows get the pattern, the others the same paint shuffled.

Pictures made of a pattern alone would be told from pictures of the data by anything about them. Here both
kinds are pictures of the data under equally much paint; only its arrangement differs, which is the concept.
"""

import numpy as np

from auditkit.audits.explainability.concepts.definition import Pattern
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.data.preprocessing import ImagePreprocessing

STRENGTH = 0.5
"""Share of the paint in a painted pixel."""


def painted(
    inputs: FloatArray,
    shows: BoolArray,
    pattern: Pattern,
    *,
    preprocessing: object,
    image_shape: tuple[int, int],
    rng: np.random.Generator,
) -> FloatArray:
    """Pictures under paint: arranged as the pattern where ``shows``, the same pixels shuffled elsewhere.

    Args:
        inputs: As the model reads them, shape ``(n, *d)``, ``d`` any number of whole pictures (channels).
        shows: Which pictures get the pattern, shape ``(n,)``.
        pattern: Which one; its phase, width and size are drawn anew for every picture.
        preprocessing: That of the subject, which says what black and white are; without, the range of the
            inputs does.
        image_shape: ``(height, width)``.
        rng: Draws.
    """
    black, white = _range(inputs, preprocessing)
    height, width = image_shape
    pictures = inputs.reshape(len(inputs), -1, height, width)
    found = np.empty_like(pictures)
    for row, picture in enumerate(pictures):
        paint = pattern_of(pattern, height, width, rng)
        if not shows[row]:
            paint = rng.permutation(paint.ravel()).reshape(height, width)
        found[row] = (1 - STRENGTH) * picture + STRENGTH * (black + (white - black) * paint)
    return found.reshape(inputs.shape)


def pattern_of(pattern: Pattern, height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Grey values in ``[0, 1]``, shape ``(height, width)``."""
    if pattern in ("horizontal-stripes", "vertical-stripes"):
        length = height if pattern == "horizontal-stripes" else width
        period = int(rng.integers(2, max(3, length // 3) + 1))
        line = ((np.arange(length) + rng.integers(period)) % period < (period + 1) // 2).astype(np.float64)
        other = width if pattern == "horizontal-stripes" else height
        stripes = np.repeat(line[:, None], other, axis=1)
        return stripes if pattern == "horizontal-stripes" else stripes.T
    rows, columns = np.meshgrid(
        (np.arange(height) + 0.5) / height - 0.5, (np.arange(width) + 0.5) / width - 0.5, indexing="ij"
    )
    if pattern == "bright-centre":
        reach = rng.uniform(0.15, 0.3)
        return np.exp(-(rows**2 + columns**2) / (2 * reach**2))
    margin = rng.uniform(0.1, 0.25)
    return (np.maximum(np.abs(rows), np.abs(columns)) > 0.5 - margin).astype(np.float64)


def _range(inputs: FloatArray, preprocessing: object) -> tuple[float, float]:
    """What black and white are among the inputs."""
    if isinstance(preprocessing, ImagePreprocessing):
        return -preprocessing.mean / preprocessing.scale, (1 - preprocessing.mean) / preprocessing.scale
    return float(inputs.min()), float(inputs.max())
