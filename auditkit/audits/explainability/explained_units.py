"""Which of the numbers that a row consists of belong to one thing that a reader knows."""

import torch
from torch import Tensor

from auditkit.data.dataset import FeatureSpace
from auditkit.errors import DataError


def units_of(features: FeatureSpace, row: Tensor) -> Tensor:
    """The unit of each element of ``row``, same shape.

    Raises:
        DataError: A row does not hold whole pictures, or the columns and their owners differ in number.
    """
    elements = torch.arange(row.numel(), device=row.device)
    if features.image_shape is not None:
        n_pixels = features.image_shape[0] * features.image_shape[1]
        if row.numel() % n_pixels:
            height, width = features.image_shape
            raise DataError(
                f"pictures: a row holds {row.numel()} values, expected a multiple of {height} x {width}"
            )
        return (elements % n_pixels).view(row.shape)
    owner = features.owner or tuple(range(len(features.names)))
    if not features.names:
        return elements.view(row.shape)
    if len(owner) != row.numel():
        raise DataError(f"features: got owners of {len(owner)} columns, expected {row.numel()} as in inputs")
    return torch.tensor(owner, device=row.device).view(row.shape)
