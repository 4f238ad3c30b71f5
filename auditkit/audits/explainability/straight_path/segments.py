"""Pieces of paths with what was found at their ends and middle, and the sums over them."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.parts import Parts, beyond
from auditkit.audits.explainability.straight_path.points import StraightPath

SMOOTH: Final = 0.5
"""Where Simpson's rule moves by less than this part of what the trapezoid moves, the path is smooth."""


_RULES: Final = torch.tensor([[1.0, 2.0, 1.0], [1.0, -2.0, 1.0]], dtype=torch.float64)
"""Weights of start, middle and end: of the trapezoid with two steps, and of what it moved."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Pieces of the paths of several rows.

    Attributes:
        row: Which path each is on, shape ``(s,)``.
        start: Where it begins, shape ``(s,)``.
        width: Its length, shape ``(s,)``.
        scores: At its start, middle and end, shape ``(s, 3)``.
        slopes: There, unit by unit, shape ``(s, 3, m)``.
    """

    row: Tensor
    start: Tensor
    width: Tensor
    scores: Tensor
    slopes: Tensor

    def __len__(self) -> int:
        return len(self.row)

    @property
    def points(self) -> Tensor:
        """One for each half, shape ``(s,)``."""
        return torch.ones_like(self.row)

    def take(self, kept: Tensor) -> "Segments":
        """Those where ``kept``, shape ``(s,)``, is true."""
        return Segments(
            self.row[kept], self.start[kept], self.width[kept], self.scores[kept], self.slopes[kept]
        )

    def followed_by(self, others: "Segments") -> "Segments":
        """These, then the others."""
        return Segments(
            torch.cat([self.row, others.row]),
            torch.cat([self.start, others.start]),
            torch.cat([self.width, others.width]),
            torch.cat([self.scores, others.scores]),
            torch.cat([self.slopes, others.slopes]),
        )


def first_segments(path: StraightPath, rows: Tensor, pieces: int) -> Segments:
    """Every path in ``pieces`` equal parts, ``2 * pieces + 1`` points each."""
    places = torch.linspace(0, 1, 2 * pieces + 1, dtype=torch.float64)
    scores, slopes = path.evaluate(rows.repeat_interleave(len(places)), places.repeat(len(rows)))
    scores, slopes = scores.view(len(rows), -1), slopes.view(len(rows), len(places), -1)
    ends = 2 * torch.arange(pieces)
    return Segments(
        row=torch.arange(len(rows)).repeat_interleave(pieces),
        start=places[ends].repeat(len(rows)),
        width=torch.full((len(rows) * pieces,), 1 / pieces, dtype=torch.float64),
        scores=torch.stack([scores[:, ends + k] for k in range(3)], dim=2).view(-1, 3),
        slopes=torch.stack([slopes[:, ends + k] for k in range(3)], dim=2).flatten(0, 1),
    )


def halved(path: StraightPath, rows: Tensor, segments: Segments) -> Parts[Segments]:
    """Two more points for each segment, in the middle of its halves, and what the five together say.

    Where the score bends, the trapezoid is summed. One bend within a half moves that sum, when steps are
    halved, by half a step times the jump of the slope wherever the bend lies; the sum is off by at most as
    much, and by a root of three less in the mean square over places of the bend. Where Simpson's rule settles
    faster, that is taken, extrapolated; its error is what halving changed times the rate at which rules of
    rising order settle.

    Args:
        path: What ``segments`` are on.
        rows: The paths that ``segments.row`` counts, shape ``(r,)``.
        segments: To be halved.

    Source:
        Lyness (1969), Notes on the Adaptive Simpson Quadrature Routine, Journal of the ACM 16:483-495.
    """
    halves = _with_middles(path, rows, segments)
    steps = (halves.width / 4).to(halves.slopes).view(-1, 1, 1)
    trapezoid, bend = (_RULES.to(halves.slopes) @ halves.slopes * steps).unbind(dim=1)
    moved = bend.norm(dim=1).double() / 3**0.5
    of_both = _pair_norm(moved)
    simpson_moved = _simpson_moved(segments, halves)
    of_simpson = simpson_moved.norm(dim=1).double()
    rate = torch.where(of_both > 0, of_simpson / of_both, 0.0)
    is_smooth = (rate < SMOOTH).repeat_interleave(2)
    # each half bears half of the correction and of its error
    correction = (simpson_moved / 30).repeat_interleave(2, dim=0) - bend / 3
    sums = torch.where(is_smooth.unsqueeze(1), trapezoid + correction, trapezoid).double()
    smooth_error = (of_simpson * rate / 2**0.5).repeat_interleave(2)
    return Parts(
        pieces=halves,
        sums=sums,
        errors=beyond(
            torch.where(is_smooth, smooth_error, moved),
            path.rounding * trapezoid.norm(dim=1).double(),
        ),
        residuals=beyond(
            (halves.scores[:, 2] - halves.scores[:, 0] - sums.sum(dim=1)).abs(),
            path.rounding * halves.scores.abs().amax(dim=1),
        ),
    )


def _with_middles(path: StraightPath, rows: Tensor, segments: Segments) -> Segments:
    start, width = segments.start, segments.width
    places = torch.stack([start + width / 4, start + 3 * width / 4], dim=1)
    scores, slopes = path.evaluate(rows[segments.row].repeat_interleave(2), places.flatten())
    return Segments(
        row=segments.row.repeat_interleave(2),
        start=torch.stack([start, start + width / 2], dim=1).flatten(),
        width=(width / 2).repeat_interleave(2),
        scores=_three_each(segments.scores, scores.view(-1, 2)),
        slopes=_three_each(segments.slopes, slopes.view(len(segments), 2, -1)),
    )


def _three_each(old: Tensor, new: Tensor) -> Tensor:
    """Start, middle and end of both halves from three old and two new points, shape ``(2 s, 3, *)``."""
    first, middle, last = old.unbind(dim=1)
    left, right = new.unbind(dim=1)
    return torch.stack([first, left, middle, middle, right, last], dim=1).view(-1, 3, *old.shape[2:])


def _simpson_moved(segments: Segments, halves: Segments) -> Tensor:
    """Simpson's sum over the halves minus that over the whole, shape ``(s, m)``."""
    quarters = halves.slopes[:, 1].view(len(segments), 2, -1).sum(dim=1)
    first, middle, last = segments.slopes.unbind(dim=1)
    return (segments.width / 12).to(first).unsqueeze(1) * (4 * quarters - first - 6 * middle - last)


def _pair_norm(of_halves: Tensor) -> Tensor:
    return of_halves.view(-1, 2).square().sum(dim=1).sqrt()
