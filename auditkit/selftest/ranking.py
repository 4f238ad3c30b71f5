"""A subject whose scores say nothing about one group."""

from functools import partial

import numpy as np

from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of


def lost_ranking() -> Plant:
    """All members of one group get the same score, so its AUC is 1/2; the other is ranked without error."""

    def scene(kept: float) -> Scene:
        rng = numpy_rng(0, "selftest", "ranking")
        score, is_b = rng.normal(size=600), rng.random(600) < 0.5
        inputs = np.column_stack([score * np.where(is_b, kept, 1.0)])
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        return Scene(logistic([2.0]), rows_of(inputs, score > 0, groups=groups))

    return Plant(
        audit="score-fairness",
        fault=Message(text="the scores of one group are all the same"),
        figure="score-fairness/auc.difference[group]",
        above=0.1,
        faulty=partial(scene, 0.0),
        sound=partial(scene, 1.0),
        parameters={"n_bootstrap": 50},
        expected=0.5,
    )
