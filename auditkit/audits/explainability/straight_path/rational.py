"""Rational functions through points of paths, and what they sum to.

A smooth score bends most where it has a pole close to the path. A rational function has poles of its own, so
that it follows with a third of the points that polynomials need on pieces of the path. The units of a row
share one denominator: they are derivatives of one score. It is found from products of the slopes alone, so
that pictures cost no more than tables here.

Sources: Nakatsukasa, Sète and Trefethen (2018), arXiv:1612.00337, section 3 (weights from the least singular
vector of a Loewner matrix); Lietaert et al. (2022), arXiv:1801.08622, section 2 (one denominator for several
functions); Berrut and Trefethen (2004), doi:10.1137/S0036144502417715, section 9.3 (derivatives in
barycentric form).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray, IntArray

_PLACES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_GAUSS_PLACES: Final = (_PLACES + 1) / 2
_GAUSS_WEIGHTS: Final = _WEIGHTS / 2
"""Of a segment of length one."""

_ROUNDS: Final = 2
"""Of inverse iteration. The least eigenvalue is far below the others wherever the function fits."""

_SCORES: Final = 6.0
"""Weight of squares of what scores are off, against those of units: there are fewer of them, each of which
tells about all units. On transformers 3 to 10 do alike, and 1 takes a twentieth more points."""

_SHIFT: Final = 1e-6
"""Of matrices whose elements are about one. Below it rounding of slopes decides which eigenvalue is least, so
that figures would depend on how many rows share a call."""

_TINY: Final = np.finfo(np.float64).tiny


@dataclass(frozen=True, slots=True)
class Samples:
    """What was found at some points of each of several paths, as many of each, in the order taken.

    Attributes:
        row: The paths, shape ``(r,)``.
        places: How far along, in ``[0, 1)``, shape ``(r, n)``.
        scores: There, shape ``(r, n)``.
        slopes: There, unit by unit, shape ``(r, n, m)``.
        products: Of the slopes of any two points, summed over units, shape ``(r, n, n)``.
        totals: Slopes of the score itself, shape ``(r, n)``.
    """

    row: IntArray
    places: FloatArray
    scores: FloatArray
    slopes: FloatArray
    products: FloatArray
    totals: FloatArray

    @classmethod
    def of(cls, row: IntArray, places: FloatArray, scores: FloatArray, slopes: FloatArray) -> Self:
        """With what follows from the slopes."""
        return cls(row, places, scores, slopes, slopes @ slopes.mT, slopes.sum(axis=2))

    @property
    def n(self) -> int:
        """Points of each path."""
        return int(self.places.shape[1])

    @property
    def finite(self) -> BoolArray:
        """Paths of which all is finite, shape ``(r,)``."""
        return np.asarray(np.isfinite(self.products.sum(axis=(1, 2)) + self.scores.sum(axis=1)))

    @property
    def nearness(self) -> FloatArray:
        """One over the distances of points from one another, shape ``(r, n, n)``; zero from themselves."""
        distances = self.places[:, :, None] - self.places[:, None, :]
        each = np.arange(self.n)
        distances[:, each, each] = np.inf
        return np.reciprocal(distances, out=distances)

    def squared_lengths(self, counts: FloatArray) -> FloatArray:
        """Of the vectors in which each point counts as much: ``(r, q, n)`` to ``(r, q)``."""
        return np.asarray(np.maximum(np.vecdot(counts @ self.products, counts), 0))

    def take(self, kept: IntArray) -> "Samples":
        """Of the paths ``kept``, by number."""
        return Samples(
            self.row.take(kept),
            self.places.take(kept, axis=0),
            self.scores.take(kept, axis=0),
            self.slopes.take(kept, axis=0),
            self.products.take(kept, axis=0),
            self.totals.take(kept, axis=0),
        )

    def followed_by(self, places: FloatArray, scores: FloatArray, slopes: FloatArray) -> "Samples":
        """With more points of each path.

        Args:
            places: Of them, shape ``(r, k)``.
            scores: There, shape ``(r, k)``.
            slopes: There, shape ``(r, k, m)``.
        """
        n, all_slopes = self.n, np.concatenate([self.slopes, slopes], axis=1)
        products = np.empty((len(self.row), *[all_slopes.shape[1]] * 2))
        products[:, :n, :n] = self.products
        products[:, n:] = slopes @ all_slopes.mT
        products[:, :n, n:] = products[:, n:, :n].mT
        return Samples(
            self.row,
            np.concatenate([self.places, places], axis=1),
            np.concatenate([self.scores, scores], axis=1),
            all_slopes,
            products,
            np.concatenate([self.totals, slopes.sum(axis=2)], axis=1),
        )


@dataclass(frozen=True, slots=True)
class Between:
    """The segments between points of paths, from the first point to the input.

    Attributes:
        ends: Of the segments, rising, shape ``(r, s + 1)``.
        widths: Of the segments, shape ``(r, s)``.
        rises: Of the score over each, shape ``(r, s)``.
        nearness: One over the distance of places within from each point, shape ``(r, s * g, n)``.
    """

    ends: FloatArray
    widths: FloatArray
    rises: FloatArray
    nearness: FloatArray

    @classmethod
    def of(cls, samples: Samples, end: FloatArray) -> Self:
        """Those between the points of ``samples``, and from the last to the input, of scores ``(r, 1)``."""
        ends = np.concatenate([samples.places, np.ones_like(end)], axis=1)
        each, order = np.arange(len(ends))[:, None], ends.argsort(axis=1)
        ends, scores = ends[each, order], np.concatenate([samples.scores, end], axis=1)[each, order]
        widths = ends[:, 1:] - ends[:, :-1]
        places = ends[:, :-1, None] + widths[:, :, None] * _GAUSS_PLACES
        near = nearness(places.reshape(len(places), -1), samples.places)
        return cls(ends, widths, scores[:, 1:] - scores[:, :-1], near)

    @property
    def middles(self) -> FloatArray:
        """Of the segments, shape ``(r, s)``."""
        return (self.ends[:, 1:] + self.ends[:, :-1]) / 2

    def counts(self, weights: FloatArray) -> FloatArray:
        """How much each point counts in the sum over each segment.

        Args:
            weights: Barycentric, of ``c`` rational functions through points, shape ``(r, c, n)``.

        Returns:
            Shape ``(r, c, s, n)``.
        """
        shape = (*self.rises.shape, len(_GAUSS_PLACES), -1)
        denominators = (self.nearness @ weights.mT).reshape(shape)
        parts = (self.widths[:, :, None] * _GAUSS_WEIGHTS)[..., None] / denominators
        summed = parts.mT @ self.nearness.reshape(shape)
        return summed.swapaxes(1, 2) * weights[:, :, None]


def nearness(places: FloatArray, points: FloatArray) -> FloatArray:
    """One over the distance of ``(r, q)`` places from ``(r, n)`` points, none of which is among them."""
    distances = places[:, :, None] - points[:, None, :]
    return np.reciprocal(distances, out=distances)


def counts_at(near: FloatArray, weights: FloatArray) -> FloatArray:
    """How much each point counts at places, from :func:`nearness` and the weights ``(r, n)``."""
    return near * weights[:, None] / (near @ weights[:, :, None])


def weights_through(samples: Samples, near: FloatArray, most_tests: int) -> FloatArray:
    """Weights of functions through all points but the last, the last two and so on, shape ``(r, c, n)``.

    The points that a function does not pass through decide on its denominator: the units are to come out
    right there, and the score there and, to first order, at all points, since its slopes are known.

    Args:
        samples: At ``n`` points.
        near: Of ``samples``.
        most_tests: The number c of functions; the last passes through ``n - c`` points.
    """
    n, products = samples.n, samples.products
    each, tests = np.arange(n), np.arange(n - 1, n - 1 - most_tests, -1)
    rises = (samples.scores[:, :, None] - samples.scores[:, None, :]) * near
    rises[:, each, each] = samples.totals
    across, apart = products[:, tests], near[:, tests]
    own = across[:, np.arange(most_tests), tests]
    grams = products[:, None] - across[:, :, None] - across[..., None] + own[..., None, None]
    grams *= apart[:, :, None] * apart[..., None]
    for test in range(1, most_tests):
        grams[:, test] += grams[:, test - 1]
    grams += _SCORES * (rises.mT @ rises)[:, None]
    # with weights of changing sign in the order of places there is no pole among them
    signs = np.where(samples.places.argsort(axis=1).argsort(axis=1) % 2, -1.0, 1.0)
    return _least_directions(grams, each < tests[:, None], signs)


def through_all(near: FloatArray, weights: FloatArray) -> FloatArray:
    """Weights of functions with the same denominators through all points, shape ``(r, c, n)``.

    Args:
        near: Of samples at ``n`` points.
        weights: Of functions as :func:`weights_through` gives them, shape ``(r, c, n)``.
    """
    n_functions, n = weights.shape[1:]
    # of the numerator that vanishes at all points the first function lacks the last one, the second two
    factors = (near + np.eye(n))[:, :, : n - 1 - n_functions : -1]
    passed = np.arange(n) < n - 1 - np.arange(n_functions)[:, None]
    return np.asarray(np.where(passed, weights, weights @ near.mT) * factors.cumprod(axis=2).mT)


def _least_directions(grams: FloatArray, passed: BoolArray, first: FloatArray) -> FloatArray:
    """Nearly the eigenvector of the least eigenvalue of each positive matrix, of whatever length.

    Of eigenvalues that rounding cannot tell apart, what ``first`` has of their vectors.

    Args:
        grams: Shape ``(r, c, n, n)``.
        passed: Of which rows and columns the matrix is, shape ``(c, n)``; elsewhere the vector is zero.
        first: What it starts from, shape ``(r, n)``.

    Returns:
        Shape ``(r, c, n)``.
    """
    n = len(first.T)
    scale = np.maximum(grams.diagonal(axis1=2, axis2=3).sum(axis=2) / n, _TINY)
    inner = grams * (passed[:, :, None] & passed[:, None]) / scale[..., None, None]
    inner += np.eye(n) * np.where(passed, _SHIFT, 1.0)[:, None]
    found = (passed * first[:, None])[..., None]
    for _ in range(_ROUNDS):
        found = np.linalg.solve(inner, found)
    return found[..., 0]


def straight_at_middles(samples: Samples, between: Between) -> FloatArray:
    """How much each point counts in the middle of each segment on straight lines from point to point.

    Beyond the last one that counts alone. Shape ``(r, s, n)``.
    """
    is_end = (between.ends[:, :-1, None] == samples.places[:, None, :]).astype(np.float64)
    return np.concatenate([(is_end[:, :-1] + is_end[:, 1:]) / 2, is_end[:, -1:]], axis=1)
