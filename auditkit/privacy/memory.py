"""Memory that ends within a step: the step is done again from its start, on fewer rows at once.

Nothing of the failed attempt was released, and its steps stay reserved once, so that nothing is charged
again. Which rows are in a step, its noise and its dropout follow from where the random streams stand; they
are put back before the next attempt, which therefore sums the same rows under the same noise. How many rows
are worked on at once changes the sum by rounding alone, and dropout by which mask meets which row.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

from auditkit.errors import AuditkitError
from auditkit.privacy.clipping import ClippedGradients

T = TypeVar("T")

_OF_THE_PROCESSOR = "DefaultCPUAllocator"
"""Its name stands in an error that has no class of its own."""


def within_memory(clipped: ClippedGradients, work: Callable[[], T], go_back: Callable[[], None]) -> T:
    """What ``work`` gives; where memory ends, what it gives on half as many rows at once, or half of those.

    Args:
        clipped: The engine that ``work`` uses. It keeps the smaller size afterwards.
        work: Changes nothing that lasts but what ``go_back`` puts back.
        go_back: Called before each further attempt, when the engine has the smaller size.

    Raises:
        AuditkitError: Memory does not suffice for one row, or the rows of one person, at a time.
    """
    while True:
        try:
            return work()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            said = str(error).splitlines()[0][:160]
        # Not before the block above has ended: until then the traceback keeps what the attempt had made.
        torch.cuda.empty_cache()  # does nothing where CUDA was not used
        if not clipped.halve():
            raise AuditkitError(
                f"private training: memory ends with {clipped.rows_at_once} rows at a time ({said}). Nothing "
                "of this step was released. Train a smaller model, with fewer copies or rows per person, or "
                "on another --device"
            )
        go_back()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not allocate memory, on an accelerator or for the processor."""
    return isinstance(error, torch.OutOfMemoryError) or _OF_THE_PROCESSOR in str(error)
