"""Runs a model so that its layers with kinks are differentiated on average over parts of a path."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from auditkit.audits.explainability.straight_path.kinks import (
    IN_PLACE,
    Bends,
    bends_of,
    bent,
    has_other_kinks,
)
from auditkit.audits.explainability.straight_path.largest_of_windows import largest_of_windows
from auditkit.audits.explainability.straight_path.pooling import POOLS, Pooling, pooling


@dataclass(frozen=True, slots=True)
class _Rectified:
    """What a rectifier gave, and from what; ``version`` tells whether it was changed since."""

    result: Tensor
    version: int
    before: Tensor
    bends: Bends


class CellAverages(TorchFunctionMode):
    """While entered, kinked layers are differentiated on average over the part of the path around each point.

    Rows come in pairs, 2 i and 2 i + 1, at a quarter and three quarters of a stretch of one path. Results are
    as ever; only derivatives differ. Rectifiers (also leaky, also with an upper end) and maximum pooling are
    kinked layers. Of a pool of rectified numbers the rectified pool is taken, which is the same.

    Attributes:
        understood: For each layer with kinks that was passed, whether it is averaged rightly: it is one of
            those, and its first dimension is ``n_rows``, or pairs are not where they are sought.
    """

    def __init__(self, n_rows: int) -> None:
        super().__init__()
        self.understood: list[bool] = []
        self._n_rows = n_rows
        self._latest: _Rectified | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        if not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        bends = bends_of(func, args, kwargs)
        if bends is not None:
            self.understood.append(len(args[0]) == self._n_rows)
            in_place = func in IN_PLACE or bool(kwargs.get("inplace", False))
            return self._bent(args[0], bends, in_place=in_place)
        if func in POOLS and not kwargs.pop("return_indices", False):
            self.understood.append(len(args[0]) == self._n_rows)
            return self._pooled(args[0], POOLS.index(func) + 1, pooling(*args[1:], **kwargs))
        if has_other_kinks(func) and _has_numbers((*args, *kwargs.values())):
            self.understood.append(False)
        return func(*args, **kwargs)

    def _bent(self, before: Tensor, bends: Bends, *, in_place: bool) -> Tensor:
        with torch._C.DisableTorchFunction():
            kept = before.clone() if in_place else before
            result = bent(kept, bends)
            if in_place:
                result = before.copy_(result)
        self._latest = _Rectified(result, result._version, kept, bends)
        return result

    def _pooled(self, values: Tensor, n_dims: int, how: Pooling) -> Tensor:
        latest = self._latest
        if latest is None or latest.result is not values or latest.version != values._version:
            with torch._C.DisableTorchFunction():
                return largest_of_windows(values, n_dims, how)
        with torch._C.DisableTorchFunction():
            return bent(largest_of_windows(latest.before, n_dims, how), latest.bends)


def _has_numbers(given: tuple[Any, ...]) -> bool:
    """Whether there is anything to differentiate; lengths, places and masks have no derivative."""
    return any(isinstance(value, Tensor) and value.is_floating_point() for value in given)


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
