"""An input that gives the group away, and a subject that reads the group itself."""

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from auditkit.data.dataset import FeatureSpace
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of

PENALTY: Final = 1.0


def telling_input() -> Plant:
    """One of two inputs lies 1.5 standard deviations higher in one group."""

    def scene(distance: float) -> Scene:
        rng = numpy_rng(0, "selftest", "proxies")
        inputs, is_b = rng.normal(size=(800, 2)), rng.random(800) < 0.5
        inputs[:, 1] += distance * is_b
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        return Scene(logistic([2.0, 0.0]), rows_of(inputs, inputs[:, 0] > 0, groups=groups))

    return Plant(
        audit="proxies",
        fault=Message(text="one input stands for the group"),
        figure="proxies/inputs.auc[group]",
        above=0.7,
        faulty=partial(scene, 1.5),
        sound=partial(scene, 0.0),
        parameters={"n_permutations": 19},
    )


def group_as_input() -> Plant:
    """Of the rows whose score is between 0 and the penalty, membership alone decides."""
    score = numpy_rng(0, "selftest", "exchanged").normal(size=2000)
    is_b = numpy_rng(0, "selftest", "exchanged group").random(2000) < 0.5

    def scene(penalty: float) -> Scene:
        inputs = np.column_stack([score, is_b])
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        data = rows_of(inputs, score > 0, groups=groups)
        named = replace(data, features=FeatureSpace(("score", "group"), (0, 1)))
        return Scene(logistic([8.0, -8.0 * penalty]), named)

    return Plant(
        audit="attribute-flip",
        fault=Message(text="the decision rule reads the group"),
        figure="attribute-flip/flip_rate[group]",
        above=0.3,
        faulty=partial(scene, PENALTY),
        sound=partial(scene, 0.0),
        expected=float(((score > 0) & (score <= PENALTY)).mean()),
    )
