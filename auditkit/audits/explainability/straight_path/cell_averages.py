"""Runs a model so that its layers with kinks are differentiated on average over parts of a path."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from auditkit.audits.explainability.straight_path.affine_start import ABOUT
from auditkit.audits.explainability.straight_path.kinks import (
    IN_PLACE,
    Bends,
    bends_of,
    bent,
    has_numbers,
    has_other_kinks,
    yet_to_be_bent,
)
from auditkit.audits.explainability.straight_path.largest_of_windows import largest_of_windows
from auditkit.audits.explainability.straight_path.pooling import POOLS, Pooling, pooling

_POOLED_DIMS: Final = 3
"""Pools take no fewer."""


@dataclass(slots=True)
class _Rectified:
    """What a rectifier gives.

    Attributes:
        held: What the model holds.
        result: The numbers, once they were made, which of pooled ones they need not be.
        before: What is rectified.
        version: Of ``result``, or of ``before`` as long as there is none, which tells whether it was changed.
        bends: How.
    """

    held: Tensor
    result: Tensor | None
    before: Tensor
    version: int
    bends: Bends

    @property
    def unchanged(self) -> bool:
        """Since it was rectified."""
        return (self.before if self.result is None else self.result)._version == self.version


class CellAverages(TorchFunctionMode):
    """While entered, kinked layers are differentiated on average over the part of the path around each point.

    Rows come in pairs, 2 i and 2 i + 1, at a quarter and three quarters of a stretch of one path. Results are
    as ever; only derivatives differ. Rectifiers (also leaky, also with an upper end) and maximum pooling are
    kinked layers. Of a pool of rectified numbers the rectified pool is taken, which is the same, and the
    numbers themselves are not made unless something else asks for them.

    Attributes:
        understood: For each layer with kinks that was passed, whether it is averaged rightly: it is one of
            those, and its first dimension is ``n_rows``, or pairs are not where they are sought.
    """

    def __init__(self, n_rows: int) -> None:
        super().__init__()
        self.understood: list[bool] = []
        self._n_rows = n_rows
        self._rectified: dict[int, _Rectified] = {}
        self._unmade: dict[int, _Rectified] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        if not args or func in ABOUT:
            return func(*args, **kwargs)
        if func in POOLS and isinstance(args[0], Tensor) and not kwargs.pop("return_indices", False):
            self.understood.append(len(args[0]) == self._n_rows)
            return self._pooled(args[0], POOLS.index(func) + 1, pooling(*args[1:], **kwargs))
        if self._unmade:
            args, kwargs = self._made(args), self._made(kwargs)
        if not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        bends = bends_of(func, args, kwargs)
        if bends is not None:
            self.understood.append(len(args[0]) == self._n_rows)
            in_place = func in IN_PLACE or bool(kwargs.get("inplace", False))
            with torch._C.DisableTorchFunction():
                return self._bent_in_place(args[0], bends) if in_place else self._bent(args[0], bends)
        if has_other_kinks(func) and has_numbers(args, kwargs):
            self.understood.append(False)
        return func(*args, **kwargs)

    def _bent_in_place(self, before: Tensor, bends: Bends) -> Tensor:
        kept = before.clone()
        result = before.copy_(bent(kept, bends))
        self._rectified[id(result)] = _Rectified(result, result, kept, result._version, bends)
        return result

    def _bent(self, before: Tensor, bends: Bends) -> Tensor:
        if before.ndim < _POOLED_DIMS:
            return bent(before, bends)
        held = yet_to_be_bent(before, bends)
        rectified = _Rectified(held, None, before, before._version, bends)
        self._rectified[id(held)] = self._unmade[id(held)] = self._unmade[id(before)] = rectified
        return held

    def _pooled(self, values: Tensor, n_dims: int, how: Pooling) -> Tensor:
        rectified = self._rectified.get(id(values))
        with torch._C.DisableTorchFunction():
            if rectified is None or not rectified.unchanged:
                return largest_of_windows(self._made(values), n_dims, how)
            return bent(largest_of_windows(rectified.before, n_dims, how), rectified.bends)

    def _made(self, argument: Any) -> Any:
        """With made numbers for rectified ones that were not made; what they come from may change then."""
        if type(argument) in (tuple, list):
            return type(argument)(map(self._made, argument))
        if type(argument) is dict:
            return {name: self._made(part) for name, part in argument.items()}
        rectified = self._unmade.get(id(argument))
        if rectified is None:
            return argument
        if rectified.result is None:
            self._make(rectified)
        return rectified.result if argument is rectified.held else argument

    def _make(self, rectified: _Rectified) -> None:
        if not rectified.unchanged:
            self.understood.append(False)
        with torch._C.DisableTorchFunction():
            rectified.result = bent(rectified.before, rectified.bends)
        rectified.version = rectified.result._version


Kinks = Literal["none", "averaged", "others"]
"""Of layers: there are none, all are averaged rightly, or some are not."""


def kinks_passed(run: Callable[[int], object]) -> Kinks:
    """What kinks a model has.

    Args:
        run: Passes so many rows.
    """
    found = []
    for n_rows in (1, 2):  # what has so many both times are the rows
        with CellAverages(n_rows) as averages:
            run(n_rows)
        found += averages.understood
    if not found:
        return "none"
    return "averaged" if all(found) else "others"
