"""The variant that low-precision integers give, simulated in floating point on any device.

Every weight and activation takes only values that an integer kernel could hold. Accuracy, fairness and
robustness of the quantised model can be audited so; its speed cannot.

Source: Jacob et al. (2018), arXiv:1712.05877.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from auditkit.errors import UsageError
from auditkit.models.standardised import fold
from auditkit.records import Message
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.integer_grid import ROUNDING, RoundsInputs, fake_quantise_weight
from auditkit.variants.variant import Variant, VariantContext, VariantInfo

SCALE_B = 4
"""Bytes of a stored scale (float32)."""

WEIGHTS_AND_ACTIVATIONS = (
    "Weights and activations rounded to {bits}-bit integers ({n_quantised} of {n_parameters} parameters), "
    "simulated: predictions are those of an integer kernel, speed and energy are not."
)
WEIGHTS_ONLY = (
    "Weights rounded to {bits}-bit integers ({n_quantised} of {n_parameters} parameters), simulated: "
    "predictions are those of such weights, speed and energy are not."
)


class Quantise(Variant):
    """Weights and activations of linear, convolution and embedding layers on ``bits``-bit grids.

    Weights are symmetric with one scale per output channel. Activations are asymmetric with a range found
    for every row on its own (every position of a sequence), so that what else is in a batch changes nothing.
    Recurrent and attention layers, whose fused kernels cannot be reached between their steps, have their
    weights quantised only.
    """

    info: ClassVar[VariantInfo] = VariantInfo(
        kind="quantise",
        version=1,
        summary="Weights and activations as 4- to 8-bit integers, simulated",
        requires=frozenset({"layers"}),
    )

    bits: int = Field(8, ge=4, le=8, description="Bits per weight and activation")
    activations: bool = Field(True, description="Quantise activations too, not the weights only")

    def derive(self, baseline: Subject, context: VariantContext) -> TorchSubject:
        """The quantised subject; ``size_b`` is what integers, scales and remaining floats take.

        Standardised weights are written out first: what is rounded is what rows are multiplied by.

        Raises:
            UsageError: The baseline is not a torch model, or none of its layers can be quantised.
        """
        if not isinstance(baseline, TorchSubject):
            raise UsageError(
                f"quantise: {baseline.card.title!r} has no weights to quantise; expected a torch model."
            )
        module = baseline.copy_module()
        fold(module)
        outcome = quantise_module(module, bits=self.bits, activations=self.activations)
        if not outcome.n_quantised:
            raise UsageError(
                f"quantise: {baseline.card.title!r} has no linear, convolution, embedding or recurrent "
                f"layer; its {outcome.n_parameters} parameters would all stay in floating point."
            )
        return TorchSubject.build(
            module,
            name=context.name,
            title=baseline.card.title,
            kind=self.info.kind,
            source=baseline.card.source,
            architecture=baseline.architecture.model_copy(update={"weights_standardised": ()}),
            classes=baseline.card.classes,
            preprocessing=baseline.preprocessing,
            training=baseline.card.training,
            certificate=baseline.card.certificate,
            statements=(self._statement(outcome), *baseline.card.statements),
            size_b=outcome.size_b,
            device=baseline.device,
        )

    def _statement(self, outcome: "Quantised") -> Message:
        return Message(
            text=WEIGHTS_AND_ACTIVATIONS if self.activations else WEIGHTS_ONLY,
            values={
                "bits": self.bits,
                "n_quantised": outcome.n_quantised,
                "n_parameters": outcome.n_parameters,
            },
        )


@dataclass(frozen=True, slots=True)
class Quantised:
    """How much of a module became integers, and the bytes that it would be stored in.

    Attributes:
        n_quantised: Parameters on a grid; the others (biases, normalisation) stay floats.
        n_parameters: All of them.
        size_b: Packed integers, one scale per channel, and the floats that remain, buffers included.
    """

    n_quantised: int
    n_parameters: int
    size_b: int


def quantise_module(module: nn.Module, *, bits: int, activations: bool) -> Quantised:
    """Put the weights of ``module`` on their grids, in place, and let its layers round their inputs."""
    float_b = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    n_quantised, saved_b = 0, 0
    seen: set[int] = set()
    for layer in list(module.modules()):
        for weight in _weights(layer):
            if id(weight) in seen:
                continue
            seen.add(id(weight))
            axis = _channel_axis(layer)
            with torch.no_grad():
                weight.copy_(fake_quantise_weight(weight, bits=bits, channel_axis=axis))
            n_quantised += weight.numel()
            packed_b = math.ceil(weight.numel() * bits / 8) + SCALE_B * weight.shape[axis]
            saved_b += weight.numel() * weight.element_size() - packed_b
    if activations:
        _round_inputs(module, bits)
    n_parameters = sum(parameter.numel() for parameter in module.parameters())
    return Quantised(n_quantised, n_parameters, float_b - saved_b)


_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_QUANTISABLE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    *_TRANSPOSED,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""Their kernels read the weights of their parts without calling them."""


def _weights(layer: nn.Module) -> Iterator[nn.Parameter]:
    """The matrices and kernels of a layer itself; biases are vectors and stay floats."""
    if isinstance(layer, _QUANTISABLE):
        yield from (weight for weight in layer.parameters(recurse=False) if weight.ndim >= 2)


def _channel_axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, _TRANSPOSED) else 0


def _round_inputs(module: nn.Module, bits: int) -> None:
    fused = {id(part) for layer in module.modules() if isinstance(layer, _FUSED) for part in layer.modules()}
    for layer in module.modules():
        rounding = ROUNDING.get(type(layer))
        if rounding is not None and id(layer) not in fused:
            RoundsInputs.install(layer, rounding, bits)
