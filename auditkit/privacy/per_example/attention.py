"""The rule of multi-head attention: its projections are linear layers, the rest has no parameters."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.privacy.per_example.linear import linear, noted_affine
from auditkit.privacy.per_example.notes import NoRuleError, Notes


def attention(
    notes: Notes,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """``multi_head_attention_forward``; steps come first, shape ``(steps, rows, width)``."""
    unusual = bias_k is not None or bias_v is not None or add_zero_attn or query.ndim != 3
    if unusual or any(value is not None for value in others.values()):
        raise NoRuleError("attention with own keys and values, or of a single row")
    rows = tuple(part.transpose(0, 1) for part in (query, key, value))
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    same = query is key and key is value
    projected = _projections(notes, rows, in_proj_weight, in_proj_bias, separate, same=same)
    heads = tuple(part.view(*part.shape[:2], num_heads, -1).transpose(1, 2) for part in projected)
    mask = _mask(attn_mask, key_padding_mask, heads[0], is_causal=is_causal)
    dropout = dropout_p if training else 0.0
    weights = None
    if need_weights:
        mixed, weights = _weighed(heads, mask, dropout)
        weights = weights.mean(dim=1) if average_attn_weights else weights
    else:
        mixed = functional.scaled_dot_product_attention(
            heads[0], heads[1], heads[2], attn_mask=mask, dropout_p=dropout
        )
    joined = mixed.transpose(1, 2).flatten(2)
    output = _linear(notes, joined, out_proj_weight, out_proj_bias)
    return output.transpose(0, 1), weights


def _projections(
    notes: Notes,
    rows: tuple[Tensor, ...],
    weight: Tensor | None,
    bias: Tensor | None,
    separate: tuple[Tensor | None, ...] | None,
    *,
    same: bool,
) -> tuple[Tensor, ...]:
    """Queries, keys and values; each of shape ``(rows, steps, width)``."""
    if separate is None and same and weight is not None:
        return _linear(notes, rows[0], weight, bias).chunk(3, dim=2)
    width = rows[0].shape[2]
    found = []
    for index, part in enumerate(rows):
        piece = (index * width, (index + 1) * width)
        piece_bias = None if bias is None else bias[slice(*piece)]
        own = None if separate is None else separate[index]
        if own is not None:
            output = functional.linear(part, own, piece_bias)
            if notes.watches(own):
                output = noted_affine(notes, part, output, (own, None))
            if bias is not None and notes.watches(bias):
                output = _noted_bias(notes, part, output, bias, piece)
        elif weight is not None:
            output = functional.linear(part, weight[slice(*piece)], piece_bias)
            if notes.watches(weight) or notes.watches(bias):
                output = noted_affine(notes, part, output, (weight, bias), piece)
        else:
            raise NoRuleError("attention without weights")
        found.append(output)
    return tuple(found)


def _noted_bias(notes: Notes, part: Tensor, output: Tensor, bias: Tensor, piece: tuple[int, int]) -> Tensor:
    """Only the bias: the weight that goes with it lies in another parameter."""
    unwatched = torch.empty(0, device=part.device)
    return noted_affine(notes, part, output, (unwatched, bias), piece)


def _linear(notes: Notes, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if notes.watches(weight) or notes.watches(bias):
        return linear(notes, rows, weight, bias)
    return functional.linear(rows, weight, bias)


def _weighed(heads: tuple[Tensor, ...], mask: Tensor | None, dropout: float) -> tuple[Tensor, Tensor]:
    """Attention with its weights in sight."""
    queries, keys, values = heads
    scores = queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5
    weights = torch.softmax(scores if mask is None else scores + mask, dim=3)
    weights = functional.dropout(weights, dropout) if dropout else weights
    return weights @ values, weights


def _mask(
    attention_mask: Tensor | None, padding: Tensor | None, queries: Tensor, *, is_causal: bool
) -> Tensor | None:
    """What is added to the scores, in a shape that fits ``(rows, heads, steps, steps)``."""
    n_rows, n_heads = queries.shape[:2]
    if is_causal and attention_mask is None:
        raise NoRuleError("causal attention without a mask")
    total = None
    if attention_mask is not None:
        total = _additive(attention_mask, queries)
        if total.ndim == 3:
            total = total.view(n_rows, n_heads, *total.shape[1:])
    if padding is not None:
        own = _additive(padding, queries)[:, None, None, :]
        total = own if total is None else total + own
    return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))
