"""How many threads a training step is worth."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from auditkit.energy.flops import count_flops

SMALL_STEP_FLOPS = 16_000_000
"""Floating-point operations of a batch's forward pass below which a second thread gains less than a tenth.

Measured at 784-128-10 on two cores: a step of 32 rows takes 0.67 ms on one thread and 0.62 ms on two; when
other processes hold the cores, threads that wait for one another made it up to fifty times slower.
"""


@contextmanager
def one_thread() -> Iterator[None]:
    """Use a single thread inside the block; restore the setting after."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(batch_flops: int) -> AbstractContextManager[None]:
    """Use a single thread for small steps inside the block.

    Small trainings then give the same bits on machines with any number of cores.
    """
    return one_thread() if batch_flops < SMALL_STEP_FLOPS else nullcontext()


def batch_flops(module: nn.Module, row: torch.Tensor, batch_size: int) -> int:
    """Operations of the forward pass of a batch, from those of one ``row`` of shape ``(1, *d)``."""
    training = module.training
    module.eval()
    with torch.no_grad():
        count = count_flops(lambda: module(row))
    module.train(training)
    return count.flops * batch_size
