"""Clipped sums from the gradients of single rows that Opacus' hooks give, for what Opacus gets right.

Its recurrent layers and attention take the place of those of torch, with the same weights.
"""

import copy

import torch
from opacus import GradSampleModule
from opacus.layers import DPGRU, DPLSTM, DPRNN
from torch import nn

from auditkit.models.losses import per_row_loss
from tests.privacy.reference import clipped_together

NOT_RIGHT_IN_OPACUS = {
    "embedding": "the padding token gets a gradient",
    "tied embedding": "positions looked up once for all rows, and a table that is used in two places",
    "positions of one dimension": "positions looked up once for all rows",
    "conv1d, circular": "padding is taken for zeros",
    "conv2d, depthwise, reflected": "padding is taken for zeros",
    "attention": "its layer mixes heads up where the batch comes first",
    "attention with its weights": "its layer mixes heads up where the batch comes first",
    "attention across": "its layer mixes heads up where the batch comes first",
    "attention across, other widths": "its layer mixes heads up where the batch comes first",
    "attention with an own key": "its layer mixes heads up where the batch comes first",
    "transformer encoder layer": "its layer mixes heads up where the batch comes first",
    "transformer decoder layer": "causal masks are refused",
    "rnn, relu, steps first": "all layers must have the batch on the same axis",
    "lstm, steps first": "all layers must have the batch on the same axis",
    "bilinear": "layers of two inputs without a rule are refused",
}
"""Examples of ``layers.EXAMPLES`` that Opacus 1.6 refuses or gives other gradients for than autograd."""

_RECURRENT = {nn.RNN: DPRNN, nn.GRU: DPGRU, nn.LSTM: DPLSTM}


def clipped_sum_of_hooks(
    module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float
) -> list[torch.Tensor]:
    """Opacus' gradients of single rows, clipped and added up in double precision."""
    wrapped = GradSampleModule(_replaced(module), loss_reduction="sum")
    per_row_loss(wrapped(inputs), targets).sum().backward()
    theirs = dict(wrapped._module.named_parameters())
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    return clipped_together([theirs[name].grad_sample for name in names], max_grad_norm)


def _replaced(module: nn.Module) -> nn.Module:
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        if hasattr(parent, "inplace"):
            parent.inplace = False
        for name, layer in list(parent.named_children()):
            if type(layer) in _RECURRENT:
                setattr(parent, name, _recurrent(layer))
    return module


def _recurrent(layer: nn.RNNBase) -> nn.Module:
    replaced = _RECURRENT[type(layer)](
        layer.input_size,
        layer.hidden_size,
        num_layers=layer.num_layers,
        bias=layer.bias,
        batch_first=layer.batch_first,
        bidirectional=layer.bidirectional,
    )
    replaced.load_state_dict(layer.state_dict())
    return replaced
