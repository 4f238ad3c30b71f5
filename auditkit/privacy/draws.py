"""The two random draws of DP-SGD: which rows are in a step, and the noise.

``SeededDraws`` repeats: whoever knows the seed can subtract the noise, so nothing is guaranteed against
them. ``EntropyDraws`` takes every bit from the operating system; no seed exists that would give it back.
"""

import os
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.randomness import numpy_rng


class Draws(Protocol):
    """The randomness of the mechanism."""

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """The rows of one step: each of ``n_rows`` independently with probability ``sample_rate``."""
        ...

    def normal(self, size: int) -> FloatArray:
        """Independent standard normal values, shape ``(size,)``."""
        ...


@dataclass(frozen=True, slots=True)
class SeededDraws:
    """Draws that the same seed repeats; sampling and noise are separate streams."""

    sampling: np.random.Generator
    noise: np.random.Generator

    @classmethod
    def from_seed(cls, seed: int) -> "SeededDraws":
        """The streams of ``seed``."""
        return cls(numpy_rng(seed, "dp", "sampling"), numpy_rng(seed, "dp", "noise"))

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """See :class:`Draws`."""
        return np.flatnonzero(self.sampling.random(n_rows) < sample_rate)

    def normal(self, size: int) -> FloatArray:
        """See :class:`Draws`."""
        return self.noise.standard_normal(size)


@dataclass(frozen=True, slots=True)
class EntropyDraws:
    """Draws from the operating system's random source, which nothing repeats.

    A normal value is the sum of four, halved, so that the gaps between the values which a double can take
    tell less about the value the noise was added to. This hinders the known floating-point attack; it is
    no proof against it. Source: Holohan and Braghin (2021), arXiv:2107.10138.
    """

    n_summands: int = field(default=4, init=False)

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """See :class:`Draws`."""
        return np.flatnonzero(_uniform(n_rows) < sample_rate)

    def normal(self, size: int) -> FloatArray:
        """See :class:`Draws`."""
        summands = ndtri(_uniform(self.n_summands * size)).reshape(self.n_summands, size)
        return np.asarray(summands.sum(axis=0) / np.sqrt(self.n_summands), dtype=np.float64)


def _uniform(size: int) -> FloatArray:
    """Values in the open interval (0, 1) on a grid of 2^-52, from the operating system."""
    words = np.frombuffer(os.urandom(8 * size), dtype=np.uint64) >> np.uint64(12)
    return (words.astype(np.float64) + 0.5) * 2.0**-52
