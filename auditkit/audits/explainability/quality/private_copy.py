"""A copy of the subject that an audit may change, laid out so that convolutions are quick."""

import copy

import torch
from torch import Tensor, nn

from auditkit.subjects.subject import WhiteBox


def private_copy(subject: WhiteBox, some_rows: Tensor) -> WhiteBox:
    """The same model in evaluation mode; what is done to it does not reach ``subject``.

    Pooling and convolution of small pictures took a third of the time with channels last. A module that
    reshapes pictures by views of its own cannot take that; then the layout stays.

    Args:
        subject: Left as it was.
        some_rows: Inputs to try the layout on, shape ``(b, *d)``.
    """
    plain = copy.deepcopy(subject)
    plain.module.eval()
    if not any(isinstance(layer, nn.Conv2d) for layer in plain.module.modules()):
        return plain
    quick = copy.deepcopy(plain)
    # not `contiguous`: that leaves weights with a single input channel as they are, and the first layer slow
    quick.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return quick if _agree(plain, quick, some_rows) else plain


def _agree(plain: WhiteBox, quick: WhiteBox, some_rows: Tensor) -> bool:
    try:
        with torch.no_grad():
            return torch.allclose(plain.logits(some_rows), quick.logits(some_rows), rtol=1e-3, atol=1e-4)
    except RuntimeError:
        return False
