"""How much the gaps between groups' curves move by resampling rows, for intervals of areas between curves.

An area between two curves is never negative, so percentiles of resampled areas never reach down to 0: they
would see a gap between any two groups. Here the resampled *deviation* of the gap curve from itself is
measured instead. The true area differs from the observed one by no more than the area of that deviation
(triangle inequality), which gives an interval that reaches 0 as often as it should, and is longer than
needed where the curves are far apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MOST_BINS = 128
"""Bins of score; the noise of an area is smooth, so few are enough."""

_FALSE_POSITIVE_RATES = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class AreaNoise:
    """Resampled areas of deviation, for every pair of groups.

    Attributes:
        pairs: The two groups of each, as indices into those given, shape ``(n_pairs, 2)``.
        typical: Mean area; about what chance alone makes of the area between two equal curves.
        reach: Half-widths under which the intervals of all pairs hold together.
    """

    pairs: IntArray
    typical: FloatArray
    reach: FloatArray


@dataclass(frozen=True, slots=True)
class ScoreBins:
    """Cuts between scores, with as nearly equal numbers of rows in each bin as ties allow."""

    edges: FloatArray

    @classmethod
    def of(cls, scores: npt.ArrayLike) -> "ScoreBins":
        """At most :data:`MOST_BINS` bins of these scores, shape ``(n,)``, at least one."""
        ordered = np.sort(np.asarray(scores, dtype=np.float64))
        cuts = np.unique(np.linspace(0, len(ordered), MOST_BINS + 1).round().astype(np.int64))[1:-1]
        # half-way between neighbours, so that rounding noise in a score moves no row
        edges = np.unique((ordered[cuts - 1] + ordered[cuts]) / 2)
        return cls(edges[edges < ordered[-1]])

    def count(self, scores: npt.ArrayLike) -> IntArray:
        """Rows per bin, shape ``(n_bins,)``."""
        bins = np.searchsorted(self.edges, np.asarray(scores, dtype=np.float64), side="left")
        return np.bincount(bins, minlength=len(self.edges) + 1).astype(np.int64)


def selection_noise(
    counts: Sequence[IntArray],
    thresholds: FloatArray,
    *,
    n_draws: int,
    confidence: float,
    rng: np.random.Generator,
) -> AreaNoise:
    """Noise of the area between the selection rates of every two groups.

    Args:
        counts: Rows per bin of every group, each of shape ``(n_bins,)``.
        thresholds: Where one bin ends and the next begins, on the scale over which the area is taken, shape
            ``(n_bins - 1,)``.
        n_draws: Resamples.
        confidence: That the intervals of all pairs hold together.
        rng: Source of randomness.
    """
    everyone = np.sum(counts, axis=0)
    curves = [_deviations(_resampled(one, everyone, n_draws, rng), _selected) for one in counts]
    # trapezoids over the thresholds from 0 to 1; at both ends every group selects all or none
    widths = np.diff(np.concatenate([[0.0], thresholds, [1.0]]))
    return _noise(curves, (widths[:-1] + widths[1:]) / 2, confidence)


def roc_noise(
    positives: Sequence[IntArray],
    negatives: Sequence[IntArray],
    *,
    n_draws: int,
    confidence: float,
    rng: np.random.Generator,
) -> AreaNoise:
    """Noise of the area between the ROC curves of every two groups.

    Args:
        positives: Positive rows per bin of every group, each of shape ``(n_bins,)``, at least one row.
        negatives: Other rows likewise.
        n_draws: Resamples.
        confidence: That the intervals of all pairs hold together.
        rng: Source of randomness.
    """
    all_positive, all_negative = np.sum(positives, axis=0), np.sum(negatives, axis=0)
    curves = []
    for up, down in zip(positives, negatives, strict=True):
        drawn_up = _resampled(up, all_positive, n_draws, rng)
        drawn_down = _resampled(down, all_negative, n_draws, rng)
        curves.append(_deviations(np.stack([drawn_up, drawn_down], axis=1), _roc))
    step = _FALSE_POSITIVE_RATES[1]
    weights = np.full(len(_FALSE_POSITIVE_RATES), step)
    weights[[0, -1]] = step / 2
    return _noise(curves, weights, confidence)


def _resampled(counts: IntArray, everyone: IntArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Shares per bin of resamples, the expected ones first, shape ``(1 + n_draws, n_bins)``.

    One row spread like those of all groups is added to what is drawn from, so that a handful of rows never
    looks certain.
    """
    total = int(counts.sum())
    share = (counts + everyone / everyone.sum()) / (total + 1)
    share = share / share.sum()
    return np.concatenate([share[None], rng.multinomial(total, share, size=n_draws) / total])


def _deviations(shares: FloatArray, curve: Callable[[FloatArray], FloatArray]) -> FloatArray:
    curves = curve(shares)
    return np.asarray(curves[1:] - curves[0])


def _selected(shares: FloatArray) -> FloatArray:
    """Share above each threshold between bins."""
    return np.asarray(1 - np.cumsum(shares, axis=1)[:, :-1])


def _roc(shares: FloatArray) -> FloatArray:
    """True-positive rate at each of the false-positive rates of the grid."""
    from_above = np.cumsum(shares[:, :, ::-1], axis=2)
    corners = np.concatenate([np.zeros((*shares.shape[:2], 1)), from_above], axis=2)
    return np.stack([np.interp(_FALSE_POSITIVE_RATES, down, up) for up, down in corners])


def _noise(curves: Sequence[FloatArray], weights: FloatArray, confidence: float) -> AreaNoise:
    pairs = np.array(list(combinations(range(len(curves)), 2)), dtype=np.int64).reshape(-1, 2)
    areas = np.stack([np.abs(curves[i] - curves[j]) @ weights for i, j in pairs], axis=1)
    typical = areas.mean(axis=0)
    relative = np.divide(areas, typical, out=np.zeros_like(areas), where=typical > 0)
    critical = float(np.quantile(relative.max(axis=1), confidence))
    return AreaNoise(pairs, typical, critical * typical)
