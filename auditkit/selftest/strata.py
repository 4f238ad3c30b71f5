"""A rule that depends on the group, behind a control feature that alone would explain a gap."""

from dataclasses import replace
from functools import partial

import numpy as np

from auditkit.data.dataset import GroupColumn
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of


def unequal_within_strata() -> Plant:
    """One group mostly applies where the bar is high, so raw rates differ either way.

    Only with the fault do they differ among those who apply at the same place.
    """

    def scene(penalty: float) -> Scene:
        rng = numpy_rng(0, "selftest", "strata")
        score, draws = rng.normal(size=3000), rng.random((2, 3000))
        is_b = draws[0] < 0.5
        is_hard = draws[1] < np.where(is_b, 0.8, 0.2)
        inputs = np.column_stack([score, is_hard, is_b])
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        data = rows_of(inputs, score > is_hard, groups=groups)
        place = GroupColumn.from_values(np.where(is_hard, "high bar", "low bar").tolist())
        return Scene(logistic([8.0, -8.0, -8.0 * penalty]), replace(data, control_features={"place": place}))

    return Plant(
        audit="conditional-disparity",
        fault=Message(text="among alike rows the decision rule depends on the group"),
        figure="conditional-disparity/selection_rate.difference.conditional[group]",
        above=0.1,
        faulty=partial(scene, 1.0),
        sound=partial(scene, 0.0),
        parameters={"metrics": ["selection_rate"]},
    )
