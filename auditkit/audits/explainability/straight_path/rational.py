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
import torch
from torch import Tensor

_PLACES, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(4))
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


@dataclass(frozen=True, slots=True)
class Samples:
    """What was found at some points of each of several paths, as many of each, in the order taken.

    Attributes:
        row: The paths, shape ``(r,)``.
        places: How far along, in ``(0, 1)``, float64, shape ``(r, n)``.
        scores: There, float64, shape ``(r, n)``.
        slopes: There, unit by unit, shape ``(r, n, m)``.
        products: Of the slopes of any two points, summed over units, float64, shape ``(r, n, n)``.
        totals: Slopes of the score itself, float64, shape ``(r, n)``.
    """

    row: Tensor
    places: Tensor
    scores: Tensor
    slopes: Tensor
    products: Tensor
    totals: Tensor

    @classmethod
    def of(cls, row: Tensor, places: Tensor, scores: Tensor, slopes: Tensor) -> Self:
        """With what follows from the slopes."""
        exact = slopes.double()
        return cls(row, places, scores, slopes, exact @ exact.mT, exact.sum(dim=2))

    @property
    def n(self) -> int:
        """Points of each path."""
        return self.places.shape[1]

    @property
    def finite(self) -> Tensor:
        """Paths of which all is finite, shape ``(r,)``."""
        return self.products.isfinite().all(dim=2).all(dim=1) & self.scores.isfinite().all(dim=1)

    def squared_lengths(self, counts: Tensor) -> Tensor:
        """Of the vectors in which each point counts as much: ``(r, q, n)`` to ``(r, q)``."""
        return ((counts @ self.products) * counts).sum(dim=2).clamp(min=0)

    def take(self, kept: Tensor) -> "Samples":
        """Of the paths ``kept``, by number."""
        return Samples(
            self.row.index_select(0, kept),
            self.places.index_select(0, kept),
            self.scores.index_select(0, kept),
            self.slopes.index_select(0, kept),
            self.products.index_select(0, kept),
            self.totals.index_select(0, kept),
        )

    def followed_by(self, places: Tensor, scores: Tensor, slopes: Tensor) -> "Samples":
        """With more points of each path.

        Args:
            places: Of them, shape ``(r, k)``.
            scores: There, shape ``(r, k)``.
            slopes: There, shape ``(r, k, m)``.
        """
        more = slopes.double()
        across = self.slopes.double() @ more.mT
        products = torch.cat(
            [
                torch.cat([self.products, across], dim=2),
                torch.cat([across.mT, more @ more.mT], dim=2),
            ],
            dim=1,
        )
        return Samples(
            self.row,
            torch.cat([self.places, places], dim=1),
            torch.cat([self.scores, scores], dim=1),
            torch.cat([self.slopes, slopes], dim=1),
            products,
            torch.cat([self.totals, more.sum(dim=2)], dim=1),
        )


@dataclass(frozen=True, slots=True)
class Between:
    """The segments between points of paths, from baseline to input.

    Attributes:
        ends: Of the segments, rising, shape ``(r, s + 1)``.
        rises: Of the score over each, shape ``(r, s)``.
        nearness: One over the distance of places within from each point, shape ``(r, s * g, n)``.
    """

    ends: Tensor
    rises: Tensor
    nearness: Tensor

    @classmethod
    def of(cls, samples: Samples, outer_scores: Tensor) -> Self:
        """Those between the points of ``samples``; scores of baseline and input are ``(r, 2)``."""
        outer = torch.ones(len(outer_scores), 1, dtype=torch.float64)
        ends, order = torch.cat([samples.places, outer], dim=1).sort(dim=1)
        scores = torch.cat([samples.scores, outer_scores], dim=1).gather(1, order)
        places = ends[:, :-1, None] + ends.diff(dim=1).unsqueeze(2) * _GAUSS_PLACES
        return cls(ends, scores.diff(dim=1), nearness(places.flatten(1), samples.places))

    @property
    def widths(self) -> Tensor:
        """Of the segments, shape ``(r, s)``."""
        return self.ends.diff(dim=1)

    @property
    def middles(self) -> Tensor:
        """Of the segments, shape ``(r, s)``."""
        return (self.ends[:, 1:] + self.ends[:, :-1]) / 2

    def counts(self, weights: Tensor) -> Tensor:
        """How much each point counts in the sum over each segment.

        Args:
            weights: Barycentric, of ``c`` rational functions through points, shape ``(r, c, n)``.

        Returns:
            Shape ``(r, c, s, n)``.
        """
        shape = (*self.rises.shape, len(_GAUSS_PLACES), -1)
        denominators = (self.nearness @ weights.mT).view(shape)
        parts = self.widths[:, :, None, None] * _GAUSS_WEIGHTS.unsqueeze(1) / denominators
        summed = parts.mT @ self.nearness.view(shape)
        return summed.transpose(1, 2) * weights.unsqueeze(2)

    def residuals(self, weights: Tensor, totals: Tensor) -> Tensor:
        """What the sum over each segment is more than the score rises there.

        Args:
            weights: Barycentric, of ``c`` functions through points, shape ``(r, c, n)``.
            totals: Slopes of the score at the points, shape ``(r, n)``.

        Returns:
            Shape ``(r, c, s)``.
        """
        numerators = self.nearness @ (weights * totals.unsqueeze(1)).mT
        found = (numerators / (self.nearness @ weights.mT)).view(*self.rises.shape, len(_GAUSS_PLACES), -1)
        sums = self.widths.unsqueeze(2) * (found * _GAUSS_WEIGHTS.unsqueeze(1)).sum(dim=2)
        return sums.mT - self.rises.unsqueeze(1)

    def take(self, kept: Tensor) -> "Between":
        """Of the paths ``kept``, by number."""
        return Between(
            self.ends.index_select(0, kept),
            self.rises.index_select(0, kept),
            self.nearness.index_select(0, kept),
        )


def nearness(places: Tensor, points: Tensor) -> Tensor:
    """One over the distance of ``(r, q)`` places from ``(r, n)`` points, none of which is among them."""
    return 1 / (places.unsqueeze(2) - points.unsqueeze(1))


def counts_at(near: Tensor, weights: Tensor) -> Tensor:
    """How much each point counts at places, from :func:`nearness` and the weights ``(r, n)``."""
    parts = near * weights.unsqueeze(1)
    return parts / parts.sum(dim=2, keepdim=True)


def weights_through(samples: Samples, most_tests: int) -> Tensor:
    """Weights of functions through all points but the last, the last two and so on, shape ``(r, c, n)``.

    The points that a function does not pass through decide on its denominator: the units are to come out
    right there, and the score there and, to first order, at all points, since its slopes are known.

    Args:
        samples: At ``n`` points.
        most_tests: The number c of functions; the last passes through ``n - c`` points.
    """
    n = samples.n
    diagonal = torch.eye(n, dtype=torch.bool)
    near = nearness(samples.places, samples.places).masked_fill(diagonal, 0.0)
    rises = (samples.scores.unsqueeze(2) - samples.scores.unsqueeze(1)) * near
    rises = rises + torch.diag_embed(samples.totals)
    tests = torch.arange(n - 1, n - 1 - most_tests, -1)
    across, apart = samples.products[:, tests], near[:, tests]
    own = across[:, torch.arange(most_tests), tests]
    differences = samples.products.unsqueeze(1) - across.unsqueeze(2) - across.unsqueeze(3)
    grams = (differences + own[:, :, None, None]) * apart.unsqueeze(2) * apart.unsqueeze(3)
    grams = grams.cumsum(dim=1) + _SCORES * (rises.mT @ rises).unsqueeze(1)
    passed = torch.arange(n) < tests.unsqueeze(1)
    # with weights of changing sign in the order of places there is no pole among them
    signs = 1.0 - 2.0 * (samples.places.argsort(dim=1).argsort(dim=1) % 2)
    return _least_directions(grams, passed, signs)


def through_all(samples: Samples, weights: Tensor) -> Tensor:
    """Weights of functions with the same denominators through all points, shape ``(r, c, n)``.

    Args:
        samples: At ``n`` points.
        weights: Of functions as :func:`weights_through` gives them, shape ``(r, c, n)``.
    """
    n, n_functions = samples.n, weights.shape[1]
    diagonal = torch.eye(n, dtype=torch.bool)
    near = nearness(samples.places, samples.places)
    # of the numerator that vanishes at all points the first function lacks the last one, the second two
    missing = near.masked_fill(diagonal, 1.0)[:, :, n - n_functions :].flip(2).cumprod(dim=2).mT
    passed = torch.arange(n) < n - 1 - torch.arange(n_functions).unsqueeze(1)
    return torch.where(passed, weights, weights @ near.masked_fill(diagonal, 0.0).mT) * missing


def _least_directions(grams: Tensor, passed: Tensor, first: Tensor) -> Tensor:
    """Nearly the eigenvector of the least eigenvalue of each positive matrix, of whatever length.

    Of eigenvalues that rounding cannot tell apart, what ``first`` has of their vectors.

    Args:
        grams: Shape ``(r, c, n, n)``.
        passed: Of which rows and columns the matrix is, shape ``(c, n)``; elsewhere the vector is zero.
        first: What it starts from, shape ``(r, n)``.

    Returns:
        Shape ``(r, c, n)``.
    """
    scale = grams.diagonal(dim1=2, dim2=3).mean(dim=2).clamp(min=torch.finfo(grams.dtype).tiny)
    inner = torch.where(passed.unsqueeze(2) & passed.unsqueeze(1), grams / scale[..., None, None], 0.0)
    shift = torch.diag_embed(torch.where(passed, _SHIFT, 1.0).to(grams.dtype))
    factors, _ = torch.linalg.cholesky_ex(inner + shift)
    found = (passed * first.to(grams.dtype).unsqueeze(1)).unsqueeze(3)
    for _ in range(_ROUNDS):
        found = torch.cholesky_solve(found, factors)
    return found.squeeze(3)


def straight(samples: Samples, places: Tensor) -> Tensor:
    """How much each point counts at ``places``, ``(r, q)``, on straight lines from point to point.

    Beyond the outermost ones the nearest counts alone. Shape ``(r, q, n)``.
    """
    n = samples.n
    ordered, order = samples.places.sort(dim=1)
    right = torch.searchsorted(ordered, places).clamp(1, n - 1)
    low, high = ordered.gather(1, right - 1), ordered.gather(1, right)
    part = ((places - low) / (high - low)).clamp(0, 1)
    counts = torch.zeros(*places.shape, n, dtype=torch.float64)
    counts.scatter_(2, order.gather(1, right - 1).unsqueeze(2), (1 - part).unsqueeze(2))
    return counts.scatter_(2, order.gather(1, right).unsqueeze(2), part.unsqueeze(2))
