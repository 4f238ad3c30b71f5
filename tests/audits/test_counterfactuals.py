"""Counterfactuals against answers in closed form, exhaustive search, and a plain reading of the "
"constraints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.evidence import written
from auditkit.audits.explainability.counterfactuals.linear_step import Cost, nearest_turn
from auditkit.audits.explainability.counterfactuals.read_features import read_features
from auditkit.audits.explainability.counterfactuals.recheck import violations
from auditkit.config.model import Architecture
from auditkit.data.dataset import FeatureSpace
from auditkit.data.preprocessing import CategoricalFeature
from auditkit.models.given_weights import linear_layer
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import linear_subject
from tests.audits.counterfactual_scenes import FREE, NAMES, PEOPLE, network, people, rows_of_numbers, searched

# --- closed forms and exhaustive search --------------------------------------------------------------


def test_on_a_linear_model_the_euclidean_distance_is_the_margin_by_the_norm_of_the_weights():
    """Within 1 % for every single row, in deviations; ranges are so wide that they bind nobody."""
    rng = np.random.default_rng(0)
    data = rows_of_numbers(rng.normal(size=(80, 6)) * [1, 2, 0.5, 3, 1, 1])
    weights = np.array([1.0, -2.0, 0.5, 0.3, -1.5, 0.8])
    subject = linear_subject(weights)
    wide = replace(FREE, ranges={f"x{index}": (-1e4, 1e4) for index in range(6)})
    found = searched(subject, data, wide, norm="L2", n_steps=4)
    assert found.has.all()
    margin = np.abs(found.own @ weights)
    exact = margin / np.linalg.norm(weights * found.table.deviations)
    assert np.abs(found.distance / exact - 1).max() < 0.01


def test_on_a_linear_model_the_sum_of_deviations_is_that_of_linear_programming():
    """Bounds bind here: the best feature alone does not always suffice."""
    rng = np.random.default_rng(1)
    data = rows_of_numbers(rng.uniform(-1, 1, size=(40, 5)))
    weights = np.array([1.0, -0.8, 0.6, 0.3, -0.2])
    narrow = replace(FREE, ranges={f"x{index}": (-1.0, 1.0) for index in range(5)})
    found = searched(linear_subject(weights), data, narrow, n_steps=8)
    for row in range(len(found)):
        own, unit = found.own[row], found.table.deviations
        low, high = (-1.0 - own) / unit, (1.0 - own) / unit
        best = linprog(
            np.ones(10),
            A_ub=[-np.concatenate([weights * unit, -weights * unit])],
            b_ub=[own @ weights],
            bounds=[*zip(np.zeros(5), high, strict=True), *zip(np.zeros(5), -low, strict=True)],
        )
        assert found.has[row] == best.success
        if best.success:
            assert best.fun - 1e-6 <= found.distance[row] <= best.fun * 1.01 + 1e-3


@pytest.mark.parametrize("n_steps", [30, None], ids=["gradients", "none"])
def test_beside_exhaustive_search_nothing_is_nearer_and_little_is_missed(n_steps):
    """Two small whole numbers and a choice of three: every permitted row is asked about."""
    rng = np.random.default_rng(2)
    n = 60
    numbers, job = rng.integers(0, 8, (n, 2)), rng.integers(0, 3, n)
    inputs = np.column_stack([numbers, job[:, None] == np.arange(3)]).astype(np.float32)
    features = FeatureSpace(("a", "b", "job"), (0, 1, 2, 2, 2))
    data = replace(rows_of_numbers(inputs), features=features)
    subject = network(5, seed=10, classes=("no", "yes"), bias=1.5)
    found = searched(subject, data, n_steps=n_steps)
    every = np.array([(a, b, j) for a in range(8) for b in range(8) for j in range(3)], dtype=np.float64)
    encoded = np.column_stack([every[:, :2], every[:, 2:] == np.arange(3)]).astype(np.float32)
    turns = (subject.logits(torch.from_numpy(encoded)).diff(dim=1)[:, 0] >= 1e-5).numpy()
    far = np.abs(found.own[:, None, :2] - every[None, :, :2]) / found.table.deviations[:2]
    far = far.sum(axis=2) + (found.own[:, None, 2] != every[None, :, 2])
    exact = np.where(turns, far, np.inf).min(axis=1)
    assert len(found) >= 10
    assert found.has.tolist() == np.isfinite(exact).tolist()
    assert (found.distance >= exact - 1e-9)[found.has].all()
    assert (found.distance / exact)[found.has].mean() < 1.01


def test_a_level_that_alone_decides_is_the_only_change():
    """Cooks are refused; the nearest other level costs 1, whatever the numbers are."""
    _, data = people()
    weights = torch.zeros(2, 10)
    weights[1, 2:4] = 1.0  # clerk and nurse
    module = linear_layer(weights, torch.tensor([0.5, 0.0]))
    subject = TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=PEOPLE.classes, preprocessing=PEOPLE
    )
    found = searched(subject, data)
    assert found.has.all()
    assert {found.table.names[j] for j in np.flatnonzero(found.changed.any(axis=0))} == {"job"}
    assert found.distance.tolist() == [1.0] * len(found)
    assert {written(found.table.features[1], code) for code in found.values[:, 1]} <= {"clerk", "nurse"}


def test_the_step_to_a_linear_turn_is_the_projection_on_the_half_space_within_the_box():
    slope, missing = np.array([[3.0, -4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([5.0, 9.0, 1.0])
    low, high = np.full((3, 2), -2.0), np.full((3, 2), 2.0)
    step = nearest_turn(slope, missing, low, high, Cost(0.0, 1.0))
    assert step[0] == pytest.approx([0.6, -0.8], rel=1e-6)
    assert step[1].tolist() == [2.0, 0.0]
    assert step[2].tolist() == [0.0, 0.0]


# --- constraints -------------------------------------------------------------------------------------


def plain_violations(data, inputs, constraints):
    """The rows decoded by hand and compared word for word; one sentence for every broken constraint."""
    start, broken = 0, []
    for step in PEOPLE.features:
        is_choice = isinstance(step, CategoricalFeature)
        width = len(step.levels) if is_choice else 1 + step.missing_indicator
        where, start = slice(start, start + width), start + width
        for before, after in zip(data.inputs.double().numpy()[:, where], inputs[:, where], strict=True):
            if (before == after).all():
                continue
            if step.name in constraints.immutable | constraints.sensitive:
                broken.append(f"{step.name} changed")
            wrong = wrong_level(step, after) if is_choice else wrong_number(step, before, after, constraints)
            broken += [f"{step.name}: {before} became {after}"] if wrong else []
    return broken


def wrong_level(step, after):
    one_is_set = sorted(after) == [0.0] * (len(after) - 1) + [1.0]
    return not one_is_set or step.levels[int(after.argmax())] == "unknown"


def wrong_number(step, before, after, constraints):
    was, now = (float(side[0] * step.scale + step.mean) for side in (before, after))
    low, high = constraints.ranges.get(step.name, (-np.inf, np.inf))
    sign = {"increasing": 1, "decreasing": -1}.get(constraints.monotone.get(step.name), 0)
    is_missing = step.missing_indicator and (before[1] or after[1])
    is_outside = not low - 1e-4 <= now <= high + 1e-4
    is_broken = step.name in {"age", "loans"} and abs(now - round(now)) > 1e-4
    return is_missing or is_outside or is_broken or sign * (now - was) < 0


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    immutable=st.sets(st.sampled_from(NAMES), max_size=3),
    monotone=st.dictionaries(
        st.sampled_from(["age", "loans"]), st.sampled_from(["increasing", "decreasing"])
    ),
    ranges=st.sampled_from([{}, {"income": (20.0, 35.0)}, {"income": (33.3, 90.0), "age": (20.5, 60.5)}]),
    norm=st.sampled_from(["L1", "L2"]),
    n_steps=st.sampled_from([None, 6]),
)
def test_no_counterfactual_breaks_a_constraint(*, seed, immutable, monotone, ranges, norm, n_steps):
    """By a reading of the inputs that shares no code with the search; and the module itself says "
    "``granted``."""
    _, data = people(24, seed)
    subject = network(10, seed=seed, preprocessing=PEOPLE, bias=1.0)
    constraints = Constraints(frozenset(immutable), frozenset({"sex"}), monotone, ranges)
    found = searched(subject, data, constraints, norm=norm, n_steps=n_steps)
    own = found.data.inputs.double().numpy()
    inputs = torch.from_numpy(found.table.encode(found.values, found.own, own)).float()
    assert plain_violations(found.data, inputs.double().numpy(), constraints) == []
    assert not found.broken.any()
    decided = subject.module(inputs[found.has]).argmax(dim=1)
    assert decided.tolist() == [1] * int(found.has.sum())


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("sex", {8: 1.0, 9: 1.0}),  # two levels at once
        ("sex", {8: 0.0, 9: 0.0}),  # none
        ("sex", {8: 0.5, 9: 0.5}),  # between two
        ("job", {2: 0.0, 3: 0.0, 4: 0.0, 5: 1.0}),  # unknown
        ("age", {0: 5.0}),  # older than anyone
        ("age", {0: 0.123}),  # not whole
        ("age", {1: 1.0}),  # missing now
        ("income", {6: float("nan")}),
    ],
)
def test_the_second_look_finds_what_is_planted(feature, change):
    columns, data = people(40)
    first = int(np.flatnonzero(~np.isnan(columns["age"]) & (columns["job"] == "nurse"))[0])
    before = data.take(np.array([first])).inputs.double().numpy()
    table = read_features(data, PEOPLE)
    assert not violations(before, before, table, FREE).any()
    after = before.copy()
    for column, value in change.items():
        after[0, column] = value
    assert violations(before, after, table, FREE).all()


def test_the_second_look_finds_forbidden_directions_ranges_and_features():
    columns, data = people(40)
    row = int(np.flatnonzero(columns["loans"] == 2)[0])
    before = data.take(np.array([row])).inputs.double().numpy()
    table = read_features(data, PEOPLE)
    loans = table.features[-1]
    moved = before.copy()
    moved[0, loans.column] = (3 - loans.mean) / loans.scale
    assert not violations(before, moved, table, FREE).any()
    for constraints in (
        replace(FREE, immutable=frozenset({"loans"})),
        replace(FREE, sensitive=frozenset({"loans"})),
        replace(FREE, monotone={"loans": "decreasing"}),
        replace(FREE, ranges={"loans": (0.0, 2.0)}),
    ):
        assert violations(before, moved, table, constraints).all()


def test_values_are_those_of_the_reader_and_rows_that_stay_keep_every_bit():
    columns, data = people(50)
    table = read_features(data, PEOPLE)
    inputs = data.inputs.double().numpy()
    values = table.decode(inputs)
    assert np.array_equal(values[:, 0], columns["age"], equal_nan=True)
    assert values[:, 2] == pytest.approx(columns["income"], rel=1e-6)
    assert [written(table.features[1], code) for code in values[:3, 1]] == [
        {None: "unknown", "diver": "other"}.get(job, job) for job in columns["job"][:3]
    ]
    assert np.array_equal(table.encode(values, values, inputs), inputs)
    assert [feature.decimals for feature in (table.features[0], table.features[2])] == [0, None]


def test_large_values_are_set_apart_and_years_are_not():
    _, data = people(50)
    whole = read_features(data, PEOPLE).features[0]
    assert [written(whole, value) for value in (40116.0, 1998.0, -23400.0)] == ["40,116", "1998", "−23,400"]


def test_a_row_outside_a_range_stays_or_moves_into_it():
    data = rows_of_numbers([[0.0], [3.0], [10.0]])
    table = read_features(data, None)
    own = table.decode(data.inputs.double().numpy())
    bounds = replace(FREE, ranges={"x0": (2.0, 6.0)}).bounds(table, own)
    tried = bounds.project(np.array([[0.4], [9.0], [7.0]]))
    assert tried[:, 0].tolist() == [0.0, 6.0, 6.0]
