"""An input that a subject leans on, one that moves its score, and a subject that no few rules can imitate."""

from functools import partial
from typing import Final

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of

WEIGHT: Final = 2.0
NAMES: Final = ("one", "planted")


def leaned_on_input() -> Plant:
    """Labels follow an input that the subject reads, or does not."""
    inputs = _normal("leaned on", 600, 2)

    def scene(weight: float) -> Scene:
        yes = inputs @ np.array([1.0, 2.0]) > 0
        return Scene(logistic([1.0, weight]), rows_of(inputs, yes, features=NAMES))

    return Plant(
        audit="feature-importance",
        fault=Message(text="a weight of {weight} is planted", values={"weight": WEIGHT}),
        figure="feature-importance/sage_value[feature=planted]",
        above=0.1,
        faulty=partial(scene, WEIGHT),
        sound=partial(scene, 0.0),
        parameters={"n_permutations": 2, "background_rows": 32, "max_evaluations": 20_000},
    )


def moving_input() -> Plant:
    """Log-odds that are linear in the inputs move by the weight times the way that an input goes."""
    inputs = _normal("moving", 400, 2)

    def scene(weight: float) -> Scene:
        return Scene(logistic([1.0, weight]), rows_of(inputs, inputs[:, 0] > 0, features=NAMES))

    low, high = np.quantile(inputs[:, 1], [0.025, 0.975], method="inverted_cdf")
    return Plant(
        audit="feature-effects",
        fault=Message(text="a weight of {weight} is planted", values={"weight": WEIGHT}),
        figure="feature-effects/partial_dependence_range[feature=planted]",
        above=1.0,
        faulty=partial(scene, WEIGHT),
        sound=partial(scene, 0.0),
        parameters={"scale": "log_odds", "grid_points": 5, "ale_bins": 4},
        expected=float(WEIGHT * (high - low)),
    )


def many_conditions() -> Plant:
    """Eight inputs decide together, or one alone."""
    inputs = _normal("conditions", 1000, 8)

    def scene(others: float) -> Scene:
        return Scene(logistic([1.0, *[others] * 7]), rows_of(inputs, inputs[:, 0] > 0))

    return Plant(
        audit="surrogate",
        fault=Message(text="eight inputs decide together, which a few rules cannot say"),
        figure="surrogate/fidelity",
        below=0.9,
        faulty=partial(scene, 1.0),
        sound=partial(scene, 0.0),
    )


def _normal(name: str, n: int, columns: int) -> FloatArray:
    return numpy_rng(0, "selftest", name).normal(size=(n, columns))
