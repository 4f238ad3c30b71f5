"""Levels of many units keep their names; one that a single unit has comes out as rarely as promised."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.data.told_levels import is_told
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.measured_levels import MeasuredLevels, has_levels, level_steps
from auditkit.privacy.measured_table import MeasuredTable

CPU = torch.device("cpu")
CITIES, JOBS = ("bern", "oslo", "rome"), ("cook", "none")
STEPS = TablePreprocessing(
    target="t",
    classes=("no", "yes"),
    features=(
        CategoricalFeature(name="city", levels=CITIES),
        NumericFeature(name="age", mean=0.0, scale=1.0, fill=0.0, missing_indicator=True),
        CategoricalFeature(name="job", levels=JOBS),
    ),
)
MECHANISM = Mechanism(
    noise_multiplier=2.0,
    sample_rate=1.0,
    steps=100,
    max_grad_norm=0.7,
    normaliser=1000.0,
    level_steps=5,
    failure_probability=1e-8,
)


def rows(cities, jobs) -> torch.Tensor:
    """One row per city and job, an age between them."""
    city, job = (
        torch.tensor([[float(one == level) for level in levels] for one in column], dtype=torch.float64)
        for column, levels in ((cities, CITIES), (jobs, JOBS))
    )
    return torch.cat([city, torch.full((len(city), 2), 30.0, dtype=torch.float64), job], dim=1)


def taken(inputs, mechanism=MECHANISM, *, rows_per_unit=1, weights=None, seed=0) -> MeasuredLevels:
    rng = torch.Generator().manual_seed(seed)
    measured = MeasuredLevels(STEPS, mechanism, rows_per_unit, CPU)
    deviation = mechanism.noise_multiplier * mechanism.max_grad_norm
    for step in range(measured.n_steps):
        total = [torch.zeros(len(CITIES) + len(JOBS))]
        measured.engine(step).add_clipped_sum(total, inputs, torch.zeros(len(inputs)), weights)
        noise = deviation * torch.randn(total[0].shape, generator=rng)
        measured.learn(step, (total[0] + noise) / mechanism.normaliser)
    return measured


def told(measured: MeasuredLevels) -> tuple[list[str], list[str]]:
    found = measured.applied_to(STEPS).features
    city, job = ([level for level in found[place].levels if is_told(level)] for place in (0, 2))
    return city, job


def test_frequent_levels_keep_their_names_and_places_without_a_name_come_last():
    measured = taken(rows(["rome"] * 600 + ["bern"] * 397 + ["oslo"] * 3, ["cook"] * 998 + ["none"] * 2))
    assert told(measured) == (["bern", "rome"], ["cook"])
    city = measured.applied_to(STEPS).features[0]
    assert city.levels[:2] == ("bern", "rome")
    assert len(city.levels) == 3


def test_before_anything_is_counted_no_level_has_a_name():
    assert told(MeasuredLevels(STEPS, MECHANISM, 1, CPU)) == ([], [])


def test_levels_are_told_from_a_count_that_follows_from_the_noise():
    """All in every step: a count of n rows is n shares, with noise of sigma C times the root of the steps."""
    measured = MeasuredLevels(STEPS, MECHANISM, 1, CPU)
    share = 5 * 0.7 / math.sqrt(2)
    deviation = 2.0 * 0.7 * math.sqrt(5)
    beyond = (measured.threshold - share) / deviation
    assert math.erfc(beyond / math.sqrt(2)) / 2 == pytest.approx(1e-8 / 2, rel=1e-3)  # two columns
    enough = math.ceil((measured.threshold + 6 * deviation) / share)
    few = math.floor((measured.threshold - 6 * deviation) / share)
    for seed in range(20):
        inputs = rows(["bern"] * enough + ["oslo"] * few, ["cook"] * (enough + few))
        assert told(taken(inputs, seed=seed)) == (["bern"], ["cook"])


@pytest.mark.parametrize("per_person", [1, 2])
def test_a_level_that_one_unit_alone_has_is_told_as_rarely_as_promised(per_person):
    """Simulated, the unit in every step and its rows all alike: the worst there is."""
    promised, n = 0.2, 600 if per_person == 1 else 200
    mechanism = replace(MECHANISM, failure_probability=promised)
    inputs = rows(["oslo"] * per_person, ["none"] * per_person)
    weights = None if per_person == 1 else torch.full((per_person,), 1 / per_person)
    runs = (taken(inputs, mechanism, rows_per_unit=per_person, weights=weights, seed=i) for i in range(n))
    own = sum("oslo" in city or "none" in job for city, job in map(told, runs))
    if per_person == 1:
        assert abs(own / n - (1 - 0.9**2)) < 4 * math.sqrt(0.16 / n)  # each column with half of it
    else:
        # rows of a person may bring another level each time, for which the promise leaves room
        assert 0 < own / n < 0.1


@pytest.mark.parametrize(
    ("cities", "jobs"), [(["oslo"], ["none"]), (["nowhere"], ["none"]), (["nowhere"], ["nothing"])]
)
def test_one_unit_more_moves_the_counts_by_no_more_than_the_norm(cities, jobs):
    engine = MeasuredLevels(STEPS, MECHANISM, 1, CPU).engine(0)
    total = [torch.zeros(len(CITIES) + len(JOBS))]
    engine.add_clipped_sum(total, rows(cities, jobs), torch.zeros(1))
    n_known = (cities[0] in CITIES) + (jobs[0] in JOBS)
    assert float(total[0].norm()) == pytest.approx(0.7 * math.sqrt(n_known / 2), rel=1e-4)
    assert float(total[0].norm()) <= 0.7


def test_what_stands_in_a_row_besides_zero_and_one_does_not_count_for_more():
    engine = MeasuredLevels(STEPS, MECHANISM, 1, CPU).engine(0)
    total = [torch.zeros(len(CITIES) + len(JOBS))]
    engine.add_clipped_sum(total, 1e9 * rows(["oslo"], ["none"]), torch.zeros(1))
    assert float(total[0].norm()) <= 0.7


def test_the_rows_of_a_person_share_what_one_unit_may_add():
    engine = MeasuredLevels(STEPS, MECHANISM, 2, CPU).engine(0)
    total = [torch.zeros(len(CITIES) + len(JOBS))]
    halves = torch.tensor([0.5, 0.5])
    engine.add_clipped_sum(total, rows(["oslo", "bern"], ["none", "none"]), torch.zeros(2), halves)
    shares = total[0] * math.sqrt(2) / 0.7
    assert shares.tolist() == pytest.approx([0.5, 0.5, 0.0, 0.0, 1.0], rel=1e-4)


@pytest.mark.parametrize("stop", [0, 2, 5])
def test_what_was_counted_is_put_back_within_the_counting_too(stop):
    inputs = rows(["bern"] * 500 + ["oslo"] * 20, ["cook"] * 500 + ["none"] * 20)
    whole = taken(inputs)
    rng = torch.Generator().manual_seed(0)
    current = MeasuredLevels(STEPS, MECHANISM, 1, CPU)
    for step in range(current.n_steps + 1):
        if step == stop:
            again = MeasuredLevels(STEPS, MECHANISM, 1, CPU)
            again.restore(current.tensors())
            current = again
        if step < current.n_steps:
            total = [torch.zeros(5)]
            current.engine(step).add_clipped_sum(total, inputs, torch.zeros(520))
            noise = 1.4 * torch.randn(5, generator=rng)
            current.learn(step, (total[0] + noise) / 1000)
    assert told(current) == told(whole)


def test_the_module_reads_nothing_of_levels_without_a_name_and_numbers_as_measured():
    mechanism = replace(MECHANISM, noise_multiplier=0.01, normaliser=1000.0)
    inputs = rows(["rome"] * 900 + ["oslo"] * 1 + ["bern"] * 99, ["cook"] * 1000)
    inputs[:, 3] = torch.from_numpy(np.random.default_rng(0).normal(40, 10, 1000))
    inputs[:, 4] = 0
    measured = MeasuredTable(STEPS, mechanism, 1, CPU)
    for step in range(measured.n_steps):
        engine = measured.engine(step)
        total = [torch.zeros_like(engine.parameters[0])]
        engine.add_clipped_sum(total, inputs, torch.zeros(1000))
        measured.learn(step, total[0] / 1000)
    # without noise in the sums even one row reaches the threshold of next to none: tell them by hand
    state = measured.tensors()
    state["measured levels"] = torch.tensor([True, False, True, True, False])
    measured.restore(state)
    seen = measured.seen(inputs)
    assert seen[:, :3].sum(dim=0).tolist() == [99, 900, 0]
    assert seen[:, 5:].sum(dim=0).tolist() == [1000, 0]
    assert abs(float(seen[:, 3].mean())) < 0.1
    assert 0.6 < float(seen[:, 3].std()) < 1.5


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (4, 1), (12, 3), (100, 5), (500, 25), (10_000, 50)])
def test_one_step_in_twenty_counts_levels(steps, expected):
    assert level_steps(steps) == expected


def test_levels_that_no_step_counts_are_public_and_all_are_told():
    measured = MeasuredLevels(STEPS, replace(MECHANISM, level_steps=0, failure_probability=0.0), 1, CPU)
    assert (measured.n_steps, told(measured)) == (0, (list(CITIES), list(JOBS)))


def test_a_table_of_numbers_has_no_levels():
    assert has_levels(STEPS)
    assert not has_levels(STEPS.model_copy(update={"features": STEPS.features[1:2]}))
