"""Where on a path which number of a window is the largest, if all change as straight as the inputs do."""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.channels_last import are_pictures
from auditkit.audits.explainability.straight_path.paths import Groups, Lines
from auditkit.audits.explainability.straight_path.pooling import Windows


class _Reigns(NamedTuple):
    """Where on one path which numbers are the largest of their windows: of ``k`` numbers, all others never.

    Attributes:
        places: Of the numbers in what is pooled, flattened, shape ``(k,)``.
        windows: In which they are, flattened, shape ``(k,)``.
        begins: From where, in ``[0, 1]``, shape ``(k,)``.
        ends: To where.
        n_whole: Those that come first are the largest all along the path.
    """

    places: Tensor
    windows: Tensor
    begins: Tensor
    ends: Tensor
    n_whole: int


@dataclass(frozen=True, slots=True)
class LargestOnPaths:
    """The ``q`` numbers of all windows along ``r`` paths.

    Windows ``w`` are counted place by place, channel by channel, which makes pictures lie in memory as
    convolutions take them.

    Attributes:
        at_start: At the baseline, shape ``(q, *w)``.
        changes: From there to the end of each path, shape ``(r, q, *w)``.
        reigns: Of each path.
        rectified: Whether zero is a number of every window, too.
        shape: Of what is pooled, without rows.
    """

    at_start: Tensor
    changes: Tensor
    reigns: tuple[_Reigns, ...]
    rectified: bool
    shape: torch.Size

    def values(self, groups: Groups) -> Tensor:
        """The largest numbers at all points, channels first, shape ``(g * p, *w)``."""
        part = groups.part(self.changes.ndim - 1)
        largest = self.changes.new_empty(groups.n_points, *self.changes.shape[2:])
        starts = self.at_start.unbind()
        for path, points in groups.runs:
            of_run, along = largest[points], part[points]
            first, *others = zip(starts, self.changes[path].unbind(), strict=True)
            torch.addcmul(first[0], along, first[1], out=of_run)
            for at_start, change in others:
                torch.maximum(of_run, torch.addcmul(at_start, along, change), out=of_run)
        if self.rectified:
            largest.clamp_(min=0)
        values = largest.movedim(-1, 1)
        return values if are_pictures(values) else values.contiguous()  # a model may view it in another shape

    def summed(self, gradients: Tensor, groups: Groups) -> Tensor:
        """Gradients with respect to what is pooled, averaged around points and summed over those of a group.

        Most numbers are the largest nowhere or all along a path: only for the others it matters which part
        of it a point stands for.

        Args:
            gradients: With respect to the largest numbers, channels first, shape ``(g * p, *w)``.
            groups: The points.

        Returns:
            Shape ``(g, *e)``.
        """
        of_windows = gradients.movedim(1, -1).flatten(1)
        begins, ends = groups.cells(2)
        per_length = 1 / groups.width(2)
        result = gradients.new_zeros(groups.n_points // groups.size, self.shape.numel())
        for path, points in groups.runs:
            reigns, here = self.reigns[path], of_windows[points]
            few = slice(reigns.n_whole, None)
            lengths = torch.minimum(reigns.ends[few], ends[points])
            lengths.sub_(torch.maximum(reigns.begins[few], begins[points])).clamp_(min=0)
            shares = here.index_select(1, reigns.windows[few]).mul_(lengths).mul_(per_length[points])
            whole = groups.summed(here).index_select(1, reigns.windows[: reigns.n_whole])
            of_groups = slice(points.start // groups.size, points.stop // groups.size)
            result[of_groups].index_copy_(1, reigns.places, torch.cat([whole, groups.summed(shares)], dim=1))
        return result.view(-1, *self.shape)


def largest_on_paths(lines: Lines, windows: Windows, *, rectified: bool) -> LargestOnPaths:
    """Of numbers in windows that do not overlap.

    Args:
        lines: The numbers.
        windows: Along their last dimensions.
        rectified: Whether numbers below zero count as zero.
    """
    at_start = torch.cat([lines.at_start[place] for place in windows.places()])
    changes = torch.stack([lines.changes[place] for place in windows.places()], dim=1)
    at_start, changes = at_start.movedim(1, -1).contiguous(), changes.movedim(2, -1).contiguous()
    starts, ways = list(at_start.unsqueeze(1)), list(changes.unbind(dim=1))
    if rectified:
        starts, ways = [torch.zeros_like(starts[0]), *starts], [torch.zeros_like(ways[0]), *ways]
    between = _largest_between(starts, ways)[:, :, int(rectified) :].flatten(2)
    shape = lines.changes.shape[1:]
    indices = torch.arange(shape.numel(), device=changes.device).view(shape)
    places = torch.stack([indices[place] for place in windows.places()]).movedim(1, -1).flatten()
    reigns = tuple(_reigns(begins, ends, places, at_start[0].numel()) for begins, ends in between)
    return LargestOnPaths(at_start, changes, reigns, rectified, shape)


def _reigns(begins: Tensor, ends: Tensor, places: Tensor, n_windows: int) -> _Reigns:
    """All of shape ``(q * w,)``."""
    whole = (begins <= 0) & (ends >= 1)
    partly = (begins < ends) & ~whole
    numbers = torch.cat([whole.nonzero(), partly.nonzero()]).flatten()
    n_whole = int(whole.sum())
    return _Reigns(places[numbers], numbers % n_windows, begins[numbers], ends[numbers], n_whole)


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
