"""A subject for which one group has a longer way to the favourable decision."""

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import FeatureSpace
from auditkit.models.given_weights import linear_layer
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import rows_of, subject_of

EXTRA: Final = 3.0
"""Points that members of one group need beyond the others."""

SCORES: Final = np.concatenate([np.arange(-10, 0), np.arange(5, 15)])


def longer_way() -> Plant:
    """Whole scores, spread alike in both groups: 1 is enough, or 4 for members of the one group."""

    def scene(extra: float) -> Scene:
        score = np.tile(np.repeat(SCORES, 2), 4).astype(np.float64)
        is_b = np.arange(len(score)) % 2 == 1
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        data = rows_of(np.column_stack([score, is_b]), score > 0, groups=groups)
        named = replace(data, features=FeatureSpace(("score", "group"), (0, 1)))
        weights = torch.tensor([[0.0, 0.0], [2.0, -2.0 * extra]])
        return Scene(subject_of(nn.Sequential(linear_layer(weights, torch.tensor([0.0, -1.0])))), named)

    return Plant(
        audit="counterfactuals",
        fault=Message(text="one group needs {points} points more", values={"points": EXTRA}),
        figure="counterfactuals/distance.difference[group]",
        above=0.05,
        faulty=partial(scene, EXTRA),
        sound=partial(scene, 0.0),
        parameters={"n_steps": 3},
        expected=float(EXTRA / np.median(np.abs(SCORES - np.median(SCORES)))),
    )
