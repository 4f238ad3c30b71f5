"""What was found for the calls of a pass, for passes that make the same calls."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


class KnownCalls:
    """Results of calls by their order in a pass, as long as each is called with the same arguments.

    A pass that makes other calls finds nothing, which costs time and nothing else.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}
        self._n_calls = 0

    def begin(self) -> None:
        """The next call is the first one of a pass."""
        self._n_calls = 0

    def result(self, call: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What ``make`` gave when this call was made with these arguments.

        Args:
            call: What tells it from others. Tensors are compared by identity and version, the rest by value.
            make: Finds the result.
        """
        place = self._n_calls
        self._n_calls += 1
        given = _signature(call)
        if place not in self._known or not _same(self._known[place][0], given):
            self._known[place] = (given, make())
        result: T = self._known[place][1]
        return result


def _signature(argument: Any) -> Any:
    """With the versions of tensors, so that one which was changed since is not taken for the same."""
    if isinstance(argument, Tensor):
        # those made for inference count no versions: no two are the same
        return argument, object() if argument.is_inference() else argument._version
    if isinstance(argument, tuple | list):
        return [_signature(part) for part in argument]
    return argument


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or (not isinstance(one, Tensor) and bool(one == other))
