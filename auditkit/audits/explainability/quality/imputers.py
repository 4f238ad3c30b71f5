"""What stands in place of units that are taken away: two answers, because each is off the data in its way.

Source: Hooker, Erhan, Kindermans and Kim (2019), arXiv:1806.10758, on inputs unlike those of the training.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.explained_rows import ExplainedRows

BLUR = 1 / 8
"""Standard deviation of the blur as a share of the longer side: it takes away strokes and leaves shades."""

REACH = 2
"""Standard deviations up to which the blur looks."""


@dataclass(frozen=True, slots=True)
class Imputer:
    """Values for every unit of every row.

    Attributes:
        name: Of the figure's group.
        instead: Shape ``(n, *d)``, or ``(1, *d)`` where they are the same for all rows.
    """

    name: str
    instead: Tensor

    def of(self, row: Tensor) -> Tensor:
        """Values for some rows, shape ``(b, *d)`` or ``(1, *d)``."""
        return self.instead if len(self.instead) == 1 else self.instead[row]


def imputers(
    rows: ExplainedRows, image_shape: tuple[int, int] | None, rng: np.random.Generator
) -> tuple[Imputer, ...]:
    """The baseline, and a blurred copy of a picture or else the values of another row.

    A single row that is no picture has no other row to draw from: it gets the baseline alone.
    """
    baseline = Imputer("baseline", rows.baseline)
    if image_shape is not None:
        return (baseline, Imputer("blur", blurred(rows.inputs, image_shape)))
    n = len(rows.inputs)
    if n < 2:
        return (baseline,)
    order = rng.permutation(n)
    donor = np.empty(n, dtype=np.int64)
    donor[order] = np.roll(order, 1)
    return (baseline, Imputer("marginal", rows.inputs[torch.from_numpy(donor).to(rows.inputs.device)]))


def blurred(inputs: Tensor, image_shape: tuple[int, int]) -> Tensor:
    """Pictures under a Gaussian blur, same shape; borders are continued."""
    height, width = image_shape
    sigma = max(1.0, BLUR * max(height, width))
    reach = math.ceil(REACH * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=inputs.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(inputs.dtype)
    pictures = inputs.reshape(-1, 1, height, width)
    padded = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    across = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(across, kernel.view(1, 1, -1, 1)).view_as(inputs)
