"""Where on a path which number of a window is the largest, if all change as straight as the inputs do."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.paths import Groups, Lines
from auditkit.audits.explainability.straight_path.pooling import Windows


@dataclass(frozen=True, slots=True)
class LargestOnPaths:
    """The ``q`` numbers of all windows ``w`` along ``r`` paths.

    Attributes:
        at_start: At the baseline, shape ``(q, *w)``.
        changes: From there to the end of each path, shape ``(r, q, *w)``.
        ends: From where to where each is the largest, in ``[0, 1]``, shape ``(r, 2, q, *w)``; the same twice
            where it never is.
        rectified: Whether zero is a number of every window, too.
        windows: Of the pool.
        shape: Of what is pooled, without rows.
    """

    at_start: Tensor
    changes: Tensor
    ends: Tensor
    rectified: bool
    windows: Windows
    shape: torch.Size

    def values(self, groups: Groups) -> Tensor:
        """The largest numbers at all points, shape ``(g * p, *w)``."""
        part = groups.part(self.changes.ndim)
        largest = self.changes.new_empty(groups.n_points, *self.changes.shape[2:])
        for path, points in groups.runs:
            numbers = torch.addcmul(self.at_start, part[points], self.changes[path])
            torch.amax(numbers, dim=1, out=largest[points])
        return largest.clamp_(min=0) if self.rectified else largest

    def summed(self, gradients: Tensor, groups: Groups) -> Tensor:
        """Gradients with respect to what is pooled, averaged around points and summed over those of a group.

        Args:
            gradients: With respect to the largest numbers, shape ``(g * p, *w)``.
            groups: The points.

        Returns:
            Shape ``(g, *e)``.
        """
        begin, end = groups.cells(self.ends.ndim)
        width = groups.width(gradients.ndim)
        per_length = (gradients / width).unsqueeze(1)
        shares = gradients.new_empty(groups.n_points // groups.size, *self.changes.shape[1:])
        for path, points in groups.runs:
            within = torch.maximum(self.ends[path], begin[points])
            within = torch.minimum(within, end[points], out=within)
            lengths = within[:, 1] - within[:, 0]
            of_groups = slice(points.start // groups.size, points.stop // groups.size)
            _sum_of_products(groups.apart(lengths), groups.apart(per_length[points]), out=shares[of_groups])
        return self._in_place(shares)

    def _in_place(self, shares: Tensor) -> Tensor:
        """Every share where its number comes from."""
        whole = self.windows.tile(self.shape)
        shape = (len(shares), *self.shape)
        result = shares.new_empty(shape) if whole else shares.new_zeros(shape)
        for place, share in zip(self.windows.places(), shares.unbind(dim=1), strict=True):
            result[place] = share
        return result


def _sum_of_products(lengths: Sequence[Tensor], gradients: Sequence[Tensor], *, out: Tensor) -> None:
    torch.mul(lengths[0], gradients[0], out=out)
    for length, gradient in zip(lengths[1:], gradients[1:], strict=True):
        out.addcmul_(length, gradient)


def largest_on_paths(lines: Lines, windows: Windows, *, rectified: bool) -> LargestOnPaths:
    """Of numbers in windows that do not overlap.

    Args:
        lines: The numbers.
        windows: Along their last dimensions.
        rectified: Whether numbers below zero count as zero.
    """
    at_start = torch.cat([lines.at_start[place] for place in windows.places()])
    changes = torch.stack([lines.changes[place] for place in windows.places()], dim=1)
    starts, ways = list(at_start.unsqueeze(1)), list(changes.unbind(dim=1))
    if rectified:
        starts, ways = [torch.zeros_like(starts[0]), *starts], [torch.zeros_like(ways[0]), *ways]
    ends = _largest_between(starts, ways)[:, :, int(rectified) :].contiguous()
    return LargestOnPaths(at_start, changes, ends, rectified, windows, lines.changes.shape[1:])


def _largest_between(starts: list[Tensor], ways: list[Tensor]) -> Tensor:
    """From where to where each line is above all others, shape ``(r, 2, n, *w)``; of equal ones the first.

    Args:
        starts: Of ``n`` lines, shape ``(1, *w)`` each.
        ways: How far they rise until the end, shape ``(r, *w)`` each.
    """
    begins, ends = [torch.zeros_like(way) for way in ways], [torch.ones_like(way) for way in ways]
    for one, other in combinations(range(len(ways)), 2):
        gain = ways[one] - ways[other] + 0.0  # no negative zero, by which a lead would change sides
        crossing = (starts[other] - starts[one]) / gain
        crossing.nan_to_num_(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        overtakes = gain >= 0
        late = torch.where(overtakes, crossing, -torch.inf)
        early = torch.where(overtakes, torch.inf, crossing)
        torch.maximum(begins[one], late, out=begins[one])
        torch.minimum(ends[one], early, out=ends[one])
        torch.maximum(begins[other], torch.where(overtakes, -torch.inf, crossing), out=begins[other])
        torch.minimum(ends[other], torch.where(overtakes, crossing, torch.inf), out=ends[other])
    begin, end = torch.stack(begins, dim=1), torch.stack(ends, dim=1)
    begin.clamp_(max=1.0)
    return torch.stack([begin, torch.maximum(begin, end)], dim=1)
