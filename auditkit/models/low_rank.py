"""A frozen linear layer and a thin product beside it, which alone is trained.

Source: Hu et al. (2021), arXiv:2106.09685, section 4.1: ``W x + (alpha / r) B A x``, ``B`` zero at the start.
Under privacy the few weights of ``A`` and ``B`` are clipped and drowned far less than ``W`` (Yu et al. 2022,
arXiv:2110.06500).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_QUERY = ("query", "q_lin", "q_proj", "query_proj")
_VALUE = ("value", "v_lin", "v_proj", "value_proj")
_FUSED = ("c_attn",)
"""Query, key and value in one layer, in this order; models of the GPT-2 kind."""


class LowRank(nn.Module):
    """A layer that stays as it is, plus ``alpha / rank`` times a product of rank ``rank`` for parts of it.

    At the start it answers as the layer alone does, to the last bit but for the sign of zeros.

    Args:
        layer: From ``(..., n_inputs)`` to ``(..., n_outputs)``; frozen here.
        n_inputs: Width of what it reads.
        n_outputs: Width of what it gives, divisible by the number of ``parts``.
        parts: Which of as many equal parts of the outputs get a product of their own.
        rank: Columns of each ``B``.
        alpha: Scale of the products.
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        n_inputs: int,
        n_outputs: int,
        parts: tuple[bool, ...] = (True,),
        rank: int,
        alpha: float,
    ) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.parts = parts
        self.scale = alpha / rank
        self.down = nn.ModuleList(nn.Linear(n_inputs, rank, bias=False) for part in parts if part)
        self.up = nn.ModuleList(
            nn.Linear(rank, n_outputs // len(parts), bias=False) for part in parts if part
        )
        for one in self.up:
            nn.init.zeros_(one.get_parameter("weight"))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """``(..., n_inputs)`` to ``(..., n_outputs)``."""
        given: torch.Tensor = self.layer(rows)
        return given + self.scale * torch.cat(self._changes(rows), dim=-1)

    def _changes(self, rows: torch.Tensor) -> list[torch.Tensor]:
        found = [up(down(rows)) for down, up in zip(self.down, self.up, strict=True)]
        still = torch.zeros_like(found[0])
        changes = iter(found)
        return [next(changes) if part else still for part in self.parts]


@dataclass(frozen=True, slots=True)
class _Projection:
    """A layer of attention that gives queries or values, where it hangs, and which parts of it those are."""

    owner: nn.Module
    name: str
    layer: Any
    parts: tuple[bool, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of inputs and outputs; layers of the GPT-2 kind hold their weight the other way round."""
        one, other = self.layer.weight.shape
        return (other, one) if isinstance(self.layer, nn.Linear) else (one, other)


def add_low_rank(model: nn.Module, *, rank: int, alpha: float) -> int:
    """Freeze a model of transformers and put a product beside every query and value projection, in place.

    Returns:
        How many layers got one; 0 where the model names them in a way that is not known here.
    """
    model.requires_grad_(requires_grad=False)
    found = list(_projections(model))
    for one in found:
        n_inputs, n_outputs = one.sizes
        beside = LowRank(
            one.layer, n_inputs=n_inputs, n_outputs=n_outputs, parts=one.parts, rank=rank, alpha=alpha
        )
        setattr(one.owner, one.name, beside)
    return len(found)


def _projections(model: nn.Module) -> Iterator[_Projection]:
    for owner in model.modules():
        for name, layer in owner.named_children():
            if name in (*_QUERY, *_VALUE) and isinstance(layer, nn.Linear):
                yield _Projection(owner, name, layer, (True,))
            elif name in _FUSED and layer.get_parameter("weight").ndim == 2:
                yield _Projection(owner, name, layer, (True, False, True))
