"""Scattering features against their definition in space, and what they promise."""

import cmath
import math

import numpy as np
import pytest
import torch

from auditkit.config import Architecture
from auditkit.errors import ConfigError
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.scattering import Scattering, channels
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng

SINGLE = 1e-4
"""Single precision through four transforms; values are about 1."""


def architecture(**parameters) -> Architecture:
    return Architecture.model_validate({"name": "scattering", **parameters})


def pictures(n, height, width, seed=0):
    return torch.rand((n, height * width), generator=torch.Generator().manual_seed(seed))


def in_space(spectrum):
    """A filter as values around a centre."""
    return np.fft.ifft2(spectrum.double().numpy())


def circular(picture, kernel):
    """Circular convolution, pixel by pixel."""
    height, width = picture.shape
    out = np.zeros((height, width), dtype=complex)
    for y in range(height):
        for x in range(width):
            out += picture[y, x] * np.roll(kernel, (y, x), axis=(0, 1))
    return out


def by_definition(front, picture):
    """Averages of the picture, of moduli of its wavelets, and of moduli of moduli; nothing is subsampled."""
    margin = 4
    padded = np.pad(picture, margin, mode="reflect")
    average = in_space(front.average)
    fine, coarse = ([in_space(one) for one in bank] for bank in (front.fine, front.coarse))
    first = [np.abs(circular(padded, wavelet)) for wavelet in fine]
    maps = [
        padded,
        *first,
        *(np.abs(circular(padded, wavelet)) for wavelet in coarse),
        *(np.abs(circular(modulus, wavelet)) for modulus in first for wavelet in coarse),
    ]
    return np.array([circular(one, average).real[::4, ::4][1:3, 1:3] for one in maps])


def test_features_are_those_of_the_definition_in_space():
    front = Scattering(8, 8, angles=2, groups=1)
    picture = pictures(1, 8, 8)
    expected = by_definition(front, picture.reshape(8, 8).double().numpy()).ravel()
    expected = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-5)
    expected /= np.linalg.norm(expected)
    # what is drawn at half the size differs by the little that the wavelets hold beyond half the frequencies
    assert np.abs(front(picture).numpy().ravel() - expected).max() < 0.01
    assert np.corrcoef(front(picture).numpy().ravel(), expected)[0, 1] > 0.9999


def test_wavelets_see_their_own_waves_and_no_uniform_light():
    front = Scattering(32, 32, angles=8, groups=1)
    assert float(front.fine[:, 0, 0].abs().max()) < 1e-6
    assert float(front.coarse[:, 0, 0].abs().max()) < 1e-6
    peak = np.unravel_index(int(front.fine[0].argmax()), front.fine[0].shape)
    frequency = 2 * math.pi * np.fft.fftfreq(front.fine[0].shape[1])[peak[1]]
    assert peak[0] == 0
    assert frequency == pytest.approx(3 * math.pi / 4, abs=0.3)


def test_a_wave_lights_up_the_wavelet_of_its_direction():
    front = Scattering(32, 32, angles=4, groups=1)
    wave = np.array([[cmath.exp(1j * 3 * math.pi / 4 * x).real for x in range(32)] for _ in range(32)])
    features = front(torch.tensor(wave.ravel()[None]).float()).reshape(channels(4), -1).mean(dim=1)
    assert int(features[1:5].argmax()) == 0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (16, 12), (28, 28)])
def test_every_square_of_four_pixels_has_its_features(height, width):
    front = Scattering(height, width, angles=8, groups=27)
    features = front(pictures(3, height, width))
    assert features.shape == (3, 81 * math.ceil(height / 4) * math.ceil(width / 4))
    assert front.n_features == features.shape[1]


def test_every_group_of_channels_has_the_same_weight_and_every_row_length_one():
    features = Scattering(28, 28, angles=8, groups=27)(1000 * pictures(2, 28, 28))
    grouped = features.reshape(2, 27, -1)
    assert grouped.mean(dim=2).abs().max() < SINGLE
    assert (27 * grouped.square().sum(dim=2) - 1).abs().max() < SINGLE
    assert (features.norm(dim=1) - 1).abs().max() < SINGLE


def test_features_of_a_row_do_not_depend_on_the_rows_beside_it():
    front = Scattering(16, 16, angles=4, groups=5)
    rows = pictures(5, 16, 16)
    assert torch.allclose(front(rows)[2:3], front(rows[2:3]), atol=SINGLE)


def test_blank_and_bright_pictures_have_finite_features():
    front = Scattering(16, 16, angles=4, groups=5)
    assert torch.isfinite(
        front(torch.stack([torch.zeros(256), torch.ones(256), torch.full((256,), 1e6)]))
    ).all()


def test_contrast_leaves_the_features_alone():
    front = Scattering(16, 16, angles=8, groups=27)
    rows = 100 * pictures(2, 16, 16)
    assert torch.allclose(front(rows), front(3 * rows), atol=SINGLE)


def test_only_the_classifier_is_trained_and_kept():
    module = build_module(architecture(), height=16, width=16, n_classes=3, rng=torch_rng(0, "test"))
    assert isinstance(module, FrozenFront)
    assert sorted(module.state_dict()) == ["output.bias", "output.centre", "output.weight"]
    assert [name for name, one in module.named_parameters() if one.requires_grad] == [
        "output.weight",
        "output.bias",
    ]


def test_features_computed_at_once_are_those_of_the_forward_pass():
    module = build_module(architecture(), height=12, width=12, n_classes=3, rng=torch_rng(0, "test"))
    torch.nn.init.normal_(module.output.weight)
    rows = pictures(130, 12, 12)
    features = module.features(rows)
    assert torch.allclose(module.output(features), module(rows), atol=1e-3)
    assert module.features(rows[:0]).shape == (0, features.shape[1])


def test_the_front_stays_in_evaluation_mode():
    module = FrozenFront(torch.nn.Dropout(0.5), torch.nn.Dropout(0.5)).train()
    assert (module.front.training, module.output.training) == (False, True)


@pytest.mark.parametrize(
    ("wrong", "told"), [({"height": 7, "width": 8}, "too small"), ({"groups": 7}, "do not divide")]
)
def test_sizes_that_do_not_fit_are_refused_with_the_reason(wrong, told):
    sizes = {"height": 8, "width": 8, "n_classes": 2}
    with pytest.raises(ConfigError, match=told):
        build_module(
            architecture(**wrong),
            rng=torch_rng(0, "test"),
            **{**sizes, **{k: None for k in wrong if k in sizes}},
        )
