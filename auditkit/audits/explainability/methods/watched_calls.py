"""Sees every call of torch that a model makes on what depends on its inputs, and can answer it otherwise.

A model is asked as it is: no module is changed, copied or traced, and functional calls are seen as well as
those of layers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from auditkit.audits.explainability.explained_rows import ExplainedRows, differentiable_kernels
from auditkit.audits.explainability.methods.call_rules import Call
from auditkit.errors import AuditkitError
from auditkit.records import Message

PROBED = 4
"""Rows with which a model is asked whether a method can be used."""


class NoRuleError(AuditkitError):
    """A method met a call for which it has no rule.

    Attributes:
        reason: For the reader.
    """

    def __init__(self, reason: Message) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Watch(TorchFunctionMode):
    """Within the block every call on tensors with a gradient is answered by :meth:`answer`."""

    def answer(self, call: Call) -> Any:
        """What the model gets; by default what torch would give."""
        return call.made()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Of torch's protocol; the mode is off while a call is answered."""
        call = Call(func, args, kwargs or {})
        return self.answer(call) if call.carriers else call.made()


@contextmanager
def fixed_parameters(module: nn.Module) -> Iterator[None]:
    """Within the block no parameter has a gradient, so that those tensors have one that depend on inputs."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Within the block every layer is in evaluation mode; afterwards each as it was."""
    training = [layer for layer in module.modules() if layer.training]
    try:
        for layer in training:
            layer.training = False
        yield
    finally:
        for layer in training:
            layer.training = True


@contextmanager
def layers_named(module: nn.Module) -> Iterator[list[tuple[str, str]]]:
    """Within the block the list holds name and type of the layers that are being computed, innermost last."""
    open_layers: list[tuple[str, str]] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda layer, _arguments: open_layers.append((name, type(layer).__name__))

    def leave(_layer: nn.Module, _arguments: Any, _output: Any) -> None:
        open_layers.pop()

    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if not isinstance(layer, torch.jit.ScriptModule):
                hooks.callback(layer.register_forward_pre_hook(enter(name)).remove)
                hooks.callback(layer.register_forward_hook(leave).remove)
        yield open_layers


def watched_scores(
    rows: ExplainedRows, inputs: Tensor, target: Tensor, watch: Watch
) -> tuple[Tensor, Tensor]:
    """Scores of shape ``(b,)`` and the inputs that they have gradients to, as seen by ``watch``."""
    with fixed_parameters(rows.white_box.module), torch.enable_grad(), differentiable_kernels(rows.white_box):
        at = inputs.detach().clone().requires_grad_(True)
        with watch:
            return rows.score(at, target), at


def unseen_layer(rows: ExplainedRows) -> Message | None:
    """A layer whose calls cannot be seen, because they are made outside Python."""
    for name, layer in rows.white_box.module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            return Message(
                text="layer “{layer}” is TorchScript, whose calls cannot be seen",
                values={"layer": name or type(rows.white_box.module).__name__},
            )
    return None


def own_function(outputs: Tensor, known: Sequence[type]) -> str | None:
    """The name of a backward rule that the model brings with it and that is none of ``known``."""
    names = {f"{kind.__name__}Backward" for kind in known}
    seen, waiting = set(), [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction) and node.name() not in names:
            return str(node.name()).removesuffix("Backward")
        waiting.extend(parent for parent, _ in node.next_functions)
    return None
