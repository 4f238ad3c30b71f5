"""Guided backpropagation: a method known to tell little about the model, kept as a control.

Source: Springenberg, Dosovitskiy, Brox and Riedmiller (2015), arXiv:1412.6806; that it shows edges of the
picture whatever the model: Adebayo et al. (2018), arXiv:1810.03292; Nie, Zhang and Patel (2018),
arXiv:1805.07039.
"""

from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.gradient import batchwise, gradients
from auditkit.data.dataset import FloatArray


def has_rectifiers(module: nn.Module) -> bool:
    """Whether there is a layer whose backward pass can be guided; functions called in passing cannot."""
    return any(isinstance(layer, nn.ReLU) for layer in module.modules())


def guided_saliency(rows: ExplainedRows, _draw: int) -> FloatArray:
    """Absolute guided gradients, shape ``(n, m)``; hooks are gone afterwards, also when it raises."""
    with ExitStack() as hooks:
        for layer in rows.subject.module.modules():
            if isinstance(layer, nn.ReLU):
                hooks.callback(layer.register_forward_hook(_guide).remove)
        return batchwise(rows, lambda inputs, target: gradients(rows, inputs, target).abs())


def _guide(_layer: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> None:
    """Lets only positive gradients enter the rectifier from behind."""
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient.clamp(min=0))  # type: ignore[no-untyped-call]
