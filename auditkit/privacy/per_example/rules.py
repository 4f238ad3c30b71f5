"""One rule per function of parameters: from what went in and the gradient of what came out to the parts.

A rule calls the function and notes the call. Rows are the first dimension. Rules follow the functions rather
than the layers: what a model does with a parameter counts, not which class holds it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.models.standardised import standardised_weight
from auditkit.privacy.per_example.attention import attention
from auditkit.privacy.per_example.linear import linear
from auditkit.privacy.per_example.notes import NoRuleError, Notes, Parts
from auditkit.privacy.per_example.parts import Formed, Lookups, Products
from auditkit.privacy.per_example.patches import convolution, transposed_convolution
from auditkit.privacy.per_example.recurrent import gru, lstm, rnn_relu, rnn_tanh
from auditkit.privacy.per_example.standardised import standardised

Rule = Callable[..., Any]
"""Called with the notes and with the arguments of the function it is for."""


def product(notes: Notes, input: Tensor, other: Tensor) -> Tensor:
    """``torch.matmul`` of rows with a matrix: a linear layer whose weight lies the other way round."""
    if notes.watches(input) or other.ndim != 2 or input.ndim < 2:
        raise NoRuleError("matmul that is not of rows with a matrix")
    output = torch.matmul(input, other)
    notes.expect_rows(len(input), other)
    inputs = input.detach()

    def parts_of(gradient: Tensor) -> Parts:
        return [(other, Products(notes.positions(gradient), notes.positions(inputs), other.shape))]

    return notes.note(output, other, parts_of, inputs)


def embedding(
    notes: Notes,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """``embedding``; the padding entry gets no gradient. One row of ids is read as that of every row."""
    if max_norm is not None or scale_grad_by_freq:
        raise NoRuleError("embedding with max_norm or scale_grad_by_freq")
    if input.ndim > 1 and len(input) == 1:
        input = input.expand(notes.n_rows, *input.shape[1:])
    if input.ndim == 1 and len(input) != notes.n_rows:
        raise NoRuleError("embedding of ids that are the same for all rows")
    notes.expect_rows(len(input), weight)
    output = functional.embedding(input, weight, padding_idx)
    padding = None if padding_idx is None else padding_idx % len(weight)

    def parts_of(gradient: Tensor) -> Parts:
        outputs = notes.positions(gradient).values
        ids = input.reshape(outputs.shape[:2])
        if padding is not None:
            outputs = outputs * (ids != padding).unsqueeze(2)
        return [(weight, Lookups(ids, outputs, len(weight)))]

    return notes.note(output, weight, parts_of, input)


def layer_norm(
    notes: Notes,
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``layer_norm``: the normalised inputs times the gradients, summed over positions."""
    output = functional.layer_norm(input, normalized_shape, weight, bias, eps)
    normal = partial(functional.layer_norm, normalized_shape=normalized_shape, eps=eps)
    return _normalised(notes, input, output, (weight, bias), normal, len(normalized_shape))


def rms_norm(
    notes: Notes,
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """``rms_norm``: as layer norm, without a shift."""
    output = functional.rms_norm(input, normalized_shape, weight, eps)
    normal = partial(functional.rms_norm, normalized_shape=normalized_shape, eps=eps)
    return _normalised(notes, input, output, (weight, None), normal, len(normalized_shape))


def group_norm(
    notes: Notes,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``group_norm``: as layer norm, with one scale per channel."""
    output = functional.group_norm(input, num_groups, weight, bias, eps)
    normal = partial(functional.group_norm, num_groups=num_groups, eps=eps)
    return _normalised(notes, input, output, (weight, bias), normal, None)


def instance_norm(
    notes: Notes,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``instance_norm`` by the statistics of the row itself."""
    if running_mean is not None or not use_input_stats:
        raise NoRuleError("instance_norm with running statistics")
    output = functional.instance_norm(input, weight=weight, bias=bias, eps=eps)
    return _normalised(notes, input, output, (weight, bias), partial(functional.instance_norm, eps=eps), None)


def prelu(notes: Notes, input: Tensor, weight: Tensor) -> Tensor:
    """``prelu``, with one slope or one per channel."""
    output = torch.prelu(input, weight)
    notes.expect_rows(len(input), weight)
    inputs = input.detach()

    def parts_of(gradient: Tensor) -> Parts:
        values = gradient * inputs.clamp(max=0)
        kept = 2 if weight.numel() > 1 else 1
        summed = values.flatten(kept).sum(dim=kept) if values.ndim > kept else values
        return [(weight, Formed(notes.per_unit(summed.reshape(len(values), *weight.shape))))]

    return notes.note(output, weight, parts_of, inputs)


def _normalised(
    notes: Notes,
    input: Tensor,
    output: Tensor,
    scale_and_shift: tuple[Tensor | None, Tensor | None],
    normal: Callable[[Tensor], Tensor],
    n_last: int | None,
) -> Tensor:
    """A norm layer; its parameters have the last ``n_last`` dimensions, or with ``None`` the second."""
    weight, bias = scale_and_shift
    parameter = weight if notes.watches(weight) else bias
    notes.expect_rows(len(input), parameter)
    inputs = input.detach()

    def summed(values: Tensor, shape: torch.Size) -> Formed:
        if n_last is None:
            values = values.flatten(2).sum(dim=2) if values.ndim > 2 else values
            return Formed(notes.per_unit(values))
        positions = notes.positions(values.flatten(-n_last))
        return Formed(positions.summed.view(-1, *shape))

    def parts_of(gradient: Tensor) -> Parts:
        parts: Parts = []
        if weight is not None and notes.watches(weight):
            parts.append((weight, summed(normal(inputs) * gradient, weight.shape)))
        if bias is not None and notes.watches(bias):
            parts.append((bias, summed(gradient, bias.shape)))
        return parts

    if parameter is not None:
        return notes.note(output, parameter, parts_of, inputs)
    return output


RULES: dict[Any, Rule] = {
    functional.linear: linear,
    torch.matmul: product,
    Tensor.matmul: product,
    Tensor.__matmul__: product,
    functional.embedding: embedding,
    torch.conv1d: partial(convolution, torch.conv1d),
    torch.conv2d: partial(convolution, torch.conv2d),
    torch.conv3d: partial(convolution, torch.conv3d),
    torch.conv_transpose1d: partial(transposed_convolution, torch.conv_transpose1d),
    torch.conv_transpose2d: partial(transposed_convolution, torch.conv_transpose2d),
    torch.conv_transpose3d: partial(transposed_convolution, torch.conv_transpose3d),
    functional.layer_norm: layer_norm,
    functional.rms_norm: rms_norm,
    functional.group_norm: group_norm,
    functional.instance_norm: instance_norm,
    torch.prelu: prelu,
    standardised_weight: standardised,
    functional.multi_head_attention_forward: attention,
    torch.lstm: lstm,
    torch.gru: gru,
    torch.rnn_tanh: rnn_tanh,
    torch.rnn_relu: rnn_relu,
}
