"""A concept that a score leans on, and an input through which a gap in scores comes about."""

from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from auditkit.data.dataset import FeatureSpace
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of

WEIGHT: Final = 2.0


def leaned_on_concept() -> Plant:
    """One of two inputs is the concept itself: a step to it moves the logit by half of its weight."""
    rng = numpy_rng(0, "selftest", "striped rows")
    shows, noise = rng.random(600) < 0.4, rng.normal(size=600)

    def scene(weight: float) -> Scene:
        groups = {"striped": np.where(shows, "yes", "no").tolist()}
        inputs = np.column_stack([shows, noise])
        return Scene(logistic([weight, WEIGHT - weight]), rows_of(inputs, noise > 0, groups=groups))

    return Plant(
        audit="concepts",
        fault=Message(text="the score leans on a concept"),
        figure="concepts/concept_effect[concept=striped,class=yes]",
        above=0.3,
        faulty=partial(scene, WEIGHT),
        sound=partial(scene, 0.0),
        parameters={
            "concepts": {"striped": {"feature": "striped", "level": "yes"}},
            "n_random": 99,
            "n_bootstrap": 50,
        },
        expected=WEIGHT / 2,
    )


def carried_gap() -> Plant:
    """One of two inputs is 1 in the one group and 0 in the other: it carries its weight of the gap."""
    rng = numpy_rng(0, "selftest", "gap parts")
    is_b, noise = rng.random(400) < 0.5, rng.normal(size=400)

    def scene(weight: float) -> Scene:
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        data = rows_of(np.column_stack([is_b, noise]), noise > 0, groups=groups)
        named = replace(data, features=FeatureSpace(("stand-in", "other"), (0, 1)))
        return Scene(logistic([weight, 1.0]), named)

    return Plant(
        audit="gap-decomposition",
        fault=Message(
            text="an input that stands for the group carries a weight of {weight}", values={"weight": WEIGHT}
        ),
        figure="gap-decomposition/gap_contribution[group=a,feature=stand-in]",
        below=-0.5,
        faulty=partial(scene, WEIGHT),
        sound=partial(scene, 0.0),
        parameters={"n_permutations": 19, "n_bootstrap": 50},
        expected=-WEIGHT,
    )
