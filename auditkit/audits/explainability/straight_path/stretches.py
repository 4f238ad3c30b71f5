"""Stretches of paths through networks with kinks, and the sums of gradients over them.

Points come in pairs, at a quarter and three quarters of a part of a stretch. The values before a kinked layer
are taken as straight there, so that its derivative can be averaged over both halves. What is left are kinks
of different layers in the same place, each of which bends what the other is averaged over. They become fewer
as stretches become shorter and get more points.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.cell_averages import CellAverages, Kinks, kinks_passed
from auditkit.audits.explainability.straight_path.channels_last import ChannelsLast
from auditkit.audits.explainability.straight_path.division import left_after
from auditkit.audits.explainability.straight_path.kinked_start import KinkedStart
from auditkit.audits.explainability.straight_path.parts import Parts, beyond
from auditkit.audits.explainability.straight_path.paths import Groups, Paths
from auditkit.audits.explainability.straight_path.points import StraightPath

FIRST_POINTS: Final = 2
"""In each of the first stretches."""

WIDEST: Final = 0.15
"""Parts are no wider, as far as each has two points: what is left of an error is mostly in few of them."""

MOST_POINTS_EACH: Final = 8
"""In a narrow part: every stretch has a price beside that of its points."""

MOST_POINTS: Final = 256
"""At once on a processor: what layers with kinks keep of more would not fit into its caches, and with fewer
the price of the calls themselves counts."""

EXPECTED: Final = 0.3
"""Weight of what was to be expected: by chance dividing may move nothing although an error is left."""


class _Spans(NamedTuple):
    """Where stretches are, and with how many points: see :class:`Stretches`."""

    row: Tensor
    start: Tensor
    width: Tensor
    points: Tensor


@dataclass(frozen=True, slots=True)
class Stretches:
    """Pieces of the paths of several rows.

    Attributes:
        row: Which path each is on, shape ``(s,)``.
        start: Where it begins, shape ``(s,)``.
        width: Its length, shape ``(s,)``.
        points: In it, an even number, shape ``(s,)``.
        sums: Of the gradients over it, unit by unit, shape ``(s, m)``.
        errors: How far ``sums`` are likely off, as the length of a vector, shape ``(s,)``; infinite where
            nothing tells yet.
    """

    row: Tensor
    start: Tensor
    width: Tensor
    points: Tensor
    sums: Tensor
    errors: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def take(self, kept: Tensor) -> "Stretches":
        """Those where ``kept``, shape ``(s,)``, is true."""
        return Stretches(
            self.row[kept],
            self.start[kept],
            self.width[kept],
            self.points[kept],
            self.sums[kept],
            self.errors[kept],
        )

    def followed_by(self, others: "Stretches") -> "Stretches":
        """These, then the others."""
        return Stretches(
            torch.cat([self.row, others.row]),
            torch.cat([self.start, others.start]),
            torch.cat([self.width, others.width]),
            torch.cat([self.points, others.points]),
            torch.cat([self.sums, others.sums]),
            torch.cat([self.errors, others.errors]),
        )


def paths_of(path: StraightPath) -> Paths:
    """Of all rows, to be kept as long as they are walked."""
    return Paths(path.baseline, path.inputs - path.baseline)


def kinks_of(path: StraightPath) -> Kinks:
    """What kinks the layers of the score have, and whether they can be averaged over the path.

    For that the score must also be what it always is when leading layers are passed once per path: a function
    that torch does not tell of may get hold of numbers that were not made. And it must have gradients then: a
    model may change numbers in place that are not needed for its own.
    """

    def run(n_rows: int) -> None:
        with torch.no_grad():
            path.score(path.inputs[:1].expand(n_rows, *path.inputs.shape[1:]), path.target[[0] * n_rows])

    try:
        kinks = kinks_passed(run)
    except RuntimeError:  # what maps or differentiates within the model refuses derivatives of others
        return "others"
    return "others" if kinks == "averaged" and not _has_its_scores_and_gradients(path) else kinks


def _has_its_scores_and_gradients(path: StraightPath) -> bool:
    path = path.take(torch.zeros(1, dtype=torch.int64))
    paths, target = paths_of(path), path.target[[0] * FIRST_POINTS]
    groups = Groups(torch.zeros(1, dtype=torch.int64), _within(FIRST_POINTS).unsqueeze(0), path.inputs)
    with torch.no_grad():
        as_ever = path.score(groups.values(paths.inputs), target)
    kinked = KinkedStart(paths, groups)
    with torch.enable_grad(), ChannelsLast(), CellAverages(FIRST_POINTS), kinked:
        found = path.score(kinked.points, target)
    try:
        kinked.summed_gradients(found.sum())
    except RuntimeError:
        return False
    found, off = found.detach(), path.rounding**0.5
    return torch.allclose(found, as_ever, rtol=off, atol=off * float(as_ever.abs().max()))


def first_stretches(path: StraightPath, paths: Paths, n: int) -> Stretches:
    """Every path in ``n`` equal parts.

    Args:
        path: What is explained.
        paths: Those of its rows.
        n: Parts.
    """
    n_rows = len(path.inputs)
    row = torch.arange(n_rows).repeat_interleave(n)
    start = (torch.arange(n, dtype=torch.float64) / n).repeat(n_rows)
    width = torch.full((len(row),), 1 / n, dtype=torch.float64)
    spans = _Spans(row, start, width, torch.full((len(row),), FIRST_POINTS))
    unknown = torch.full((len(row),), torch.inf, dtype=torch.float64)
    return Stretches(*spans, _sums(path, paths, spans), unknown)


def divided(path: StraightPath, paths: Paths, stretches: Stretches, times: Tensor) -> Parts[Stretches]:
    """Each stretch with so many times as many points, and what that tells of the error.

    Args:
        path: What is explained.
        paths: Those of its rows.
        stretches: To be divided.
        times: How many, whole numbers, shape ``(s,)``.
    """
    pairs = times * stretches.points // 2
    n_parts = _n_parts(pairs, stretches.width)
    of = torch.arange(len(stretches)).repeat_interleave(n_parts)
    part = torch.arange(len(of)) - (n_parts.cumsum(0) - n_parts)[of]
    before, until = (pairs[of] * number // n_parts[of] for number in (part, part + 1))
    length = stretches.width / pairs  # of what a pair of points stands for
    spans = _Spans(
        row=stretches.row[of],
        start=stretches.start[of] + before * length[of],
        width=(until - before) * length[of],
        points=2 * (until - before),
    )
    sums = _sums(path, paths, spans).double()
    moved = stretches.sums.double().index_add(0, of, -sums)
    share = ((until - before) / pairs[of].double()).sqrt()  # errors add up as squares
    errors = _errors(moved.norm(dim=1), stretches.errors, times)[of] * share
    residuals = (left_after(times) * moved.sum(dim=1).abs())[of] * share
    rounding = path.rounding * sums.norm(dim=1)
    return Parts(
        pieces=Stretches(*spans, sums.to(path.precision), errors),
        sums=sums,
        errors=beyond(errors, rounding),
        residuals=beyond(residuals, rounding),
    )


def _n_parts(pairs: Tensor, width: Tensor) -> Tensor:
    """Into how many each stretch is divided that is to have so many pairs of points, shape ``(s,)``."""
    in_each = (WIDEST * pairs / width).to(torch.int64).clamp(1, MOST_POINTS_EACH // 2)
    return (pairs + in_each - 1) // in_each


def _errors(moved: Tensor, before: Tensor, times: Tensor) -> Tensor:
    """Of stretches, from what dividing them moved and what the error was before, shape ``(s,)``.

    Args:
        moved: Shape ``(s,)``.
        before: Shape ``(s,)``, infinite where nothing is known.
        times: How many times as many points they have now, shape ``(s,)``.
    """
    measured, expected = (left_after(times) * moved).square(), (left_after(times) * before).square()
    both = EXPECTED * expected + (1 - EXPECTED) * measured
    return torch.where(before.isinf(), measured, both).sqrt()


def _sums(path: StraightPath, paths: Paths, spans: _Spans) -> Tensor:
    """Of the gradients over stretches, unit by unit, shape ``(s, m)``."""
    most = path.batch_size if path.inputs.is_cuda else min(path.batch_size, MOST_POINTS)
    if most < int(spans.points.max()) > FIRST_POINTS:
        pairs, of = _pairs_of(spans)
        of_pairs = _sums(path, paths, pairs)
        return of_pairs.new_zeros(len(spans.row), of_pairs.shape[1]).index_add_(0, of, of_pairs)
    # those with as many points each are passed together, and of these what belongs to one path
    order = torch.from_numpy(np.lexsort((spans.row.numpy(), spans.points.numpy())))
    parts = [
        _batch(path, paths, spans, few)
        for n, count in enumerate(torch.bincount(spans.points).tolist())
        if count
        for few in torch.split(order[spans.points[order] == n], max(1, most // n))
    ]
    sums = torch.cat(parts)
    return torch.empty_like(sums).index_copy_(0, order, sums)


def _pairs_of(spans: _Spans) -> tuple[_Spans, Tensor]:
    """Each pair of points with its part of a stretch, and which that is, shape ``(s,)``."""
    n = spans.points // 2
    of = torch.arange(len(n)).repeat_interleave(n)
    index = torch.arange(len(of)) - (n.cumsum(0) - n)[of]
    width = (spans.width / n)[of]
    return _Spans(spans.row[of], spans.start[of] + index * width, width, torch.full_like(of, 2)), of


def _batch(path: StraightPath, paths: Paths, spans: _Spans, few: Tensor) -> Tensor:
    """Of those stretches, all with as many points."""
    row, width, n = spans.row[few], spans.width[few], int(spans.points[few[0]])
    places = spans.start[few].unsqueeze(1) + width.unsqueeze(1) * _within(n)
    ways = paths.inputs.changes
    kinked = KinkedStart(paths, Groups(row, places, ways))
    on_device = row.to(ways.device)
    target = path.target[on_device].repeat_interleave(n, dim=0)
    with torch.enable_grad(), ChannelsLast(), CellAverages(len(target)), kinked:
        scores = path.score(kinked.points, target)
    changes = kinked.summed_gradients(scores.sum()) * ways[on_device]
    sums = path.pooled(changes.double()).flatten(1).cpu() * (width / n).unsqueeze(1)
    return sums.to(path.precision)


def _within(n: int) -> Tensor:
    """Where the points of a stretch lie: in the middle of equal parts."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n
