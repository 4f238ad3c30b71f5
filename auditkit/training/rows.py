"""The training rows on a device, and how they are dealt into batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import ValueTablePreprocessing
from auditkit.data.sequences import targets_of


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Inputs, what the model should answer, and the weights of the rows, whose mean is 1.

    Targets are classes or tokens (int64), or standardised numbers (float32).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weight: torch.Tensor | None

    @classmethod
    def of(
        cls, data: Dataset, device: str, preprocessing: ValueTablePreprocessing | None = None
    ) -> "TrainingRows":
        """All rows of ``data``, moved once; those of a regression on the scale of ``preprocessing``.

        Raises:
            UsageError: The rows are of a regression and no scale is given.
        """
        weight = None
        if data.sample_weight is not None:
            scaled = data.sample_weight / data.sample_weight.mean()
            weight = torch.from_numpy(scaled.astype(np.float32)).to(device)
        targets = (
            targets_of(data)
            if preprocessing is None or data.outcome is None
            else torch.from_numpy(
                ((data.outcome - preprocessing.mean) / preprocessing.scale).astype(np.float32)
            )
        )
        return cls(data.inputs.to(device), targets.to(device), weight)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: torch.Tensor | slice) -> "TrainingRows":
        """The rows at an index, in that order."""
        weight = None if self.weight is None else self.weight[rows]
        return TrainingRows(self.inputs[rows], self.targets[rows], weight)

    def shuffled(self, size: int, rng: torch.Generator) -> Iterator["TrainingRows"]:
        """Every row once, in a new order, ``size`` at a time."""
        order = torch.randperm(len(self), generator=rng).to(self.targets.device)
        for start in range(0, len(order), size):
            yield self.take(order[start : start + size])

    def parts(self, size: int) -> Iterator["TrainingRows"]:
        """Every row once, in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))
