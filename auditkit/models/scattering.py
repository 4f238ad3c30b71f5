"""A linear classifier on scattering features: moduli of wavelets averaged over space, learned from no data.

The features are fixed by their formula, so they cost no privacy and small sets of rows suffice for what is
learned on top: under differential privacy they do better than networks trained as a whole.

Source: Bruna and Mallat (2013), arXiv:1203.1513 (the transform, Morlet wavelets with 3 pi / 4 as highest
frequency); Tramèr and Boneh (2021), arXiv:2011.11660 (as features for private training, each row normalised
within groups of channels).
"""

import math
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from auditkit.models.architecture import ArchitectureKind, PictureParameters
from auditkit.models.centred_linear import CentredLinear
from auditkit.models.frozen_front import FrozenFront

SCALE = 4
"""Features are averaged over squares of 4 x 4 pixels: two octaves of wavelets."""

SMALLEST = 2 * SCALE
"""Pixels that a picture needs each way."""

_FREQUENCY, _WIDTH = 3 * math.pi / 4, 0.8
"""Of the finest wavelet, in radians and pixels; the coarser one has half the frequency, twice the width."""

_ALIASES = range(-2, 3)
_SPREAD = 1e-5
"""Keeps the normalisation of a blank picture finite."""


class ScatteringParameters(PictureParameters):
    """``angles`` of the wavelets; features of a row are standardised within each of ``groups`` of channels.

    ``bias_input`` is what the bias of the classifier is multiplied by. Pictures have at least 8 pixels each
    way.
    """

    angles: Annotated[int, Field(ge=2, le=16)] = 8
    groups: Annotated[int, Field(ge=1)] | None = None
    bias_input: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _fits(self) -> "ScatteringParameters":
        for name in ("height", "width"):
            size = getattr(self, name)
            if size is not None and size < SMALLEST:
                raise ValueError(f"{name}: pictures of {size} pixels are too small, expected {SMALLEST}")
        n_channels = channels(self.angles)
        if self.groups is not None and n_channels % self.groups:
            raise ValueError(f"groups: {n_channels} channels do not divide into {self.groups} groups")
        return self


def channels(angles: int) -> int:
    """Averages of the picture, of each wavelet of two octaves, and of each fine then coarse one."""
    return 1 + 2 * angles + angles**2


class Scattering(nn.Module):
    """Pictures as flat rows ``(n, height * width)`` to features ``(n, channels * height / 4 * width / 4)``.

    Convolutions are products of Fourier transforms; borders are mirrored. Of each row, the features of every
    group of channels are shifted and scaled to mean 0 and variance 1, and all of them to length 1, by figures
    of that row alone.
    """

    def __init__(self, height: int, width: int, *, angles: int, groups: int) -> None:
        super().__init__()
        self.height, self.width, self.groups = height, width, groups
        self.squares = (math.ceil(height / SCALE), math.ceil(width / SCALE))
        # one more square at each side, so that no average reaches beyond what is mirrored
        grid = torch.meshgrid(*(_frequencies((n + 2) * SCALE) for n in self.squares), indexing="ij")
        turns = [turn * math.pi / angles for turn in range(angles)]
        fine, coarse = (
            torch.stack([_morlet(grid, octave, turn, 4 / angles) for turn in turns]) for octave in (0, 1)
        )
        average = _bump(grid, 2 * _WIDTH, 0.0, 0.0, 1.0)
        for name, filter_ in (
            ("fine", fine),
            ("coarse", coarse),
            ("average", average),
            ("average_of_half", _lowest(average)),
        ):
            self.register_buffer(name, filter_.float(), persistent=False)

    @property
    def n_features(self) -> int:
        """Length of a row of features."""
        return channels(len(self.fine)) * math.prod(self.squares)

    fine: Tensor
    coarse: Tensor
    average: Tensor
    average_of_half: Tensor

    def forward(self, rows: Tensor) -> Tensor:
        """Features of each row."""
        if not len(rows):
            return rows.new_zeros((0, self.n_features))
        pictures = rows.reshape(len(rows), 1, self.height, self.width)
        below, right = SCALE + -self.height % SCALE, SCALE + -self.width % SCALE
        padded = functional.pad(pictures, (SCALE, right, SCALE, below), mode="reflect")
        spectrum: Tensor = torch.fft.fft2(padded)
        of_fine = torch.fft.fft2(_modulus(spectrum * self.fine))
        of_coarse = torch.fft.fft2(_modulus(_subsampled(spectrum, self.coarse, 2)))
        of_both = torch.fft.fft2(_modulus(_subsampled(of_fine[:, :, None], self.coarse, 2)).flatten(1, 2))
        averages = [
            _subsampled(spectrum, self.average, SCALE),
            _subsampled(of_fine, self.average, SCALE),
            _subsampled(of_coarse, self.average_of_half, SCALE // 2),
            _subsampled(of_both, self.average_of_half, SCALE // 2),
        ]
        features = torch.cat([torch.fft.ifft2(one).real for one in averages], dim=1)
        down, across = self.squares
        return self._standardised(features[..., 1 : down + 1, 1 : across + 1])

    def _standardised(self, features: Tensor) -> Tensor:
        grouped = features.reshape(len(features), self.groups, -1)
        centred = grouped - grouped.mean(dim=2, keepdim=True)
        spread = (centred.square().mean(dim=2, keepdim=True) + _SPREAD).sqrt()
        unit: Tensor = functional.normalize((centred / spread).flatten(1))
        return unit


def _frequencies(size: int) -> Tensor:
    cycles: Tensor = torch.fft.fftfreq(size, dtype=torch.float64)
    return 2 * math.pi * cycles


def _bump(grid: tuple[Tensor, ...], width: float, centre: float, turn: float, slant: float) -> Tensor:
    """A Gaussian in frequency, repeated with the period of the pixels."""
    total = torch.zeros_like(grid[0])
    for down in _ALIASES:
        for across in _ALIASES:
            y, x = grid[0] + 2 * math.pi * down, grid[1] + 2 * math.pi * across
            along = math.cos(turn) * x + math.sin(turn) * y - centre
            beside = (math.cos(turn) * y - math.sin(turn) * x) / slant
            total += torch.exp(-(width**2) / 2 * (along**2 + beside**2))
    return total


def _morlet(grid: tuple[Tensor, ...], octave: int, turn: float, slant: float) -> Tensor:
    """A wavelet of one direction; what it would see in a uniform picture is taken off."""
    width, centre = _WIDTH * 2**octave, _FREQUENCY / 2**octave
    wave = _bump(grid, width, centre, turn, slant)
    envelope = _bump(grid, width, 0.0, turn, slant)
    return wave - wave[0, 0] / envelope[0, 0] * envelope


def _lowest(spectrum: Tensor) -> Tensor:
    """The lower half of the frequencies each way: the same filter for pictures of half the size."""
    for axis in (0, 1):
        quarter = spectrum.shape[axis] // 4
        low = spectrum.narrow(axis, 0, quarter)
        high = spectrum.narrow(axis, spectrum.shape[axis] - quarter, quarter)
        spectrum = torch.cat([low, high], dim=axis)
    return spectrum


def _subsampled(spectrum: Tensor, filter_: Tensor, step: int) -> Tensor:
    """The spectrum of every ``step``-th pixel each way of what ``filter_`` leaves of ``spectrum``."""
    height, width = spectrum.shape[-2] // step, spectrum.shape[-1] // step
    total: Tensor | None = None
    for down in range(0, spectrum.shape[-2], height):
        for across in range(0, spectrum.shape[-1], width):
            place = (..., slice(down, down + height), slice(across, across + width))
            part = spectrum[place] * (filter_[place] / step**2)
            total = part if total is None else total.add_(part)
    if total is None:
        raise ValueError("a spectrum without frequencies")
    return total


def _modulus(spectrum: Tensor) -> Tensor:
    waves: Tensor = torch.fft.ifft2(spectrum)
    return waves.abs()


def _groups(angles: int) -> int:
    """The number that divides the channels into groups of about three."""
    n_channels = channels(angles)
    divisors = [number for number in range(1, n_channels + 1) if n_channels % number == 0]
    return min(divisors, key=lambda number: abs(number - n_channels / 3))


def _build(parameters: ScatteringParameters) -> nn.Module:
    with torch.device("cpu"):
        front = Scattering(
            int(parameters.height or 0),
            int(parameters.width or 0),
            angles=parameters.angles,
            groups=parameters.groups or _groups(parameters.angles),
        )
    output = CentredLinear(front.n_features, int(parameters.n_classes or 0), bias_input=parameters.bias_input)
    return FrozenFront(front, output)


SCATTERING = ArchitectureKind(ScatteringParameters, _build, takes="pictures")
