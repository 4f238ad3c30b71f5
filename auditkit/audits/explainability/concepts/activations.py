"""Activations of rows at one place, and the gradient of a class score by them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.concepts.layers import Place, tapped
from auditkit.audits.explainability.explained_rows import differentiable_kernels
from auditkit.data.dataset import FloatArray
from auditkit.subjects.subject import WhiteBox

Positions = Literal["mean", "flat"]

FEWEST_ROWS = 16
"""A short last batch is filled up: products of matrices with few rows end in other last digits."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How activations are read.

    Attributes:
        subject: Left as it was.
        place: Where.
        positions: Whether positions of a picture or text are averaged or laid side by side.
        padding: The token that stands for nothing, where rows are of tokens.
        batch_size: Most rows at once.
    """

    subject: WhiteBox
    place: Place
    positions: Positions
    padding: int | None
    batch_size: int

    def activations(self, inputs: Tensor) -> FloatArray:
        """Shape ``(n, d)``, float64."""

        def read(batch: Tensor, _start: int) -> Tensor:
            with torch.no_grad(), tapped(self.place, with_gradient=False) as tap:
                self.subject.logits(batch)
            return self._columns(_passed(tap.values), batch, mean=True)

        return self._all(inputs, read)

    def gradients(
        self, inputs: Tensor, target: Tensor, score: Callable[[Tensor, Tensor], Tensor]
    ) -> FloatArray:
        """Gradient of ``score(inputs, target)`` by the activations, shape ``(n, d)``, float64.

        By the mean over positions: how the score changes when all positions change alike.
        """

        def read(batch: Tensor, start: int) -> Tensor:
            wanted = target[start : start + self.batch_size].to(batch.device)
            wanted = torch.cat([wanted, wanted[-1:].expand(len(batch) - len(wanted))])
            with torch.enable_grad(), tapped(self.place, with_gradient=True) as tap:
                total = score(batch, wanted).sum()
            values = _passed(tap.values)
            found = torch.autograd.grad(total, values, allow_unused=True)[0] if total.requires_grad else None
            slope = torch.zeros_like(values) if found is None else found
            return self._columns(slope.detach(), batch, mean=False)

        with differentiable_kernels(self.subject):
            return self._all(inputs, read)

    def has_positions(self, probe: Tensor) -> bool:
        """Whether activations of a row lie at several positions."""
        with torch.no_grad(), tapped(self.place, with_gradient=False) as tap:
            self.subject.logits(probe)
        return _passed(tap.values).ndim > 2

    def _all(self, inputs: Tensor, read: Callable[[Tensor, int], Tensor]) -> FloatArray:
        parts = []
        for start in range(0, len(inputs), self.batch_size):
            rows = inputs[start : start + self.batch_size].to(self.subject.device)
            absent = min(self.batch_size, FEWEST_ROWS) - len(rows)
            batch = rows if absent <= 0 else torch.cat([rows, rows[-1:].expand(absent, *rows.shape[1:])])
            parts.append(read(batch, start)[: len(rows)].double().cpu())
        return np.asarray(torch.cat(parts).numpy())

    def _columns(self, values: Tensor, batch: Tensor, *, mean: bool) -> Tensor:
        """One vector per row: positions averaged (or, of gradients, summed), or everything side by side."""
        if values.ndim < 3 or self.positions == "flat":
            return values.reshape(len(values), -1)
        if values.ndim == 3 and not self.place.channels_first:
            values = values.transpose(1, 2)
        flat = values.flatten(start_dim=2).double()
        real = self._real(flat, batch)
        summed = (flat * real).sum(dim=2)
        return summed / real.sum(dim=2).clamp(min=1) if mean else summed

    def _real(self, flat: Tensor, batch: Tensor) -> Tensor:
        """1 at positions that hold something, shape ``(n, 1, positions)``."""
        length = flat.shape[2]
        if self.padding is None or batch.ndim != 2 or length > batch.shape[1]:
            return torch.ones_like(flat[:, :1])
        return (batch[:, None, :length] != self.padding).to(flat.dtype)


def _passed(values: Tensor | None) -> Tensor:
    if values is None:
        raise RuntimeError("the layer was not called, though it was when it was chosen")
    return values
