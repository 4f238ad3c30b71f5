"""Numbers that change along each path as straight as the inputs do, and points on the paths."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.known_calls import KnownCalls
from auditkit.audits.explainability.straight_path.layers import Layer


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Numbers that change along each path as straight as the inputs do.

    Attributes:
        at_start: At the baseline, shape ``(1, *e)``.
        changes: From there to the end of each path, shape ``(r, *e)``.
        layers: From the inputs to here.
    """

    at_start: Tensor
    changes: Tensor
    layers: tuple[Layer, ...] = ()

    def behind(self, layer: Layer) -> "Lines":
        """What a layer makes of them."""
        with torch.no_grad():
            at_start, changes = layer.with_bias(self.at_start), layer.forward(self.changes)
        return Lines(at_start, changes, (*self.layers, layer))

    def back_to_inputs(self, gradients: Tensor) -> Tensor:
        """From gradients with respect to these numbers, shape ``(g, *e)``, to the inputs, ``(g, *d)``."""
        for layer in reversed(self.layers):
            gradients = layer.back(gradients)
        return gradients


class Paths:
    """From one baseline to the inputs of several rows.

    Args:
        baseline: Shape ``(1, *d)``.
        changes: From there to the end of each path, shape ``(r, *d)``.

    Attributes:
        inputs: What a model is given.
        known: What leading layers made of them.
    """

    def __init__(self, baseline: Tensor, changes: Tensor) -> None:
        self.inputs = Lines(baseline, changes)
        self.known = KnownCalls()


class Groups:
    """Points on paths, those of one group beside one another.

    Args:
        path_of: Of each group, shape ``(g,)``; groups of one path are best beside one another.
        places: How far along its path each point of a group is, shape ``(g, p)``.
        like: Has the device and the type of the numbers.

    Attributes:
        size: The number ``p`` of points in a group.
        n_points: The number ``g * p``.
        runs: Paths, each with the points on it, as far as they are beside one another.
    """

    def __init__(self, path_of: Tensor, places: Tensor, like: Tensor) -> None:
        self.size, self.n_points = places.shape[1], places.numel()
        paths, lengths = torch.unique_consecutive(path_of, return_counts=True)
        ends = (lengths * self.size).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        self.runs = [
            (path, slice(start, end)) for path, start, end in zip(paths.tolist(), starts, ends, strict=True)
        ]
        self._path_of, self._places, self._like = path_of, places, like

    def part(self, n_dims: int) -> Tensor:
        """Of its path that is before each point, shape ``(g * p, 1, ...)`` of so many dimensions."""
        return self._of_points(self._places, n_dims)

    def cells(self, n_dims: int) -> tuple[Tensor, Tensor]:
        """Begin and end of the part of the path that each point stands for: points of a group lie evenly."""
        half = (self._places[:, 1:2] - self._places[:, :1]) / 2
        return self._of_points(self._places - half, n_dims), self._of_points(self._places + half, n_dims)

    def width(self, n_dims: int) -> Tensor:
        """Of the part of the path that a point stands for, at each point."""
        return self._of_points((self._places[:, 1:2] - self._places[:, :1]).expand_as(self._places), n_dims)

    def values(self, lines: Lines) -> Tensor:
        """Of the numbers at all points, shape ``(g * p, *e)``."""
        changes = lines.changes.index_select(
            0, self._path_of.repeat_interleave(self.size).to(self._like.device)
        )
        return torch.addcmul(lines.at_start, self.part(changes.ndim), changes)

    def summed(self, values: Tensor) -> Tensor:
        """From points, shape ``(g * p, *e)``, to groups, ``(g, *e)``."""
        return values.view(len(values) // self.size, self.size, *values.shape[1:]).sum(dim=1)

    def _of_points(self, places: Tensor, n_dims: int) -> Tensor:
        return places.to(self._like).reshape(-1, *[1] * (n_dims - 1))
