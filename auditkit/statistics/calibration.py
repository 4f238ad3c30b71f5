"""How far stated probabilities are from observed frequencies, and how far chance alone would put them.

The expected calibration error of a finite sample is above zero even for perfectly calibrated probabilities,
so it comes with its floor: the error that these very probabilities would show if they were all true.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.bootstrap import CHUNK_ENTRIES, bootstrap_rows
from auditkit.statistics.intervals import clopper_pearson

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MOST_DRAWS, FEWEST_DRAWS = 1000, 100
DRAWN_ENTRIES = 40_000_000
"""Rows times draws: bounds the time to a few seconds; large samples need fewer draws."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows of similar score; arrays of shape ``(n_bins,)``.

    Attributes:
        of_row: Bin of each row, shape ``(n,)``.
        n: Rows per bin; no bin is empty.
        effective_n: Equally weighted rows that would carry as much as the rows of the bin.
        share: Share of the weight of all rows.
        score: Mean score.
        outcome: Mean outcome.
    """

    of_row: IntArray
    n: IntArray
    effective_n: FloatArray
    share: FloatArray
    score: FloatArray
    outcome: FloatArray

    @property
    def gap(self) -> FloatArray:
        """Outcome minus score."""
        return self.outcome - self.score

    @property
    def error(self) -> float:
        """Expected calibration error: mean absolute gap over rows."""
        return float(self.share @ np.abs(self.gap))


def equal_mass_bins(
    scores: npt.ArrayLike, outcomes: npt.ArrayLike, *, n_bins: int, weights: npt.ArrayLike | None = None
) -> Bins:
    """Bins with as nearly equal numbers of rows as equal scores allow; equal scores share a bin.

    Args:
        scores: Stated probabilities in ``[0, 1]``, shape ``(n,)``.
        outcomes: What happened, 0 or 1, shape ``(n,)``.
        n_bins: Most bins to make; ties or few rows make fewer.
        weights: Not negative, shape ``(n,)``.

    Raises:
        DataError: There are no rows or a score is no probability.
    """
    score, outcome = np.asarray(scores, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    if not len(score) or not ((score >= 0) & (score <= 1)).all():
        raise DataError(f"calibration: expected scores in [0, 1] for at least one row, got {len(score)} rows")
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    ordered = np.sort(score)
    cuts = np.unique(np.round(np.linspace(0, len(score), min(n_bins, len(score)) + 1)).astype(np.int64))[1:-1]
    # half-way between neighbours, so that rounding noise in a score moves no row
    edges = (ordered[cuts - 1] + ordered[cuts]) / 2
    bins = np.searchsorted(edges, score, side="left")
    mass = np.bincount(bins, weights=weight, minlength=len(edges) + 1)
    kept = np.flatnonzero(mass > 0)
    of_row = np.searchsorted(kept, bins)
    return Bins(
        of_row,
        np.bincount(bins, weights=weight > 0, minlength=len(mass))[kept].astype(np.int64),
        mass[kept] ** 2 / np.bincount(bins, weights=weight**2, minlength=len(mass))[kept],
        mass[kept] / mass.sum(),
        np.bincount(bins, weights=weight * score, minlength=len(mass))[kept] / mass[kept],
        np.bincount(bins, weights=weight * outcome, minlength=len(mass))[kept] / mass[kept],
    )


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Expected calibration error and what chance alone would make of it.

    Attributes:
        error: Mean absolute gap between outcome and score over the bins.
        interval: Of the error of the population, over the same bins.
        floor: Mean error if every score were the true chance of its row.
        floor_interval: Of that mean, for it is simulated.
        excess: ``error - floor``; negative where the sample happens to fit better than chance would.
        excess_interval: Its low end is above 0 only where calibrated scores would rarely do as badly.
    """

    error: float
    interval: Interval
    floor: float
    floor_interval: Interval
    excess: float
    excess_interval: Interval


def expected_calibration_error(
    scores: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    bins: Bins,
    *,
    rng: np.random.Generator,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> CalibrationError:
    """The expected calibration error over ``bins``, with its floor.

    A percentile bootstrap would never reach down to zero, because resampling adds noise to noise. Here the
    interval holds the multiples ``t`` of the observed gaps under which the observed error is not extreme:
    errors are drawn as ``sum share * |t * gap + noise|``, with noise per bin from calibrated outcomes or from
    resampled rows, whichever varies more. Bins in which every row had the same outcome show no noise at all;
    for them both ends move out by what such unanimity leaves possible (Clopper and Pearson). In simulations
    of 100 to 3000 rows the 95 % interval covered 94 % or more, and excluded 0 for at most 4 % of calibrated
    samples.

    Args:
        scores: Stated probabilities in ``[0, 1]``, shape ``(n,)``.
        outcomes: 0 or 1, shape ``(n,)``.
        bins: Of these rows, from :func:`equal_mass_bins`.
        rng: Source of randomness.
        weights: Not negative, shape ``(n,)``.
        confidence: Of the intervals, in ``(0, 1)``.
    """
    score, outcome = np.asarray(scores, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(bins.of_row, kind="stable")
    starts = np.searchsorted(bins.of_row[order], np.arange(len(bins.n)))
    rows = _SortedRows(score[order], outcome[order], weight[order], starts, bins.gap)
    calibrated, resampled = rows.calibrated_noise(rng), rows.resampled_noise(rng)
    noise = np.where(calibrated.std(axis=0) >= resampled.std(axis=0), calibrated, resampled)
    low, high = _multiples(bins, noise, confidence)
    slack = _unanimity_slack(bins, confidence)

    floors = np.abs(calibrated) @ bins.share
    floor, reach = float(floors.mean()), 2 * float(floors.std(ddof=1)) / len(floors) ** 0.5
    excess = bins.error - floor
    at_zero, at_low, at_high = (
        float((np.abs(t * bins.gap + noise) @ bins.share).mean()) for t in (0.0, low, high)
    )
    return CalibrationError(
        error=bins.error,
        interval=Interval(
            low=max(0.0, low * bins.error - slack),
            high=min(1.0, high * bins.error + slack),
            confidence=confidence,
            method="bootstrap-inversion",
        ),
        floor=floor,
        floor_interval=Interval(
            low=max(0.0, floor - reach), high=floor + reach, confidence=0.95, method="monte-carlo"
        ),
        excess=excess,
        excess_interval=Interval(
            low=min(at_low - at_zero - slack, excess),
            high=max(at_high - at_zero + slack, excess),
            confidence=confidence,
            method="bootstrap-inversion",
        ),
    )


def resampled_errors(
    scores: FloatArray, outcomes: FloatArray, row_weights: FloatArray, bins: Bins
) -> FloatArray:
    """Expected calibration error over the same bins with other weights of the rows.

    Args:
        scores: Stated probabilities, shape ``(n,)``.
        outcomes: 0 or 1, shape ``(n,)``.
        row_weights: One set of weights per replicate, shape ``(m, n)``.
        bins: Of these rows.

    Returns:
        Shape ``(m,)``.
    """
    order = np.argsort(bins.of_row, kind="stable")
    starts = np.searchsorted(bins.of_row[order], np.arange(len(bins.n)))
    weighted = row_weights[:, order]
    # the mean absolute gap is the sum over bins of |sum of residuals|, by the weight of all rows
    residuals = np.add.reduceat(weighted * (outcomes - scores)[order], starts, axis=1)
    return np.asarray(np.abs(residuals).sum(axis=1) / weighted.sum(axis=1))


def n_draws_for(n_rows: int) -> int:
    """How many replicates a sample of this size gets."""
    return int(np.clip(DRAWN_ENTRIES // n_rows, FEWEST_DRAWS, MOST_DRAWS))


@dataclass(frozen=True, slots=True)
class _SortedRows:
    """Rows in the order of their bins, so that sums per bin are sums of stretches."""

    score: FloatArray
    outcome: FloatArray
    weight: FloatArray
    starts: IntArray
    gap: FloatArray

    def calibrated_noise(self, rng: np.random.Generator) -> FloatArray:
        """Gaps per bin if every score were true, shape ``(n_draws, n_bins)``."""
        n = len(self.score)
        mass = self._sums(self.weight[None, :])
        draws = []
        height = max(1, CHUNK_ENTRIES // n)
        remaining = n_draws_for(n)
        while remaining > 0:
            m = min(height, remaining)
            remaining -= m
            happened = rng.random((m, n)) < self.score
            draws.append(self._sums((happened - self.score) * self.weight) / mass)
        return np.concatenate(draws)

    def resampled_noise(self, rng: np.random.Generator) -> FloatArray:
        """Deviation of the gaps of resampled rows from the observed ones, shape ``(n_draws, n_bins)``."""
        residual = (self.outcome - self.score) * self.weight

        def deviation(counts: FloatArray) -> FloatArray:
            mass = self._sums(counts * self.weight)
            gap = np.divide(
                self._sums(counts * residual),
                mass,
                out=np.tile(self.gap, (len(counts), 1)),
                where=mass > 0,
            )
            return gap - self.gap

        return bootstrap_rows(deviation, len(self.score), n_draws=n_draws_for(len(self.score)), rng=rng)

    def _sums(self, values: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(values, self.starts, axis=1))


def _unanimity_slack(bins: Bins, confidence: float) -> float:
    """Mean gap over all rows that bins of a single outcome could hide."""
    unanimous = (bins.outcome == 0) | (bins.outcome == 1)
    rows = int(bins.n[unanimous].sum())
    hidden = clopper_pearson(0, rows, confidence=confidence).high if rows else 0.0
    return float(bins.share[unanimous].sum()) * hidden


def _multiples(bins: Bins, noise: FloatArray, confidence: float) -> tuple[float, float]:
    """Smallest and largest multiple of the observed gaps that agrees with the observed error; spans 1."""
    tail = (1 - confidence) / 2

    def surplus(multiple: float, level: float) -> float:
        errors = np.abs(multiple * bins.gap + noise) @ bins.share
        return float(np.quantile(errors, level)) - bins.error

    low = 0.0 if surplus(0, 1 - tail) >= 0 else float(brentq(surplus, 0, 1, args=(1 - tail,)))
    far = 1.0
    while surplus(far, tail) < 0:
        far *= 2
    return low, max(1.0, float(brentq(surplus, 0, far, args=(tail,))) if surplus(0, tail) < 0 else 1.0)
