"""A small VGG: blocks of 3x3 convolutions, each block ending in pooling, and a classifier with dropout.

Source: Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition,
arXiv:1409.1556, section 2.1 and table 1. As there, nothing is normalised, so no row depends on the others of
its batch. Initial values follow He et al. (2015), arXiv:1502.01852, section 2.2: with them the deep stack
trains at once, where the paper trained a shallow one first.
"""

from collections import OrderedDict

from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, PictureParameters, Units, Widths
from auditkit.models.mlp import feed_forward


class VggParameters(PictureParameters):
    """One block per entry of ``channels``, each of so many ``convolutions``."""

    channels: Widths = (16, 32, 64)
    convolutions: Units = 2
    hidden: Widths = (128, 128)
    dropout: Dropout = 0.5


def _build(parameters: VggParameters) -> nn.Module:
    """Flat rows ``(n, height * width)`` in, logits ``(n, n_classes)`` out.

    Borders are padded, so a convolution keeps height and width; every block halves them, rounding up.
    """
    height, width, before = int(parameters.height or 0), int(parameters.width or 0), 1
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    picture = nn.Unflatten(1, (1, height, width))
    for index, channels in enumerate(parameters.channels, start=1):
        blocks[f"block{index}"] = _block(before, channels, parameters.convolutions)
        height, width, before = -(-height // 2), -(-width // 2), channels
    head = feed_forward(
        before * height * width, parameters.hidden, int(parameters.n_classes or 0), parameters.dropout
    )
    module = nn.Sequential(
        OrderedDict(picture=picture, features=nn.Sequential(blocks), **dict(head.named_children()))
    )
    module.apply(_initialise)
    return module


def _block(before: int, channels: int, convolutions: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in range(1, convolutions + 1):
        layers[f"conv{index}"] = nn.Conv2d(before, channels, kernel_size=3, padding=1)
        layers[f"relu{index}"] = nn.ReLU()
        before = channels
    layers["pool"] = nn.MaxPool2d(2, ceil_mode=True)
    return nn.Sequential(layers)


def _initialise(layer: nn.Module) -> None:
    """Weights that keep the size of the signal through ReLU; biases of zero."""
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


VGG = ArchitectureKind(VggParameters, _build, takes="pictures")
