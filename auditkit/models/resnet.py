"""A small residual network whose rows do not depend on one another.

Source: He, Zhang, Ren and Sun (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385,
sections 3.2, 3.3 (basic block, projection shortcuts) and 4.2 (small pictures). Batch normalisation is
replaced by group normalisation, Wu and He (2018), arXiv:1803.08494: it normalises a picture by its own values
alone, so that the gradient of a row belongs to that row, which training with differential privacy needs.

A picture of zeros gives maps of zeros, whose normalisation is steep: integrated gradients add up only from
another baseline, such as the black picture (standardised, below zero) that the attribution audit starts from.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from auditkit.models.architecture import ArchitectureKind, PictureParameters, Size, Units, Widths


class ResnetParameters(PictureParameters):
    """One stage per entry of ``channels``, each of so many ``blocks``; later stages halve the picture.

    ``stem_stride`` is the step of the first convolution: 2 halves the picture before the first stage, at a
    quarter of the work. ``groups`` is the most groups of channels that are normalised together; a layer has
    the largest number that divides both it and its channels.
    """

    channels: Widths = (16, 32, 64)
    blocks: Units = 1
    stem_stride: Size = 2
    groups: Units = 8


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ``relu(f(x) + shortcut(x))``.

    Shape ``(n, before, h, w)`` to ``(n, channels, ceil(h / stride), ceil(w / stride))``. The shortcut is the
    identity where the shape stays, else a 1x1 convolution.
    """

    def __init__(self, before: int, channels: int, *, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = _norm(channels, groups)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = _norm(channels, groups)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            projection = nn.Conv2d(before, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=projection, norm=_norm(channels, groups)))
        self.relu2 = nn.ReLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The block's output for a batch of feature maps."""
        inner = self.relu1(self.norm1(self.conv1(inputs)))
        outputs: torch.Tensor = self.relu2(self.norm2(self.conv2(inner)) + self.shortcut(inputs))
        return outputs


def _build(parameters: ResnetParameters) -> nn.Module:
    """Flat rows ``(n, height * width)`` in, logits ``(n, n_classes)`` out."""
    groups, before = parameters.groups, (parameters.channels or (1,))[0]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        picture=nn.Unflatten(1, (1, int(parameters.height or 0), int(parameters.width or 0))),
        conv=nn.Conv2d(1, before, 3, stride=parameters.stem_stride, padding=1, bias=False),
        norm=_norm(before, groups),
        relu=nn.ReLU(),
    )
    for stage, channels in enumerate(parameters.channels, start=1):
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for index in range(1, parameters.blocks + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            blocks[f"block{index}"] = BasicBlock(before, channels, stride=stride, groups=groups)
            before = channels
        layers[f"stage{stage}"] = nn.Sequential(blocks)
    layers |= OrderedDict(
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        output=nn.Linear(before, int(parameters.n_classes or 0)),
    )
    module = nn.Sequential(layers)
    module.apply(_initialise)
    return module


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, groups), channels)


def _initialise(layer: nn.Module) -> None:
    """Initial values of He et al. (2015), arXiv:1502.01852, for the convolutions, as the source has them."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


RESNET = ArchitectureKind(ResnetParameters, _build, takes="pictures")
