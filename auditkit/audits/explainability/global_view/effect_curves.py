"""Partial dependence with its spread over rows, and accumulated local effects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import logsumexp

from auditkit.audits.explainability.global_view.asked import Asked
from auditkit.audits.explainability.global_view.table_features import TableFeature
from auditkit.data.dataset import FloatArray, IntArray

Scale = Literal["probability", "log_odds"]

OUTERMOST = 0.025
"""Share of the rows beyond each end of a curve: what lies there may be about a single row."""

FEWEST_IN_BIN = 5
"""Rows between two edges of accumulated effects; a bin with fewer tells its spread badly."""


@dataclass(frozen=True, slots=True)
class Score:
    """The one number of each row whose movement is described.

    Attributes:
        target: Class whose probability it is; ``None`` in a regression.
        scale: Of a probability; answers without probabilities count as 0 and 1.
    """

    target: int | None
    scale: Scale

    def of(self, asked: Asked, inputs: torch.Tensor, index: IntArray) -> FloatArray:
        """Scores of rows ``index`` with other inputs, shape ``(m,)``."""
        if self.target is None:
            return asked.outputs(inputs, index)[:, 0]
        if self.scale == "probability" or asked.cost == "brier":
            return asked.outputs(inputs, index)[:, self.target]
        answers = asked.answers(inputs, index)
        others = np.delete(answers, self.target, axis=1)
        return np.asarray(answers[:, self.target] - logsumexp(others, axis=1))


@dataclass(frozen=True, slots=True)
class Effect:
    """A curve of the score over values of a feature.

    Attributes:
        points: Values in the reader's unit, ascending; of a category the codes of its levels.
        curve: Mean score at each, shape ``(n_points,)``.
        influence: What each row adds to the error of each point, with mean 0, shape ``(n, n_points)``.
        rows: Rows behind it, by their place, shape ``(n,)``.
    """

    points: FloatArray
    curve: FloatArray
    influence: FloatArray
    rows: IntArray


def grid_of(feature: TableFeature, inputs: FloatArray, most: int) -> FloatArray:
    """Values that every row is given: all that occur where they are few, else quantiles but the outermost.

    Args:
        feature: A number or a category.
        inputs: Encoded rows, shape ``(n, width)``.
        most: Points for a number; of the levels of a category the most frequent.
    """
    if feature.kind == "number":
        values = feature.numbers(inputs)
        known = values[np.isfinite(values)]
        found = np.unique(known)
        if len(found) <= most:
            return found
        return _quantiles(known, most)
    codes = feature.codes(inputs)
    counts = np.bincount(codes[codes < len(feature.levels)], minlength=len(feature.levels))
    frequent = np.argsort(-counts, kind="stable")[:most]
    return np.sort(frequent[counts[frequent] > 0]).astype(np.float64)


def _quantiles(values: FloatArray, n: int) -> FloatArray:
    levels = np.linspace(OUTERMOST, 1 - OUTERMOST, n)
    return np.unique(np.quantile(values, levels, method="inverted_cdf"))


def conditional_curves(asked: Asked, score: Score, feature: TableFeature, grid: FloatArray) -> FloatArray:
    """Score of every row with every value of the grid, shape ``(n, n_points)`` (ICE), asked in one batch.

    Source:
        Goldstein et al. (2015), Journal of Computational and Graphical Statistics 24:44-65.
    """
    n, own = len(asked.rows), asked.inputs
    changed = own.repeat(len(grid), 1)
    encoded = [_encoded(feature, value) for value in grid]
    held = torch.tensor(encoded, dtype=torch.float64).to(own.dtype)
    changed[:, torch.tensor(feature.columns)] = held.repeat_interleave(n, dim=0)
    scores = score.of(asked, changed, np.tile(np.arange(n), len(grid)))
    return np.asarray(scores.reshape(len(grid), n).T)


def _encoded(feature: TableFeature, value: float) -> tuple[float, ...]:
    return (
        feature.encoded_number(float(value))
        if feature.kind == "number"
        else feature.encoded_level(int(value))
    )


def partial_dependence(curves: FloatArray, grid: FloatArray) -> Effect:
    """Mean of the curves of all rows.

    Source:
        Friedman (2001), Annals of Statistics 29:1189-1232, section 8.2.
    """
    mean = curves.mean(axis=0)
    return Effect(grid, mean, curves - mean, np.arange(len(curves)))


def heterogeneity(curves: FloatArray) -> tuple[float, FloatArray]:
    """How much the effect of a feature differs between rows, and what each row adds to its square.

    Each row's curve loses its own mean over the grid. The figure is the standard deviation across rows of
    what is left, as root mean square over the grid: 0 where all curves are parallel, that is, where the
    feature takes part in no interaction.

    Returns:
        The figure, and squares of shape ``(n,)`` whose mean is its square.
    """
    shape = curves - curves.mean(axis=1, keepdims=True)
    squares = ((shape - shape.mean(axis=0)) ** 2).mean(axis=1)
    squares = squares * len(curves) / max(1, len(curves) - 1)
    return float(np.sqrt(squares.mean())), squares


def edges_of(values: FloatArray, bins: int) -> FloatArray | None:
    """Edges of bins with about as many rows each, values of rows themselves; ``None`` without a spread.

    All different values are edges where they are few; else the outermost rows lie beyond the edges.

    Args:
        values: Finite, shape ``(n,)``.
        bins: At most so many.
    """
    fitting = max(1, min(bins, len(values) // FEWEST_IN_BIN))
    found = np.unique(values)
    edges = found if len(found) <= fitting + 1 else _quantiles(values, fitting + 1)
    return edges if len(edges) > 1 else None


def accumulated_effects(asked: Asked, score: Score, feature: TableFeature, bins: int) -> Effect | None:
    """Effects of small steps from each row's own value, averaged within bins and added up.

    Rows only ever get a value of their own bin, so that no row is asked about that is far from the data.
    The curve is centred to mean 0 over the rows. Rows without a value, or beyond the edges, take no part.
    ``None`` where values do not vary.

    Source:
        Apley and Zhu (2020), Journal of the Royal Statistical Society B 82:1059-1086.
    """
    values = feature.numbers(asked.inputs.numpy().astype(np.float64))
    rows = np.flatnonzero(np.isfinite(values))
    edges = edges_of(values[rows], bins) if len(rows) > 1 else None
    if edges is None:
        return None
    rows = rows[(values[rows] >= edges[0]) & (values[rows] <= edges[-1])]
    place = np.clip(np.searchsorted(edges, values[rows], side="left") - 1, 0, len(edges) - 2)
    steps = _steps(asked, score, feature, rows, (edges[place], edges[place + 1]))
    counts = np.bincount(place, minlength=len(edges) - 1)
    means = np.bincount(place, weights=steps, minlength=len(edges) - 1) / np.maximum(counts, 1)
    weights = _weights(counts)
    # the mean of a bin moves by a row's deviation over the rows in the bin
    deviation = (steps - means[place]) / counts[place] * len(rows)
    return Effect(edges, weights @ means, weights[:, place].T * deviation[:, None], rows)


def _steps(
    asked: Asked,
    score: Score,
    feature: TableFeature,
    rows: IntArray,
    ends: Sequence[FloatArray],
) -> FloatArray:
    """Score at the upper minus score at the lower end of each row's bin, shape ``(n,)``."""
    own = asked.inputs[torch.from_numpy(rows)]
    parts = []
    for values in ends:
        changed = own.clone()
        held = torch.tensor([feature.encoded_number(float(value)) for value in values], dtype=torch.float64)
        changed[:, torch.tensor(feature.columns)] = held.to(own.dtype)
        parts.append(changed)
    scores = score.of(asked, torch.cat(parts), np.tile(rows, 2))
    return np.asarray(scores[len(rows) :] - scores[: len(rows)])


def _weights(counts: IntArray) -> FloatArray:
    """How much each bin's mean step weighs in the centred curve at each edge, ``(n_bins + 1, n_bins)``."""
    n_bins = len(counts)
    added = np.tril(np.ones((n_bins + 1, n_bins)), k=-1)
    middle = (added[:-1] + added[1:]) / 2
    return np.asarray(added - counts @ middle / counts.sum())
