"""Layers of Keras as layers of torch, where both compute the same.

A Keras model on its torch backend is one module: its layers are not modules of their own, so that nothing can
be hooked to them, and no gradient be told apart by row. The layers of a plain chain have equals in torch;
what was translated is compared with the original before it is used.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from auditkit.models.given_weights import linear_layer

Translate = Callable[[Any], list[nn.Module]]


class Reshape(nn.Module):
    """Rows of any shape as rows of ``shape``."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same numbers in the same order."""
        return inputs.reshape(len(inputs), *self.shape)


class Scale(nn.Module):
    """``inputs * scale + offset``."""

    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale = scale
        self.offset = offset

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of every number."""
        return inputs * self.scale + self.offset


class Moved(nn.Module):
    """Rows with the axes in another order: pictures are kept with channels last, as Keras has them."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """A view."""
        return inputs.permute(*self.order)


class PictureMean(nn.Module):
    """Mean over height and width of ``(n, height, width, channels)``."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape ``(n, channels)``."""
        return inputs.mean(dim=(1, 2))


def translated(layers: Sequence[Any]) -> nn.Sequential | None:
    """The chain in torch; ``None`` where a layer or a setting of one has no equal here.

    Draws initial values of convolutions, which are then replaced, from the global generators.
    """
    modules: list[nn.Module] = []
    for layer in layers:
        translate = _TRANSLATIONS.get(type(layer).__name__)
        try:
            modules += _untranslatable() if translate is None else translate(layer)
        except NotImplementedError:
            return None
    return nn.Sequential(*modules)


def _untranslatable() -> list[nn.Module]:
    raise NotImplementedError


_ACTIVATIONS: dict[str, Callable[[], list[nn.Module]]] = {
    "linear": list,
    "relu": lambda: [nn.ReLU()],
    "sigmoid": lambda: [nn.Sigmoid()],
    "tanh": lambda: [nn.Tanh()],
    "softmax": lambda: [nn.Softmax(dim=-1)],
    "elu": lambda: [nn.ELU()],
    "selu": lambda: [nn.SELU()],
    "gelu": lambda: [nn.GELU()],
    "silu": lambda: [nn.SiLU()],
    "softplus": lambda: [nn.Softplus()],
}


def activation_name(layer: Any) -> str:
    """The name of a layer's activation; ``"linear"`` for a layer without one."""
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", "unknown"))


def _activation(layer: Any) -> list[nn.Module]:
    make = _ACTIVATIONS.get(activation_name(layer))
    return _untranslatable() if make is None else make()


def _values(weight: Any) -> torch.Tensor:
    found: torch.Tensor = weight.value.detach().cpu().clone()
    return found


def _dense(layer: Any) -> list[nn.Module]:
    bias = _values(layer.bias) if layer.use_bias else None
    return [linear_layer(_values(layer.kernel).T, bias), *_activation(layer)]


def _convolution(layer: Any) -> list[nn.Module]:
    padding, strides = layer.padding, tuple(layer.strides)
    plain = layer.data_format == "channels_last" and padding in ("valid", "same")
    if not plain or (padding == "same" and strides != (1, 1)):
        return _untranslatable()
    kernel = _values(layer.kernel)
    height, width, n_in, n_out = kernel.shape
    convolution = nn.Conv2d(
        n_in * layer.groups,
        n_out,
        (height, width),
        stride=strides,
        padding=padding,
        dilation=tuple(layer.dilation_rate),
        groups=layer.groups,
        bias=layer.use_bias,
    )
    with torch.no_grad():
        convolution.weight.copy_(kernel.permute(3, 2, 0, 1))
        if convolution.bias is not None:
            convolution.bias.copy_(_values(layer.bias))
    return [*_channels_first(convolution), *_activation(layer)]


def _channels_first(module: nn.Module) -> list[nn.Module]:
    return [Moved(0, 3, 1, 2), module, Moved(0, 2, 3, 1)]


def _pooling(kind: type[nn.Module]) -> Translate:
    def translate(layer: Any) -> list[nn.Module]:
        if layer.data_format != "channels_last" or layer.padding != "valid":
            return _untranslatable()
        return _channels_first(kind(tuple(layer.pool_size), stride=tuple(layer.strides)))

    return translate


def _global_average(layer: Any) -> list[nn.Module]:
    plain = layer.data_format == "channels_last" and not layer.keepdims
    return [PictureMean()] if plain else _untranslatable()


def _rescaling(layer: Any) -> list[nn.Module]:
    if not all(isinstance(value, int | float) for value in (layer.scale, layer.offset)):
        return _untranslatable()
    return [Scale(float(layer.scale), float(layer.offset))]


def _relu(layer: Any) -> list[nn.Module]:
    plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
    return [nn.ReLU()] if plain else _untranslatable()


def _reshape(layer: Any) -> list[nn.Module]:
    return [Reshape(layer.target_shape)]


_TRANSLATIONS: dict[str, Translate] = {
    "InputLayer": lambda _: [],
    "Dense": _dense,
    "Conv2D": _convolution,
    "MaxPooling2D": _pooling(nn.MaxPool2d),
    "AveragePooling2D": _pooling(nn.AvgPool2d),
    "GlobalAveragePooling2D": _global_average,
    "Flatten": lambda _: [nn.Flatten()],
    "Reshape": _reshape,
    "Dropout": lambda layer: [nn.Dropout(layer.rate)],
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": lambda layer: [nn.Softmax(dim=-1)] if layer.axis == -1 else _untranslatable(),
    "Rescaling": _rescaling,
}


def chain_of(model: Any) -> Iterator[Any]:
    """The layers of a sequential model, those of models inside it included."""
    for layer in model.layers:
        if type(layer).__name__ == "Sequential":
            yield from chain_of(layer)
        else:
            yield layer
