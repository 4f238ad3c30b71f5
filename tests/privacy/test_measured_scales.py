"""The figures of a table, measured by the first steps: right where noise allows it, bounded always."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.measured_scales import N_STAGES, UNSEEN
from auditkit.privacy.measured_table import MeasuredTable
from tests.privacy.tables import steps_of

N = 4000
MECHANISM = Mechanism(
    noise_multiplier=0.0, sample_rate=1.0, steps=100, max_grad_norm=1.0, normaliser=float(N)
)
CPU = torch.device("cpu")


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "plain": rng.normal(0, 1, N),
        "age": rng.normal(40, 12, N).round(),
        "year": rng.integers(2001, 2021, N).astype(float),
        "tiny": rng.normal(-3e-5, 1e-6, N),
        "large": rng.normal(4e9, 1e8, N),
        "yes": (rng.random(N) < 0.3).astype(float),
    }


def inputs_of(found: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.tensor(np.stack(list(found.values()), axis=1))


def taken(
    steps: TablePreprocessing,
    inputs: torch.Tensor,
    mechanism: Mechanism,
    *,
    rows_per_unit=1,
    weights=None,
    seed=0,
) -> MeasuredTable:
    """After all its steps, each on all rows."""
    rng = torch.Generator().manual_seed(seed)
    measured = MeasuredTable(steps, mechanism, rows_per_unit, CPU)
    for step in range(measured.n_steps):
        engine = measured.engine(step)
        total = [torch.zeros_like(engine.parameters[0])]
        engine.add_clipped_sum(total, inputs, torch.zeros(len(inputs)), weights)
        deviation = mechanism.noise_multiplier * mechanism.max_grad_norm
        noise = deviation * torch.randn(total[0].shape, generator=rng)
        measured.learn(step, (total[0] + noise) / mechanism.normaliser)
    return measured


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("max_norm", [1.0, 0.25])
def test_planted_means_and_scales_are_found(noise, max_norm):
    planted = columns()
    mechanism = replace(MECHANISM, noise_multiplier=noise, max_grad_norm=max_norm)
    found = taken(steps_of(planted), inputs_of(planted), mechanism).preprocessing
    for feature, column in zip(found.features, planted.values(), strict=True):
        assert abs(feature.mean - column.mean()) < 0.1 * column.std(), feature.name
        assert 1 / 1.5 < feature.scale / column.std() < 1.5, feature.name
        assert feature.fill == feature.mean


def test_without_noise_every_row_is_counted_once_in_the_bin_of_its_size():
    steps = steps_of({"a": np.zeros(1), "b": np.zeros(1)})
    rows = torch.tensor([[0.0, 5.0], [1.0, -5.0], [3.999, 4.0], [4.0, 3.9], [1e30, 0.5]], dtype=torch.float64)
    engine = MeasuredTable(steps, MECHANISM, 1, CPU).engine(0)
    total = [torch.zeros_like(engine.parameters[0])]
    engine.add_clipped_sum(total, rows, torch.zeros(len(rows)))
    bins = (total[0] * math.sqrt(2)).view(2, -1)
    # bin 0 begins at 0, bin k at 4^(k - 21); so 1 begins bin 21 and 4 bin 22, and the last has no end
    counts = [{index: round(value, 3) for index, value in enumerate(row) if value} for row in bins.tolist()]
    assert counts == [{0: 1.0, 21: 2.0, 22: 1.0, 51: 1.0}, {20: 1.0, 21: 1.0, 22: 3.0}]


@pytest.mark.parametrize("value", [0.0, 3.0, -1e12, 1e300, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("step", range(N_STAGES))
def test_one_row_more_moves_what_is_summed_by_no_more_than_the_norm(step, value):
    mechanism = replace(MECHANISM, steps=2 * N_STAGES, max_grad_norm=0.7)
    planted = columns()
    inputs, before = inputs_of(planted)[:50], MeasuredTable(steps_of(planted), mechanism, 1, CPU)
    for earlier in range(step):
        engine = before.engine(earlier)
        total = [torch.zeros_like(engine.parameters[0])]
        engine.add_clipped_sum(total, inputs, torch.zeros(50))
        before.learn(earlier, total[0] / 50)
    engine = before.engine(step)
    without, with_it = (torch.zeros_like(engine.parameters[0]) for _ in range(2))
    row = torch.full((1, inputs.shape[1]), value, dtype=torch.float64)
    engine.add_clipped_sum([without], inputs, torch.zeros(50))
    engine.add_clipped_sum([with_it], torch.cat([inputs, row]), torch.zeros(51))
    moved = float((with_it - without).norm())
    assert math.isfinite(moved)
    assert moved <= 0.7 * (1 + 1e-5)  # sums are single precision


def test_the_rows_of_a_person_count_as_one():
    steps = steps_of({"a": np.zeros(1)})
    engine = MeasuredTable(steps, MECHANISM, 2, CPU).engine(0)
    total = [torch.zeros_like(engine.parameters[0])]
    rows = torch.tensor([[1.0], [20.0], [7.0], [7.0]], dtype=torch.float64)
    engine.add_clipped_sum(total, rows, torch.zeros(4), torch.tensor([0.5, 0.5, 1.0, 0.0]))
    assert total[0][[21, 22, 23]].tolist() == pytest.approx([0.5, 1.0, 0.5], rel=1e-4)


def test_persons_with_many_rows_give_the_mean_over_persons():
    rng = np.random.default_rng(1)
    planted = {"a": np.repeat(rng.normal(100, 10, N // 2), 2)}
    mechanism = replace(MECHANISM, normaliser=N / 2)
    found = taken(steps_of(planted), inputs_of(planted), mechanism, rows_per_unit=2).preprocessing.features[0]
    assert abs(found.mean - planted["a"].mean()) < 1
    assert 1 / 1.5 < found.scale / planted["a"].std() < 1.5


def test_missing_values_play_no_part():
    rng = np.random.default_rng(2)
    values, missing = rng.normal(500, 20, N), rng.random(N) < 0.4
    inputs = torch.tensor(np.stack([np.where(missing, 0.0, values), missing, values], axis=1))
    gappy = NumericFeature(name="gappy", mean=0.0, scale=1.0, fill=0.0, missing_indicator=True)
    whole = NumericFeature(name="whole", mean=0.0, scale=1.0, fill=0.0)
    steps = TablePreprocessing(target="t", classes=("a", "b"), features=(gappy, whole))
    measured = taken(steps, inputs, MECHANISM)
    for feature in measured.preprocessing.features:
        assert abs(feature.mean - 500) < 2, feature.name
        assert 1 / 1.5 < feature.scale / 20 < 1.5, feature.name
    seen = measured.seen(inputs)
    assert seen[torch.tensor(missing), 0].unique().tolist() == [0.0]
    assert torch.equal(seen[:, 1], torch.tensor(missing).float())


def test_a_column_that_does_not_vary_plays_no_part():
    found = taken(steps_of({"same": np.full(N, 7.0)}), torch.full((N, 1), 7.0), MECHANISM)
    assert abs(float(found.seen(torch.full((1, 1), 7.0)))) < 1e-3
    zeros = taken(steps_of({"zero": np.zeros(N)}), torch.zeros((N, 1)), MECHANISM)
    assert zeros.preprocessing.features[0].scale == UNSEEN


def test_a_column_whose_spread_drowns_in_the_noise_plays_no_part():
    planted = {"plain": np.random.default_rng(3).normal(size=50)}
    mechanism = replace(MECHANISM, noise_multiplier=200.0, normaliser=50.0)
    lost = [
        taken(steps_of(planted), inputs_of(planted), mechanism, seed=seed).preprocessing.features[0].scale
        for seed in range(20)
    ]
    assert sum(scale == UNSEEN for scale in lost) >= 15  # a false bin among 52 now and then


def test_a_few_huge_rows_do_not_hide_the_others():
    planted = columns()
    inputs = inputs_of(planted)
    inputs[:2] = 1e12
    found = taken(steps_of(planted), inputs, MECHANISM).preprocessing
    age = found.features[1]
    assert abs(age.mean - 40) < 1
    assert age.scale < 20


def test_a_table_of_levels_alone_takes_no_step_for_figures():
    levels = CategoricalFeature(name="city", levels=("a", "b"))
    steps = TablePreprocessing(target="t", classes=("a", "b"), features=(levels,))
    mechanism = replace(MECHANISM, level_steps=3, failure_probability=1e-8)
    assert MeasuredTable(steps, mechanism, 1, CPU).n_steps == 3


@pytest.mark.parametrize(("steps", "expected"), [(1, 1), (3, 1), (5, 2), (14, 7), (79, 7), (500, 50)])
def test_a_tenth_of_the_steps_measures_and_seven_at_least_but_no_more_than_half(steps, expected):
    mechanism = replace(MECHANISM, steps=steps)
    planted = columns()
    assert taken(steps_of(planted), inputs_of(planted)[:10], mechanism).n_steps == expected


def test_what_was_measured_is_put_back_within_a_stage_too():
    planted = columns()
    inputs, mechanism = inputs_of(planted), replace(MECHANISM, noise_multiplier=1.0)
    whole = taken(steps_of(planted), inputs, mechanism)
    for stop in (0, 3, 6, 10):
        first = MeasuredTable(steps_of(planted), mechanism, 1, CPU)
        rng = torch.Generator().manual_seed(0)
        current = first
        for step in range(first.n_steps):
            if step == stop:
                current = MeasuredTable(steps_of(planted), mechanism, 1, CPU)
                current.restore(first.tensors())
            engine = current.engine(step)
            total = [torch.zeros_like(engine.parameters[0])]
            engine.add_clipped_sum(total, inputs, torch.zeros(N))
            noise = torch.randn(total[0].shape, generator=rng)
            current.learn(step, (total[0] + noise) / mechanism.normaliser)
        if stop == first.n_steps:
            current = MeasuredTable(steps_of(planted), mechanism, 1, CPU)
            current.restore(first.tensors())
        assert current.preprocessing == whole.preprocessing


def test_moments_in_milliseconds_keep_the_digits_that_single_precision_would_lose():
    moments = np.random.default_rng(4).normal(1.7e12, 5e3, N)
    assert np.float32(moments).std() > 1.1 * moments.std()
    planted = {"moment": moments}
    measured = taken(steps_of(planted), inputs_of(planted), MECHANISM)
    (feature,) = measured.preprocessing.features
    assert abs(feature.mean - moments.mean()) < 0.2 * moments.std()
    assert 1 / 1.5 < feature.scale / moments.std() < 1.5
    assert measured.seen(inputs_of(planted)).dtype == torch.float32
