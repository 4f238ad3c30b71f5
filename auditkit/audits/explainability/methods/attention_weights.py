"""What each place attended to, caught as a model computes it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auditkit.audits.explainability.methods.call_rules import Call
from auditkit.audits.explainability.methods.watched_calls import Watch

_QUERY, _KEY, _MASK, _CAUSAL, _SCALE = 0, 1, 3, 5, 6
_HEADS_APART, _PLACES_FIRST = 4, 3


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer of attention.

    Attributes:
        weights: Mean over heads, shape ``(n, queries, keys)``; rows sum to one.
        mixed: What the layer gave, or its weights, with a gradient.
        place_axis: The axis of ``mixed`` that counts places; the first of the others counts rows.
    """

    weights: Tensor
    mixed: Tensor
    place_axis: int

    def read(self, scores: Tensor) -> Tensor:
        """Places whose output the scores depend on, shape ``(n, queries)``."""
        (found,) = torch.autograd.grad(scores.sum(), self.mixed, allow_unused=True, retain_graph=True)
        if found is None:
            return self.weights.new_zeros(self.weights.shape[:2], dtype=torch.bool)
        by_place = found.movedim(self.place_axis, 1) if self.place_axis else found.movedim(0, 1)
        return (by_place != 0).flatten(2).any(dim=2)


class AttentionWatch(Watch):
    """Keeps the weights of every attention, in the order of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[Attention] = []

    def answer(self, call: Call) -> Any:
        """As torch would, besides the weights that layers of torch leave out when nobody asks."""
        if call.name == "scaled_dot_product_attention":
            return self._scaled_dot_product(call)
        if call.name == "multi_head_attention_forward":
            return self._of_heads(call)
        return self._written_out(call) if call.name == "softmax" else call.made()

    def _written_out(self, call: Call) -> Any:
        """Attention that a model computes itself: a softmax over the places that each place looks at."""
        weights = call.made()
        if weights.ndim == _HEADS_APART and weights.shape[2] == weights.shape[3] and _over_keys(call):
            self.layers.append(Attention(weights.detach().mean(dim=1), weights, 2))
        return weights

    def _scaled_dot_product(self, call: Call) -> Any:
        mixed = call.made()
        if mixed.ndim == _HEADS_APART:
            weights = _scaled_dot_product_weights(call)
            self.layers.append(Attention(weights.mean(dim=1), mixed, 2))
        return mixed

    def _of_heads(self, call: Call) -> Any:
        asked = Call(
            call.function,
            call.arguments,
            {**call.keywords, "need_weights": True, "average_attn_weights": True},
        )
        mixed, weights = asked.made()
        if mixed.ndim == _PLACES_FIRST:
            self.layers.append(Attention(weights.detach(), mixed, 0))
        return mixed, weights


def _over_keys(call: Call) -> bool:
    return call.given(1, "dim") in {-1, _HEADS_APART - 1}


def _scaled_dot_product_weights(call: Call) -> Tensor:
    """Of each head, shape ``(n, heads, queries, keys)``, from the documented formula of the call."""
    query, key = call.given(_QUERY, "query").detach(), call.given(_KEY, "key").detach()
    scale, mask = call.given(_SCALE, "scale"), call.given(_MASK, "attn_mask")
    if key.shape[1] != query.shape[1]:  # fewer keys, each for a group of heads
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    raw = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if call.given(_CAUSAL, "is_causal"):
        later = torch.ones(raw.shape[-2:], dtype=torch.bool, device=raw.device).triu(1)
        raw = raw.masked_fill(later, -torch.inf)
    if mask is not None:
        raw = raw.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else raw + mask.detach()
    return torch.softmax(raw, dim=-1)
