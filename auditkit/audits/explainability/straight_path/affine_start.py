"""What a model does before anything bends, done once per path instead of at every point of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from auditkit.audits.explainability.straight_path.kinks import RECTIFIED
from auditkit.audits.explainability.straight_path.layers import layer_of
from auditkit.audits.explainability.straight_path.paths import Groups, Lines, Paths

ABOUT: Final = frozenset(
    {
        Tensor.device.__get__,
        Tensor.dim,
        Tensor.dtype.__get__,  # type: ignore[attr-defined]  # annotated as plain
        Tensor.ndim.__get__,  # type: ignore[attr-defined]  # annotated as plain
        Tensor.numel,
        Tensor.shape.__get__,  # type: ignore[attr-defined]  # annotated as plain
        Tensor.size,
        Tensor.__len__,
    }
)
"""What they tell of numbers is known before these are made."""


@dataclass(slots=True, eq=False)
class Waiting:
    """Numbers at all points that a model was given and that are not made before it asks for them.

    Attributes:
        stand_in: What the model holds: of the right shape, and no number, so that what gets hold of it
            unseen gives none.
        lines: How the numbers change along paths.
        rectified: Whether they are cut off below zero.
        made: The numbers, once they were asked for.
    """

    stand_in: Tensor
    lines: Lines
    rectified: bool = False
    made: Tensor | None = None


class _Cut(NamedTuple):
    """Where gradients are taken, on which lines, and how they are summed over the points of each group."""

    of: GradientEdge
    lines: Lines
    summed: Callable[[Tensor], Tensor]


class AffineStart(TorchFunctionMode):
    """While entered, leading linear layers and convolutions run on baseline and changes alone.

    Args:
        paths: From the baseline to the inputs. What leading layers make of them is kept there.
        groups: Points on the paths.
    """

    def __init__(self, paths: Paths, groups: Groups) -> None:
        super().__init__()
        self.groups = groups
        self.known = paths.known
        self.known.begin()
        self._waiting: dict[int, Waiting] = {}
        self._cuts: list[_Cut] = []
        self._shape = paths.inputs.changes.shape[1:]
        self.points = self.wait(paths.inputs)
        """What the model is to be given: the points of one group after those of another, ``(g * p, *d)``."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in ABOUT:
            return func(*args, **kwargs)
        first = self._waiting.get(id(args[0])) if args else None
        if first is not None:
            others, named = self._made(args[1:]), self._made(kwargs)
            with torch._C.DisableTorchFunction():
                given = self.instead(first, func, others, named)
            if given is not None:
                return given
        return func(*self._made(args), **self._made(kwargs))

    def summed_gradients(self, total: Tensor) -> Tensor:
        """Of a score with respect to the inputs, summed over the points of each group.

        Args:
            total: Sum of the scores at all points; points do not depend on one another.

        Returns:
            Shape ``(g, *d)``.
        """
        cuts = [*self._cuts, *map(self._stand_in_cut, self._waiting.values())]
        gradients = torch.autograd.grad(total, [cut.of for cut in cuts], allow_unused=True)
        summed = total.new_zeros(self.groups.n_points // self.groups.size, *self._shape)
        for cut, gradient in zip(cuts, gradients, strict=True):
            if gradient is not None:
                summed += cut.lines.back_to_inputs(cut.summed(gradient))
        return summed

    def wait(self, lines: Lines, *, rectified: bool = False) -> Tensor:
        """A tensor that stands for numbers at all points until they are asked for."""
        shape = (self.groups.n_points, *lines.at_start.shape[1:])
        # a function written by hand takes this for its argument, and sends gradients back to it
        stand_in = lines.at_start.new_full((), torch.nan).expand(shape).detach().requires_grad_(True)
        self._waiting[id(stand_in)] = Waiting(stand_in, lines, rectified)
        return stand_in

    def instead(
        self, first: Waiting, func: Any, others: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        """What a function gives for numbers that wait, where these need not be made for that.

        Args:
            first: What stands for the first argument.
            func: A function of torch.
            others: The arguments after the first.
            kwargs: The named ones.
        """
        if first.rectified or (first.made is not None and first.made._version):
            return None
        layer = layer_of(first.stand_in, func, others, kwargs)
        if layer is None:
            return None
        call = (first.lines, *layer.told_by)
        return self.wait(self.known.result(call, lambda: first.lines.behind(layer)))

    def cut(self, lines: Lines, make: Callable[[], Tensor], summed: Callable[[Tensor], Tensor]) -> Tensor:
        """Makes numbers with respect to which gradients are taken.

        Args:
            lines: What they come from.
            make: Gives them, one row for each point.
            summed: From gradients with respect to them to such with respect to the lines, summed over the
                points of each group.
        """
        with torch.enable_grad():
            anchor = lines.at_start.new_zeros((), requires_grad=True)
            values: Tensor = _Inner.apply(anchor, make)  # type: ignore[no-untyped-call]  # not annotated
        self._cuts.append(_Cut(get_gradient_edge(values), lines, summed))
        return values

    def _stand_in_cut(self, waiting: Waiting) -> _Cut:
        def summed(gradients: Tensor) -> Tensor:
            if waiting.rectified:
                gradients = RECTIFIED.slope_times(gradients, self.groups.values(waiting.lines))
            return self.groups.summed(gradients)

        return _Cut(get_gradient_edge(waiting.stand_in), waiting.lines, summed)

    def _made(self, argument: Any) -> Any:
        """With made numbers for those that wait."""
        waiting = self._waiting.get(id(argument))  # those that wait are kept, so no other has their id
        if waiting is not None:
            return self._make(waiting)
        if type(argument) in (tuple, list):
            return type(argument)(map(self._made, argument))
        if type(argument) is dict:
            return {name: self._made(part) for name, part in argument.items()}
        return argument

    def _make(self, waiting: Waiting) -> Tensor:
        if waiting.made is not None:
            return waiting.made
        lines = waiting.lines
        with torch._C.DisableTorchFunction():
            values = self.cut(lines, lambda: self.groups.values(lines), self.groups.summed)
        # all at once: the model may change the one in place while it holds the others
        for each in [each for each in self._waiting.values() if each.lines is lines]:
            each.made = torch.relu(values) if each.rectified else values
        return self._make(waiting)


class _Inner(torch.autograd.Function):
    """A start of the graph that is no leaf, so that a model may change it in place."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, make: Callable[[], Tensor]) -> Tensor:
        return make()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None]:
        return None, None
