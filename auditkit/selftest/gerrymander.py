"""A crossed group that is refused although each of its parts fares like everyone else."""

from functools import partial

import numpy as np

from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of


def crossed_refusal() -> Plant:
    """Where two attributes agree the bar is higher, where they differ it is lower: no margin shows it."""

    def scene(step: float) -> Scene:
        rng = numpy_rng(0, "selftest", "crossed")
        score, sides = rng.normal(size=3000), rng.random((2, 3000)) < 0.5
        agree = np.where(sides[0] == sides[1], 1.0, -1.0)
        groups = {
            "one": np.where(sides[0], "b", "a").tolist(),
            "two": np.where(sides[1], "d", "c").tolist(),
        }
        inputs = np.column_stack([score, agree])
        return Scene(logistic([8.0, -8.0 * step]), rows_of(inputs, score > 0, groups=groups))

    return Plant(
        audit="inequality",
        fault=Message(text="the decision rule depends on two attributes together and on neither alone"),
        figure="inequality/selection_rate.excess_over_margins[one,two]",
        above=0.05,
        faulty=partial(scene, 0.5),
        sound=partial(scene, 0.0),
        parameters={"intersections": True},
    )
