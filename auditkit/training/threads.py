"""How many threads a training step is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from auditkit.energy.flops import count_flops

SMALL_STEP_FLOPS = 16_000_000
"""Floating-point operations of a batch's forward pass below which a second thread gains less than a tenth.

Measured at 784-128-10 on two cores: a step of 32 rows takes 0.67 ms on one thread and 0.62 ms on two; when
other processes hold the cores, threads that wait for one another made it up to fifty times slower.
"""


@contextmanager
def threads_for(batch_flops: int) -> Iterator[None]:
    """Use a single thread for small steps inside the block; restore the setting after.

    Small trainings then give the same bits on machines with any number of cores.
    """
    before = torch.get_num_threads()
    small = batch_flops < SMALL_STEP_FLOPS
    try:
        if small:
            torch.set_num_threads(1)
        yield
    finally:
        if small:
            torch.set_num_threads(before)


def batch_flops(module: nn.Module, row: torch.Tensor, batch_size: int) -> int:
    """Operations of the forward pass of a batch, from those of one ``row`` of shape ``(1, *d)``."""
    training = module.training
    module.eval()
    with torch.no_grad():
        count = count_flops(lambda: module(row))
    module.train(training)
    return count.flops * batch_size
