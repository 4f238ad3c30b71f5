"""How many threads a training step is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL_STEP = 8_000_000
"""Rows per batch times parameters below which a second thread gains less than a tenth.

Measured at 784-128-10 on two cores: a step of 32 rows takes 0.67 ms on one thread and 0.62 ms on two; when
other processes hold the cores, threads that wait for one another made it up to fifty times slower.
"""


@contextmanager
def threads_for(batch_size: int, n_parameters: int) -> Iterator[None]:
    """Use a single thread for small steps inside the block; restore the setting after.

    Small trainings then give the same bits on machines with any number of cores.
    """
    before = torch.get_num_threads()
    small = batch_size * n_parameters < SMALL_STEP
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        if small:
            torch.set_num_threads(before)
