"""Scenes of concepts: networks, a linear subject whose first input is the concept, and what is measured."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.concepts.concepts import Concepts
from auditkit.audits.explainability.concepts.sensitivity import Pool
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.data.preprocessing import (
    ImagePreprocessing,
)
from auditkit.models.given_weights import linear_layer
from auditkit.selftest.subjects import logistic, rows_of
from auditkit.subjects.torch_subject import TorchSubject

CONTEXT = AuditContext(seed=3)
REAL = {"real": {"feature": "real", "level": "yes"}}
FEW = {"n_random": 99, "n_bootstrap": 50}


def rng_of(seed=0):
    return np.random.default_rng(seed)


def network(widths, seed=0, last=()):
    """Dense layers with ReLU between, random weights."""
    rng, layers = rng_of(seed), []
    for fan_in, fan_out in pairwise(widths):
        weight = torch.from_numpy(rng.normal(size=(fan_out, fan_in)) / fan_in**0.5).float()
        layers += [linear_layer(weight, torch.zeros(fan_out)), nn.ReLU()]
    return nn.Sequential(*layers[:-1], *last)


def scene(n=400, *, weight=2.0, seed=0, clean=0.3):
    """A linear subject whose first input is the concept, up to noise."""
    rng = rng_of(seed)
    shows = rng.permutation(n) % 5 < 2
    inputs = rng.normal(size=(n, 3))
    inputs[:, 0] = shows + clean * inputs[:, 0]
    groups = {
        "real": np.where(shows, "yes", "no").tolist(),
        "coin": np.where(rng.permutation(n) % 5 < 2, "yes", "no").tolist(),
    }
    return logistic([weight, 1.0, 0.0]), rows_of(inputs, inputs[:, 1] > 0, groups=groups)


def figures(output):
    return {f"{one.metric}[{','.join(one.group.values())}]": one for one in output.measurements}


def measured(subject, data, concepts=REAL, seed=3, **parameters):
    audit = Concepts.model_validate({"concepts": concepts, **FEW, **parameters})
    return audit.measure(subject, data, AuditContext(seed=seed))


def pool_of(seed=0, n=40, width=5, distance=1.0):
    rng = rng_of(seed)
    shows = np.arange(n) % 2 == 0
    return Pool(rng.normal(size=(n, width)) + distance * shows[:, None], shows, np.arange(n))


def pictures(n=240, *, last=(), seed=11):
    """Noise; a convolution sees horizontal edges and its mean square is the score of the second class."""
    grey = rng_of(seed).random((n, 1, 8, 8)).astype(np.float32)
    kernel = torch.tensor([[[[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0], [1.0, 1.0, 1.0]]]]).repeat(2, 1, 1, 1)
    kernel[1] *= -1
    conv = nn.Conv2d(1, 2, 3, bias=False, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        conv.weight.copy_(kernel)
    module = nn.Sequential(
        conv,
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear_layer(torch.tensor([[0.0, 0.0], [1.0, 1.0]])),
    )
    steps = ImagePreprocessing(
        target="t", classes=("no", "yes"), height=8, width=8, divisor=1, mean=0.0, scale=1.0, flatten=False
    )
    subject = TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=("no", "yes"), preprocessing=steps
    )
    data = Dataset(
        name="noise",
        source="memory",
        split=None,
        inputs=torch.from_numpy(grey),
        y_true=np.arange(n) % 2,
        classes=("no", "yes"),
        features=FeatureSpace((), image_shape=(8, 8)),
    )
    return subject, data
