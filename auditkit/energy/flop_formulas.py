"""FLOPs of the operations that torch's own registry leaves out, and the list of those that need none.

One multiplication with its addition counts as two; biases, activations, norms and softmax count as none,
as in torch's registry. Arguments are those of the operation, as the dispatcher sees them.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

FlopFormula = Callable[..., int]


def _matrix_vector(matrix: Tensor, _vector: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _add_matrix_vector(_bias: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _dot(first: Tensor, *_: Any, **__: Any) -> int:
    return 2 * first.numel()


def _outer(_bias: Tensor, first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    return 2 * first.numel() * second.numel()


def _add_batched(_bias: Tensor, first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    return 2 * first.numel() * second.shape[-1]


def _int_matrix(first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    return 2 * first.numel() * second.shape[-1]


def _packed_linear(inputs: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    return 2 * inputs.numel() * out_val.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Scores and weighted sum, each a batched matrix product; a causal mask is counted in full."""
    *batch, n_queries, width = query.shape
    return 2 * math.prod(batch) * n_queries * key.shape[-2] * (width + value.shape[-1])


def _rnn_layer(inputs: Tensor, input_weight: Tensor, hidden_weight: Tensor, *_: Any, **__: Any) -> int:
    """Every weight of the layer is used once per time step and row."""
    return 2 * math.prod(inputs.shape[:-1]) * (input_weight.numel() + hidden_weight.numel())


def _cudnn_rnn(inputs: Tensor, weights: list[Tensor], *_: Any, **__: Any) -> int:
    matrices = sum(weight.numel() for weight in weights if weight.ndim == 2)
    return 2 * math.prod(inputs.shape[:-1]) * matrices


def _multi_head(
    query: Tensor, key: Tensor, value: Tensor, width: int, _heads: int, *rest: Tensor, **_: Any
) -> int:
    """Projections of queries, keys, values and output, and the attention between."""
    batch, n_queries, n_keys = query.shape[0], query.shape[1], key.shape[1]
    projected = width * width * (2 * n_queries + 2 * n_keys)
    return 2 * batch * (projected + 2 * n_queries * n_keys * width)


def _encoder_layer(inputs: Tensor, width: int, _heads: int, *rest: Any, **_: Any) -> int:
    """The fused layer: all weight matrices once per token, and self-attention."""
    batch, n_tokens = inputs.shape[:2]
    matrices = sum(weight.numel() for weight in rest if isinstance(weight, Tensor) and weight.ndim == 2)
    return 2 * batch * (n_tokens * matrices + 2 * n_tokens * n_tokens * width)


OWN_FORMULAS: Final[Mapping[str, FlopFormula]] = MappingProxyType(
    {
        "aten::mv": _matrix_vector,
        "aten::addmv": _add_matrix_vector,
        "aten::dot": _dot,
        "aten::vdot": _dot,
        "aten::addr": _outer,
        "aten::addbmm": _add_batched,
        "aten::_int_mm": _int_matrix,
        "aten::_weight_int8pack_mm": _packed_linear,
        "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
        "aten::mkldnn_rnn_layer": _rnn_layer,
        "aten::_cudnn_rnn": _cudnn_rnn,
        "aten::_native_multi_head_attention": _multi_head,
        "aten::_transformer_encoder_layer_fwd": _encoder_layer,
        "aten::mkldnn_linear": _packed_linear,
        "quantized::linear": _packed_linear,
        "quantized::linear_relu": _packed_linear,
        "quantized::linear_dynamic": _packed_linear,
        "quantized::linear_relu_dynamic": _packed_linear,
    }
)
"""By name of the operation; called with its arguments and the keyword ``out_val``."""


@cache
def matmul_free() -> frozenset[str]:
    """Operations of torch whose work grows with their elements only: data movement, pooling, norms, sums."""
    return frozenset(files("auditkit.energy").joinpath("matmul_free.txt").read_text(encoding="utf-8").split())


def needs_formula(operation: torch._ops.OpOverload) -> bool:
    """Whether an operation could hide products of matrices. Whatever is not known to be harmless could.

    Tags are trusted for torch's own operations only; anybody can tag a custom one.
    """
    namespace, _, name = operation._schema.name.partition("::")
    if namespace == "prim":
        return False
    if namespace != "aten":
        return True
    harmless = {torch.Tag.pointwise, torch.Tag.view_copy}
    return not (operation.is_view or harmless & set(operation.tags) or name.rstrip("_") in matmul_free())
