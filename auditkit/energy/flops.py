"""Floating-point operations of one forward pass, counted where the dispatcher sees every operation."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from auditkit.energy.flop_formulas import OWN_FORMULAS, FlopFormula, needs_formula
from auditkit.records import Kind


@dataclass(frozen=True, slots=True)
class FlopCount:
    """What one call costs in matrix products; two FLOP per multiplication with addition.

    Attributes:
        flops: Sum over all counted operations.
        by_operation: The same by operation.
        unknown: Operations that may hold matrix products and have no formula, sorted.
        coverage: Share of the elements put out by operations of that class that were counted, in
            ``[0, 1]``; ``None`` when there was none of the class.
    """

    flops: int
    by_operation: Mapping[str, int]
    unknown: tuple[str, ...]
    coverage: float | None

    @property
    def kind(self) -> Kind:
        """``lower_bound`` as soon as one operation could not be counted."""
        return "lower_bound" if self.unknown else "estimate"


def count_flops(forward: Callable[[], object]) -> FlopCount:
    """Count the FLOPs of ``forward()``, which is called once.

    Works on any device, ``meta`` included. No hook is set on any module. Counting makes the call several
    times slower, so it must not be timed.
    """
    counting = _Counting()
    with counting:
        forward()
    return counting.result()


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the hook untyped
    """Looks up a formula for each operation; composite ones are taken apart first."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._flops: Counter[str] = Counter()
        self._counted_elements = 0
        self._unknown: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):  # control flow and other higher-order operators
            self._unknown[str(func)] += 1
            return func(*args, **kwargs)
        formula = _formula(func)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = func(*args, **kwargs)
        self._record(func, formula, args, kwargs, output)
        return output

    def _record(
        self,
        func: torch._ops.OpOverload,
        formula: FlopFormula | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
    ) -> None:
        if formula is None:
            if needs_formula(func):
                self._unknown[func._schema.name] += _elements(output)
            return
        try:
            flops = int(formula(*args, **kwargs, out_val=output))
        except (RuntimeError, TypeError, ValueError, AttributeError):
            # A layout that the formula does not know, such as nested tensors, has no plain shape.
            self._unknown[func._schema.name] += _elements(output)
            return
        self._flops[func._schema.name] += flops
        self._counted_elements += _elements(output)

    def result(self) -> FlopCount:
        """The count so far."""
        elements = self._counted_elements + self._unknown.total()
        return FlopCount(
            flops=self._flops.total(),
            by_operation=dict(sorted(self._flops.items())),
            unknown=tuple(sorted(self._unknown)),
            coverage=self._counted_elements / elements if elements else None,
        )


def _formula(func: torch._ops.OpOverload) -> FlopFormula | None:
    own = OWN_FORMULAS.get(func._schema.name)
    return own if own is not None else flop_registry.get(func._overloadpacket)


def _elements(output: Any) -> int:
    """Elements of the first tensor put out; states and log-sums behind it do not count."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    return first.numel() if isinstance(first, Tensor) else 0
