"""A convolutional network for small grey pictures: convolution, pooling, twice over, then fully connected.

Source: LeCun, Bottou, Bengio and Haffner (1998), Gradient-Based Learning Applied to Document Recognition,
section II; with ReLU, maximum pooling and dropout in place of what was usual then.
"""

from collections import OrderedDict

from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, PictureParameters, Widths
from auditkit.models.mlp import feed_forward


class CnnParameters(PictureParameters):
    """One 3x3 convolution and one halving of the picture per entry of ``channels``, then hidden layers."""

    channels: Widths = (16, 32)
    hidden: Widths = (128,)
    dropout: Dropout = 0.2


def _build(parameters: CnnParameters) -> nn.Module:
    """Flat rows ``(n, height * width)`` in, logits ``(n, n_classes)`` out.

    Borders are padded, so a convolution keeps height and width; pooling halves them, rounding up.
    """
    height, width, before = int(parameters.height or 0), int(parameters.width or 0), 1
    features: OrderedDict[str, nn.Module] = OrderedDict()
    picture = nn.Unflatten(1, (1, height, width))
    for index, channels in enumerate(parameters.channels, start=1):
        features[f"conv{index}"] = nn.Conv2d(before, channels, 3, padding=1)
        features[f"relu{index}"] = nn.ReLU()
        features[f"pool{index}"] = nn.MaxPool2d(2, ceil_mode=True)
        height, width, before = -(-height // 2), -(-width // 2), channels
    head = feed_forward(
        before * height * width, parameters.hidden, int(parameters.n_classes or 0), parameters.dropout
    )
    return nn.Sequential(
        OrderedDict(picture=picture, features=nn.Sequential(features), **dict(head.named_children()))
    )


CNN = ArchitectureKind(CnnParameters, _build, takes="pictures")
