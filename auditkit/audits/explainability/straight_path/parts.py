"""Pieces of paths that are divided where that is worth it."""

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor


class Pieces(Protocol):
    """Of the paths of several rows, with what was found there."""

    @property
    def row(self) -> Tensor:
        """Which path each is on, shape ``(s,)``."""

    @property
    def width(self) -> Tensor:
        """Its length, shape ``(s,)``."""

    @property
    def points(self) -> Tensor:
        """That are taken for each time as many as it has, when it is divided, shape ``(s,)``."""

    def __len__(self) -> int: ...

    def take(self, kept: Tensor) -> Self:
        """Those where ``kept``, shape ``(s,)``, is true."""

    def followed_by(self, others: Self) -> Self:
        """These, then the others."""


P = TypeVar("P", bound=Pieces)


@dataclass(frozen=True, slots=True)
class Parts(Generic[P]):
    """All parts of some pieces, with what the gradients sum to over each.

    Attributes:
        pieces: The parts.
        sums: Over each part, unit by unit, shape ``(s, m)``.
        errors: How far ``sums`` are likely off, as the length of a vector, beyond rounding, shape ``(s,)``.
        residuals: How far they are, or likely are, from adding up to the change of the score, the same way.
    """

    pieces: P
    sums: Tensor
    errors: Tensor
    residuals: Tensor

    def take(self, kept: Tensor) -> "Parts[P]":
        """Those where ``kept``, shape ``(s,)``, is true."""
        return Parts(self.pieces.take(kept), self.sums[kept], self.errors[kept], self.residuals[kept])

    def followed_by(self, others: "Parts[P]") -> "Parts[P]":
        """These, then the others."""
        return Parts(
            self.pieces.followed_by(others.pieces),
            torch.cat([self.sums, others.sums]),
            torch.cat([self.errors, others.errors]),
            torch.cat([self.residuals, others.residuals]),
        )


def beyond(values: Tensor, rounding: Tensor) -> Tensor:
    """``values``, or zero where rounding may have made them."""
    return torch.where(values > rounding, values, 0.0)
