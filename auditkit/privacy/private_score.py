"""How well a model answers the private rows, as one number with noise.

A unit, a row or a person with all their rows, adds the share of its right answers, from 0 to 1: with one unit
more or fewer the sum moves by 1 at most, so that noise of deviation sigma makes it a Gaussian mechanism with
noise multiplier sigma (Dwork and Roth 2014, appendix A).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.data.sequences import NOT_COUNTED, targets_of
from auditkit.models.losses import class_logits
from auditkit.privacy.draws import Draws
from auditkit.privacy.units import PersonRows

ROWS_AT_ONCE = 256


def noisy_score(
    module: nn.Module, data: Dataset, persons: PersonRows | None, *, noise: float, draws: Draws
) -> float:
    """The sum over units of their shares of right answers, plus noise.

    Args:
        module: In evaluation mode.
        data: The private rows.
        persons: Who has which rows; ``None`` where every row is a unit.
        noise: Standard deviation.
        draws: Of the noise, which is put on a grid (see :mod:`draws`).

    Returns:
        In units; about the number of units times the accuracy.
    """
    total = np.array([shares_right(module, data, persons).sum()])
    draws.add_noise(total, noise, 1.0)
    return float(total[0])


def shares_right(module: nn.Module, data: Dataset, persons: PersonRows | None) -> FloatArray:
    """For each unit the share of its answers that are right, in ``[0, 1]``, shape ``(n_units,)``.

    A model of language is right where its likeliest token is the next one; a row's share is over its tokens,
    and a person's the mean over their rows. An answer that is not a number is wrong or right by chance, as
    long as it is one row's alone.
    """
    rows = torch.cat([_rows_right(module, *part) for part in _parts(module, data)]).numpy()
    if persons is None:
        return rows
    return np.asarray(np.add.reduceat(rows[persons.rows], persons.first) / persons.n)


def _parts(module: nn.Module, data: Dataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    device, targets = next(module.parameters()).device, targets_of(data)
    for start in range(0, len(data), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        yield data.inputs[part].to(device), targets[part].to(device)


def _rows_right(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Shape ``(n,)``; a short batch is filled up, so that no answer depends on how many rows there are."""
    missing = ROWS_AT_ONCE - len(inputs)
    with torch.no_grad():
        filled = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])])
        outputs: torch.Tensor = module(filled)[: len(inputs)]
    if targets.ndim == 1:
        return (class_logits(outputs).argmax(dim=1) == targets).double().cpu()
    counted = targets != NOT_COUNTED
    right = ((outputs.argmax(dim=-1) == targets) & counted).sum(dim=1)
    shares: torch.Tensor = right / counted.sum(dim=1).clamp(min=1)
    return shares.double().cpu()
