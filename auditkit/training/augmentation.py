"""Changes to training rows: pictures moved and turned, tokens hidden. Drawn anew in every epoch."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from auditkit.config.model import AugmentationConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import ImagePreprocessing, Preprocessing
from auditkit.data.tokenizers import SPECIAL, UNKNOWN_TOKEN
from auditkit.errors import ConfigError, Problem

Augment = Callable[[torch.Tensor], torch.Tensor]

_KEY = ("subject", "training", "augmentation")


def augmentation_of(
    config: AugmentationConfig | None,
    data: Dataset,
    preprocessing: Preprocessing | None,
    rng: torch.Generator,
) -> Augment:
    """The change to make to a batch of inputs; the identity where the config names none.

    Args:
        config: What to change and how far.
        data: Tells whether rows are pictures or tokens.
        preprocessing: Tells the value of a black pixel, which fills the margin; without it that is 0.
        rng: On the CPU; advanced by every batch.

    Raises:
        ConfigError: The rows are not pictures, or not tokens with an id for unknown ones.
    """
    if config is None:
        return lambda inputs: inputs
    shape, tokens = data.features.image_shape, data.features.tokens
    problems = []
    if shape is None and (config.shift or config.rotate):
        problems.append(Problem("shift and rotate are for pictures", _KEY))
    if config.drop_tokens and (tokens is None or tokens.vocabulary[: len(SPECIAL)] != SPECIAL):
        problems.append(Problem("drop_tokens is for texts read as words, characters or bytes", _KEY))
    if problems:
        raise ConfigError(problems)
    if tokens is not None:
        return lambda inputs: _hide_tokens(inputs, config.drop_tokens, rng)
    black = 0.0
    if isinstance(preprocessing, ImagePreprocessing):
        black = -preprocessing.mean / preprocessing.scale
    height, width = shape or (1, 1)

    def change(inputs: torch.Tensor) -> torch.Tensor:
        pictures = inputs.reshape(-1, height, width)
        if config.shift:
            pictures = _shifted(pictures, config.shift, black, rng)
        if config.rotate:
            pictures = _turned(pictures, config.rotate, black, rng)
        return pictures.reshape(inputs.shape)

    return change


def _shifted(pictures: torch.Tensor, most: int, black: float, rng: torch.Generator) -> torch.Tensor:
    """Each picture moved by whole pixels; ``(n, height, width)`` in and out."""
    n, height, width = pictures.shape
    wide = functional.pad(pictures, (most, most, most, most), value=black)
    start = torch.randint(0, 2 * most + 1, (2, n, 1, 1), generator=rng).to(pictures.device)
    rows = start[0] + torch.arange(height, device=pictures.device)[:, None]
    columns = start[1] + torch.arange(width, device=pictures.device)
    return wide[torch.arange(n, device=pictures.device)[:, None, None], rows, columns]


def _turned(pictures: torch.Tensor, degrees: float, black: float, rng: torch.Generator) -> torch.Tensor:
    """Each picture turned about its centre, with bilinear interpolation."""
    n, height, width = pictures.shape
    angle = (2 * torch.rand(n, generator=rng) - 1) * math.radians(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
    # grid_sample counts both sides from -1 to 1; the quotient keeps a turn a turn where they differ.
    ratio = height / width
    matrix = torch.stack([cos, -sin * ratio, zero, sin / ratio, cos, zero], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(matrix.to(pictures), [n, 1, height, width], align_corners=False)
    moved = functional.grid_sample((pictures - black).unsqueeze(1), grid, align_corners=False)
    return moved.squeeze(1) + black


def _hide_tokens(inputs: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
    hidden = (torch.rand(inputs.shape, generator=rng) < share).to(inputs.device)
    return torch.where(hidden & (inputs > UNKNOWN_TOKEN), UNKNOWN_TOKEN, inputs)
