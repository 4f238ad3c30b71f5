"""Rows of which everything is known, to try a training on that must not look at real ones.

Classes are clouds of one shape around means that are all equally far apart. How far decides how well the best
classifier tells them apart; in how many directions rows vary decides how many weights noise can lead astray.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FEW_DIRECTIONS = 16
"""Most of the variance of pictures, tables and features lies in some ten or twenty directions."""

_CALIBRATION_ROWS = 4096
_FURTHEST = 64.0
_HALVINGS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """What is planted.

    Attributes:
        accuracy: Of the best classifier with equally many rows of every class, in (1 / classes, 1).
        varies_in: Directions that rows vary in; ``None`` is all there are.
    """

    accuracy: float
    varies_in: int | None


@dataclass(frozen=True, slots=True)
class MadeUpLaw:
    """Where rows of each class come from.

    Attributes:
        means: Of the classes, shape ``(classes, d)``.
        directions: Orthonormal, shape ``(r, d)``, in which rows vary; ``None`` is in all.
        scale: What makes a row as long as it was asked to be.
    """

    means: Tensor
    directions: Tensor | None
    scale: float

    @classmethod
    def drawn(
        cls,
        difficulty: Difficulty,
        *,
        n_inputs: int,
        n_classes: int,
        length: float,
        picture: tuple[int, int] | None,
        rng: torch.Generator,
    ) -> "MadeUpLaw":
        """A law of that difficulty.

        Args:
            difficulty: What is planted. With fewer inputs than classes it may be out of reach; the classes
                are then as far apart as is still sensible.
            n_inputs: d, of a row.
            n_classes: At least 2.
            length: Root mean square of a row's length.
            picture: Height and width where a row is a picture: what varies are then its coarsest patterns,
                as layers that look at neighbouring pixels expect.
            rng: Of the directions.
        """
        n_directions = min(n_inputs, difficulty.varies_in or n_inputs)
        n_of_means = min(n_classes, n_directions)
        n_wanted = n_of_means if difficulty.varies_in is None else n_directions
        directions = _orthonormal(n_wanted, n_inputs, rng) if picture is None else _waves(n_wanted, *picture)
        corners = _orthonormal(n_classes, n_classes, rng)[:, :n_of_means]
        corners = corners - corners.mean(dim=0)
        corners = corners * _distance(corners, difficulty.accuracy, rng)
        mean_square = n_directions + float(corners.square().sum(dim=1).mean())
        return cls(
            means=corners @ directions[:n_of_means],
            directions=None if difficulty.varies_in is None else directions,
            scale=length / math.sqrt(mean_square),
        )

    def rows(self, n_rows: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs, shape ``(n_rows, d)``, and classes, shape ``(n_rows,)``, equally many of each."""
        n_classes, n_inputs = self.means.shape
        classes = torch.arange(n_rows) % n_classes
        if self.directions is None:
            inputs = torch.randn((n_rows, n_inputs), generator=rng)
        else:
            inputs = torch.randn((n_rows, len(self.directions)), generator=rng) @ self.directions
        return inputs.add_(self.means[classes]).mul_(self.scale), classes

    def best_accuracy(self, n_rows: int, test: tuple[Tensor, Tensor], rng: torch.Generator) -> float:
        """Of the rule that is best for such clouds, the nearest mean, with means measured on ``n_rows`` rows.

        Args:
            n_rows: None of which is made for it: means of Gaussian rows are Gaussian.
            test: From :meth:`rows`.
            rng: Of the error of the means.
        """
        error = math.sqrt(len(self.means) / n_rows)
        missed = torch.randn((len(self.means), self._n_directions), generator=rng) * error
        means = self.means + (missed if self.directions is None else missed @ self.directions)
        return float(_nearest(test[0] / self.scale, means).eq(test[1]).float().mean())

    @property
    def _n_directions(self) -> int:
        return self.means.shape[1] if self.directions is None else len(self.directions)


def _orthonormal(n: int, d: int, rng: torch.Generator) -> Tensor:
    """Random directions, shape ``(n, d)``."""
    columns: Tensor = torch.linalg.qr(torch.randn((d, n), generator=rng)).Q
    return columns.mT


def _waves(n: int, height: int, width: int) -> Tensor:
    """The coarsest patterns of a picture, cosines each way, shape ``(n, height * width)``; orthonormal."""
    down, across = _cosines(height), _cosines(width)
    steepness = torch.arange(height)[:, None] / height + torch.arange(width) / width
    coarsest = torch.argsort(steepness.flatten(), stable=True)[:n]
    patterns = down[coarsest // width][:, :, None] * across[coarsest % width][:, None, :]
    return patterns.flatten(1)


def _cosines(size: int) -> Tensor:
    """The discrete cosine transform, shape ``(size, size)``, a frequency per row."""
    frequency, place = torch.arange(size)[:, None], torch.arange(size) + 0.5
    waves = torch.cos(math.pi / size * frequency * place)
    unit: Tensor = waves / waves.norm(dim=1, keepdim=True)
    return unit


def _distance(corners: Tensor, accuracy: float, rng: torch.Generator) -> float:
    """Times which the corners must be taken so that the nearest one is right so often."""
    n_classes, n_directions = corners.shape
    noise = torch.randn((_CALIBRATION_ROWS, n_directions), generator=rng)
    classes = torch.arange(_CALIBRATION_ROWS) % n_classes
    near, far = 0.0, _FURTHEST
    for _ in range(_HALVINGS):
        distance = (near + far) / 2
        means = distance * corners
        if _nearest(noise + means[classes], means).eq(classes).float().mean() < accuracy:
            near = distance
        else:
            far = distance
    return far


def _nearest(inputs: Tensor, means: Tensor) -> Tensor:
    scores = inputs @ means.T - means.square().sum(dim=1) / 2
    nearest: Tensor = scores.argmax(dim=1)
    return nearest
