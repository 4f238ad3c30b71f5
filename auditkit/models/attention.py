"""Self-attention over a row of tokens, and the block of attention and feed-forward built from it.

Source: Vaswani et al. (2017), arXiv:1706.03762, sections 3.2 and 3.3; the order of normalisation after Xiong
et al. (2020), arXiv:2002.04745. Dropout acts on what a sublayer adds (section 5.4 there), not on the
attention weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

Normalisation = Literal["pre", "post"]
"""Whether a layer norm stands before each sublayer or after its residual sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockForm:
    """What the blocks of one model have in common."""

    width: int
    heads: int
    feed_forward: int
    dropout: float
    normalisation: Normalisation
    causal: bool
    activation: Callable[[], nn.Module] = nn.GELU


class SelfAttention(nn.Module):
    """Scaled dot-product attention with several heads over projections of one sequence."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, states: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """States ``(n, length, width)`` to states of the same shape.

        Args:
            states: One vector per position.
            real: Which positions may be looked at, shape ``(n, length)``, one at least per row; ``None`` is
                all of them. Causal attention takes none: padding stands on the right, where it never looks.
        """
        n_rows, length, width = states.shape
        joint = self.query_key_value(states).view(n_rows, length, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if real is None or self.causal else real[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=self.causal
        )
        out: torch.Tensor = self.projection(mixed.transpose(1, 2).reshape(n_rows, length, width))
        return out


class Block(nn.Module):
    """Self-attention, then a feed-forward layer at every position; each adds to what it is given."""

    def __init__(self, form: BlockForm) -> None:
        super().__init__()
        self.normalise_first = form.normalisation == "pre"
        self.attention_norm = nn.LayerNorm(form.width)
        self.attention = SelfAttention(form.width, form.heads, causal=form.causal)
        self.attention_dropout = nn.Dropout(form.dropout)
        self.feed_forward_norm = nn.LayerNorm(form.width)
        self.expansion = nn.Linear(form.width, form.feed_forward)
        self.activation = form.activation()
        self.contraction = nn.Linear(form.feed_forward, form.width)
        self.feed_forward_dropout = nn.Dropout(form.dropout)

    def forward(self, states: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """States ``(n, length, width)`` to states; ``real`` as in :class:`SelfAttention`."""
        if self.normalise_first:
            states = states + self._attended(self.attention_norm(states), real)
            return states + self._fed_forward(self.feed_forward_norm(states))
        states = self.attention_norm(states + self._attended(states, real))
        normalised: torch.Tensor = self.feed_forward_norm(states + self._fed_forward(states))
        return normalised

    def _attended(self, states: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        attended: torch.Tensor = self.attention_dropout(self.attention(states, real))
        return attended

    def _fed_forward(self, states: torch.Tensor) -> torch.Tensor:
        inner = self.activation(self.expansion(states))
        out: torch.Tensor = self.feed_forward_dropout(self.contraction(inner))
        return out


def check_heads(width: int, heads: int) -> None:
    """Refuse a width that the heads cannot share.

    Raises:
        ValueError: With both numbers.
    """
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}; change one of them")
