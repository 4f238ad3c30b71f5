"""Where the steps of one training are made: the place of their gradients, and what goes on beside."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditkit.privacy.gradient_buffer import GradientBuffer
from auditkit.training.threads import batch_flops

BESIDE_FLOPS = 160_000_000
"""Operations of a batch's forward pass below which one thread works on the rows while another makes noise.

Measured at 784-128-10 on two cores whose waiting threads sleep. With 256 rows (52 MFLOP) a step takes 1.32 ms
so, and 1.66 ms where noise comes first; with 512 rows 2.05 and 2.28 ms, with 768 rows 3.02 and 3.22 ms, with
1,024 rows (208 MFLOP) 3.40 and 3.26 ms. Matrix products in two threads and noise in a third wait for one
another.
"""


@dataclass(frozen=True, slots=True)
class StepPlace:
    """Used again by every step.

    Attributes:
        buffer: Of the gradients.
        noise_beside_rows: Whether noise is made while the rows are worked on.
    """

    buffer: GradientBuffer
    noise_beside_rows: bool

    @classmethod
    def of(
        cls, module: nn.Module, parameters: Sequence[nn.Parameter], row: Tensor, batch_size: int
    ) -> "StepPlace":
        """For steps of about ``batch_size`` rows like ``row``, shape ``(1, *d)``."""
        beside = torch.get_num_threads() > 1 and batch_flops(module, row, batch_size) < BESIDE_FLOPS
        return cls(GradientBuffer.like(parameters), beside)
