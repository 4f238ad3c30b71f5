"""Sees whether a model passes anything with kinks, and leaves what it makes as it is."""

from typing import Any

from torch.overrides import TorchFunctionMode

from auditkit.audits.explainability.straight_path.kinks import bends_of, has_numbers, has_other_kinks
from auditkit.audits.explainability.straight_path.pooling import POOLS


class KinksSeen(TorchFunctionMode):
    """While entered, functions of torch are watched.

    Attributes:
        any: Whether one of them may have kinks. Bounds on lengths do not count, but choices of numbers by
            masks do, although nothing is differentiated there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.any = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Of torch's protocol."""
        kwargs = kwargs or {}
        may_bend = func in POOLS or has_other_kinks(func) or bends_of(func, args, kwargs) is not None
        self.any = self.any or (may_bend and has_numbers(args, kwargs))
        return func(*args, **kwargs)
