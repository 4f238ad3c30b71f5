"""Pictures with the channels of a pixel beside one another, as convolutions on a processor are fastest."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PICTURES = 4
"""Dimensions."""


class ChannelsLast(TorchFunctionMode):
    """While entered, convolutions of pictures take and give their numbers in that order in memory.

    Forth and back they take half as long. Nothing else changes: shapes are as ever, and so is what a model
    views in another shape, which is put in the usual order first.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if args and isinstance(args[0], Tensor) and args[0].ndim == _PICTURES and not args[0].is_cuda:
            if func is torch.conv2d:
                args = (args[0].contiguous(memory_format=torch.channels_last), *args[1:])
            elif func is Tensor.view:
                args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))
