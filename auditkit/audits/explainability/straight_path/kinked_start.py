"""Rectifiers and maximum pools that come first, done once per path as well."""

from typing import Any, Final

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.affine_start import AffineStart, Waiting
from auditkit.audits.explainability.straight_path.kinks import IN_PLACE, RECTIFIERS
from auditkit.audits.explainability.straight_path.largest_on_paths import largest_on_paths
from auditkit.audits.explainability.straight_path.pooling import POOLS, pooling, windows_of

MOST_NUMBERS: Final = 9
"""In a window: each is compared with each."""


class KinkedStart(AffineStart):
    """An affine start that also passes a pool of what is straight along paths, rectified or not.

    Where on the path each number of a window is the largest is known then, so that derivatives are averaged
    without any of the numbers but the largest being made. Points come in pairs, at a quarter and three
    quarters of a stretch.
    """

    def instead(
        self, first: Waiting, func: Any, others: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        """See the base class."""
        if first.made is None and func in RECTIFIERS:
            return self._rectified(first, in_place=func in IN_PLACE or _argument(others, kwargs, "inplace"))
        if first.made is None and func in POOLS:
            return self._pooled(first, POOLS.index(func) + 1, others, kwargs)
        return super().instead(first, func, others, kwargs)

    def _rectified(self, first: Waiting, *, in_place: bool) -> Tensor:
        if in_place:
            first.rectified = True
            return first.stand_in
        return self.wait(first.lines, rectified=True)

    def _pooled(
        self, first: Waiting, n_dims: int, others: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor | None:
        named = dict(kwargs)
        if named.pop("return_indices", False) or first.stand_in.ndim < n_dims + 1:
            return None
        how = pooling(*others, **named)
        windows = windows_of(first.stand_in.shape[-n_dims:], how)
        if windows.overlap or windows.padded or windows.n_numbers > MOST_NUMBERS:
            return None
        lines, rectified = first.lines, first.rectified
        with torch.no_grad():
            largest = self.known.result(
                (lines, rectified, how), lambda: largest_on_paths(lines, windows, rectified=rectified)
            )
            return self.cut(
                lines, lambda: largest.values(self.groups), lambda of: largest.summed(of, self.groups)
            )


def _argument(others: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> bool:
    """Of a rectifier after what it takes: there is but one."""
    return bool(others[0] if others else kwargs.get(name, False))
