"""Networks with kinks, and what of their paths is compared."""

import numpy as np
import torch

from auditkit.audits.explainability.straight_path.points import StraightPath

ROUNDING = 1e-5
FEWEST = 24
"""Gradients that every row gets where layers have kinks."""


def drawn(module, seed=0):
    """The module with weights of its own."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=rng).mul_(0.4)
    return module.eval()


def first_output(module):
    def score(inputs, target):
        return module(inputs).flatten(1)[:, 0]

    return score


def relative_error(values, reference):
    return np.linalg.norm(values - reference, axis=1) / np.linalg.norm(reference, axis=1)


def path_of(score, inputs):
    target = torch.zeros(len(inputs), dtype=torch.int64)
    return StraightPath(score, inputs, torch.zeros_like(inputs[:1]), target, torch.clone, 64)
