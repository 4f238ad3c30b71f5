"""One planted fault for every audit."""

from functools import partial
from typing import Final

import numpy as np
import torch

from auditkit.data.dataset import FloatArray
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.demotion import demoted_group
from auditkit.selftest.explanations import carried_gap, leaned_on_concept
from auditkit.selftest.gerrymander import crossed_refusal
from auditkit.selftest.language import forgotten_order
from auditkit.selftest.named_people import judged_by_a_term
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.preferences import preferred_sentences
from auditkit.selftest.proxies import group_as_input, telling_input
from auditkit.selftest.ranking import lost_ranking
from auditkit.selftest.recourse import longer_way
from auditkit.selftest.ripple import rippled_score
from auditkit.selftest.strata import unequal_within_strata
from auditkit.selftest.subjects import Remembering, dense_stack, logistic, rows_of, subject_of
from auditkit.selftest.values import numbers_by_group, shifted_numbers
from auditkit.selftest.whole_model import leaned_on_input, many_conditions, moving_input
from auditkit.selftest.wrong_labels import flipped_training_labels

WIDTH: Final = 16
WEIGHT: Final = 2.0


def plants() -> tuple[Plant, ...]:
    """All plants, in the order of the report's chapters."""
    return (
        _flipped_labels(),
        forgotten_order(),
        shifted_numbers(),
        _overconfidence(),
        _rule_by_group(),
        lost_ranking(),
        numbers_by_group(),
        unequal_within_strata(),
        crossed_refusal(),
        demoted_group(),
        _worse_slice(),
        telling_input(),
        group_as_input(),
        _unknown_groups(),
        preferred_sentences(),
        judged_by_a_term(),
        rippled_score(),
        _planted_weight(),
        leaned_on_concept(),
        carried_gap(),
        leaned_on_input(),
        moving_input(),
        many_conditions(),
        longer_way(),
        flipped_training_labels(),
        _remembered_rows(),
        _more_parameters(),
        _more_flops(),
    )


def _normal(name: str, n: int, columns: int) -> FloatArray:
    return numpy_rng(0, "selftest", name).normal(size=(n, columns))


def _flipped_labels() -> Plant:
    """A subject that is always right loses three points in ten with three labels in ten."""

    def scene(share: float) -> Scene:
        inputs = _normal("labels", 1500, 1)
        flipped = numpy_rng(0, "selftest", "flips").permutation(1500) < share * 1500
        return Scene(logistic([8.0]), rows_of(inputs, (inputs[:, 0] > 0) ^ flipped))

    return Plant(
        audit="performance",
        fault=Message(text="3 labels in 10 are flipped"),
        figure="performance/accuracy",
        below=0.8,
        faulty=partial(scene, 0.3),
        sound=partial(scene, 0.0),
        expected=0.7,
    )


def _overconfidence() -> Plant:
    """Labels are drawn from the subject's own probabilities; then its logits are five times as large."""

    def scene(factor: float) -> Scene:
        inputs = _normal("calibration", 4000, 1)
        chance = 1 / (1 + np.exp(-2 * inputs[:, 0]))
        yes = numpy_rng(0, "selftest", "outcomes").random(4000) < chance
        return Scene(logistic([2.0 * factor]), rows_of(inputs, yes))

    return Plant(
        audit="calibration",
        fault=Message(text="log-odds are 5 times too large"),
        figure="calibration/expected_calibration_error.excess",
        above=0.02,
        faulty=partial(scene, 5.0),
        sound=partial(scene, 1.0),
    )


def _rule_by_group() -> Plant:
    """Members of one group need one point more."""

    def scene(penalty: float) -> Scene:
        score = _normal("groups", 2000, 1)
        is_b = numpy_rng(0, "selftest", "group").random(2000) < 0.5
        inputs = np.column_stack([score, is_b])
        groups = {"group": np.where(is_b, "b", "a").tolist()}
        return Scene(logistic([8.0, -8.0 * penalty]), rows_of(inputs, score[:, 0] > 0, groups=groups))

    return Plant(
        audit="group-fairness",
        fault=Message(text="the decision rule depends on the group"),
        figure="group-fairness/selection_rate.difference[group]",
        above=0.1,
        faulty=partial(scene, 1.0),
        sound=partial(scene, 0.0),
        parameters={"metrics": ["selection_rate"]},
    )


def _worse_slice() -> Plant:
    """A subject that is right but for one label in twenty; among the young in the north, for one in two."""

    def scene(share: float) -> Scene:
        inputs = _normal("slices", 3000, 1)
        rng = numpy_rng(0, "selftest", "places")
        young, north = rng.random(3000) < 0.4, rng.random(3000) < 0.4
        flipped = rng.random(3000) < np.where(young & north, share, 0.05)
        groups = {
            "age": np.where(young, "young", "old").tolist(),
            "region": np.where(north, "north", "south").tolist(),
        }
        return Scene(logistic([8.0]), rows_of(inputs, (inputs[:, 0] > 0) ^ flipped, groups=groups))

    return Plant(
        audit="worst-slices",
        fault=Message(text="errors pile up where two conditions meet"),
        figure="worst-slices/confirmed_slices",
        above=0.0,
        faulty=partial(scene, 0.5),
        sound=partial(scene, 0.05),
    )


def _unknown_groups() -> Plant:
    """Nobody knows the group of every second row of one kind: the gap could be anything."""

    def scene(share: float) -> Scene:
        score = _normal("unknown groups", 2000, 1)
        draws = numpy_rng(0, "selftest", "unknown").random((2, 2000))
        names = np.where(draws[0] < 0.5, "b", "a").astype(object)
        names[draws[1] < share] = None
        return Scene(logistic([8.0]), rows_of(score, score[:, 0] > 0, groups={"group": names.tolist()}))

    return Plant(
        audit="disparity-bounds",
        fault=Message(text="the group of half of the rows is unknown"),
        figure="disparity-bounds/selection_rate.difference.largest[group]",
        above=0.3,
        faulty=partial(scene, 0.5),
        sound=partial(scene, 0.0),
        parameters={"metrics": ["selection_rate"]},
    )


def _planted_weight() -> Plant:
    """A linear score: the attribution of an input is its weight times its distance from the baseline 0."""
    inputs = _normal("weights", 400, 3)

    def scene(weight: float) -> Scene:
        return Scene(
            logistic([1.0, weight, -0.5]),
            rows_of(inputs, inputs[:, 0] > 0, features=("one", "planted", "other")),
        )

    in_float32 = inputs[:, 1].astype(np.float32).astype(np.float64)
    return Plant(
        audit="attribution",
        fault=Message(text="a weight of {weight} is planted", values={"weight": WEIGHT}),
        figure="attribution/importance[feature=planted]",
        above=0.1,
        faulty=partial(scene, WEIGHT),
        sound=partial(scene, 0.0),
        parameters={"max_evaluations": 16},
        expected=float(np.abs(WEIGHT / 2 * in_float32).mean()),
    )


def _remembered_rows() -> Plant:
    """Labels have nothing to do with the inputs: only a subject that stored them can know them."""

    def scene(remembered: int) -> Scene:
        inputs = _normal("members", 600, 3)
        yes = numpy_rng(0, "selftest", "coin").random(600) < 0.5
        data = rows_of(inputs, yes, is_member=np.arange(600) < 300)
        module = Remembering(data.inputs[:remembered], torch.from_numpy(data.y_true[:remembered]))
        return Scene(subject_of(module), data)

    return Plant(
        audit="membership-inference",
        fault=Message(text="the subject remembers its training rows"),
        figure="membership-inference/auc",
        above=0.6,
        faulty=partial(scene, 300),
        sound=partial(scene, 0),
        parameters={"n_bootstrap": 200},
        expected=1.0,
    )


def _stack(layers: int) -> Scene:
    inputs = _normal("footprint", 32, WIDTH)
    return Scene(dense_stack(WIDTH, layers), rows_of(inputs, inputs[:, 0] > 0))


def _more_parameters() -> Plant:
    def closed_form(layers: int) -> int:
        return layers * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH + 2

    return _footprint("n_parameters", Message(text="twice the layers"), closed_form(2), closed_form(4))


def _more_flops() -> Plant:
    def closed_form(layers: int) -> int:
        return 2 * (layers * WIDTH * WIDTH + 2 * WIDTH)

    return _footprint("flops", Message(text="twice the layers"), closed_form(2), closed_form(4))


def _footprint(metric: str, fault: Message, single: int, double: int) -> Plant:
    return Plant(
        audit="footprint",
        fault=fault,
        figure=f"footprint/{metric}",
        above=single,
        faulty=partial(_stack, 4),
        sound=partial(_stack, 2),
        parameters={"repeats": 6, "energy_window_s": 0.01},
        expected=double,
    )
