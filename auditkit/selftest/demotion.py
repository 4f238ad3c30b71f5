"""Scores that put one group further down than its labels would."""

from functools import partial

import numpy as np

from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of


def demoted_group() -> Plant:
    """Rows of one group score one standard deviation less, so few of them are at the top."""

    def scene(penalty: float) -> Scene:
        rng = numpy_rng(0, "selftest", "demotion")
        score, is_b = rng.normal(size=2000), rng.random(2000) < 0.5
        inputs = np.column_stack([score, is_b])
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        return Scene(logistic([2.0, -2.0 * penalty]), rows_of(inputs, score > 0, groups=groups))

    return Plant(
        audit="ranking-fairness",
        fault=Message(text="one group is ranked lower than its labels would put it"),
        figure="ranking-fairness/top_0.1.ratio[group]",
        below=0.5,
        faulty=partial(scene, 1.0),
        sound=partial(scene, 0.0),
        parameters={"n_bootstrap": 50, "top": [0.1]},
    )
