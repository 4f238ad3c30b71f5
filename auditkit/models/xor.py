"""The documents' first network: 2-2-1 with sigmoid units, which computes exclusive or.

Its training is known to get stuck where only some corners of the square are right: from torch's usual initial
values about two trainings in five did. Here the two hidden units start along one random direction with
thresholds on either side of the origin, and the output weighs them with opposite signs: their sum is a ridge
across the square, the shape that exclusive or has. The direction and the sign remain random.

Source: Rumelhart, Hinton and Williams (1986), Learning Internal Representations by Error Propagation,
Parallel Distributed Processing 1, chapter 8 (network and its traps). :mod:`auditkit.models.xor_numpy` is the
same network in NumPy.
"""

import math
from collections import OrderedDict

import torch
from pydantic import Field
from torch import nn

from auditkit.models.architecture import ArchitectureKind, Units, VectorParameters


class XorParameters(VectorParameters):
    """One hidden layer of sigmoid units; two classes."""

    n_classes: int | None = Field(None, ge=2, le=2)
    hidden: Units = 2


def _build(parameters: XorParameters) -> nn.Module:
    """Rows ``(n, n_inputs)`` in, the logit of the second class ``(n, 1)`` out."""
    hidden = nn.Linear(int(parameters.n_inputs or 0), parameters.hidden)
    output = nn.Linear(parameters.hidden, 1)
    _initialise(hidden, output)
    return nn.Sequential(
        OrderedDict(flatten=nn.Flatten(), hidden=hidden, sigmoid=nn.Sigmoid(), output=output)
    )


@torch.no_grad()
def _initialise(hidden: nn.Linear, output: nn.Linear) -> None:
    """One direction for all hidden units, thresholds from -1 to 1, alternating signs at the output."""
    units, n_inputs = hidden.weight.shape
    direction = torch.empty(n_inputs).uniform_(-1, 1) / math.sqrt(n_inputs)
    sign = torch.empty(1).uniform_(-1, 1).sign()
    alternating = torch.tensor([-1.0, 1.0]).repeat(-(-units // 2))[:units]
    hidden.weight.copy_(direction.expand(units, n_inputs))
    hidden.bias.copy_(torch.linspace(-1, 1, units))
    output.weight.copy_((sign * alternating).unsqueeze(0))
    output.bias.zero_()


XOR = ArchitectureKind(XorParameters, _build)
