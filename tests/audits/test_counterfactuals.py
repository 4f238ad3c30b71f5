"""Counterfactuals against answers in closed form, exhaustive search, and a plain reading of the "
"constraints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.neighbors import NearestNeighbors
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.counterfactuals.best import Best, Search
from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.counterfactuals import Counterfactuals
from auditkit.audits.explainability.counterfactuals.distances import Distance
from auditkit.audits.explainability.counterfactuals.evidence import example_rows_of, written
from auditkit.audits.explainability.counterfactuals.found import checked
from auditkit.audits.explainability.counterfactuals.judge import Deadline, Judge
from auditkit.audits.explainability.counterfactuals.linear_step import Cost, nearest_turn
from auditkit.audits.explainability.counterfactuals.plausibility import plausibility
from auditkit.audits.explainability.counterfactuals.read_features import read_features
from auditkit.audits.explainability.counterfactuals.recheck import violations
from auditkit.audits.explainability.counterfactuals.search import Pool, find_counterfactuals
from auditkit.audits.explainability.counterfactuals.targets import targets_of
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn, TokenSpace
from auditkit.data.encoding import encode
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.data.rows import Rows
from auditkit.errors import UsageError
from auditkit.models.given_weights import linear_layer
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import PredictionsOnly, linear_subject, tiny_dataset, tiny_subject
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT

CONTEXT = AuditContext(seed=3)
FREE = Constraints(frozenset(), frozenset(), {}, {})


# --- scenes ------------------------------------------------------------------------------------------


def rows_of_numbers(inputs, *, names=(), classes=("no", "yes"), groups=None, positive="yes"):
    inputs = np.asarray(inputs, dtype=np.float32)
    names = tuple(names) or tuple(f"x{index}" for index in range(inputs.shape[1]))
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=torch.from_numpy(inputs),
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=classes,
        positive=positive,
        features=FeatureSpace(names, tuple(range(inputs.shape[1]))),
        sensitive_features={key: GroupColumn.from_values(value) for key, value in (groups or {}).items()},
    )


def searched(subject, data, constraints=FREE, *, norm="L1", n_steps=20, deadline=None, wanted=None):
    """What is found for every row that is not predicted ``wanted`` (the last class)."""
    table = read_features(data, getattr(subject, "preprocessing", None))
    constraints.check(table)
    inputs = data.inputs.double().numpy()
    said = subject.predict(data, batch_size=64).log_probabilities
    wanted = len(data.classes) - 1 if wanted is None else wanted
    rows = np.flatnonzero(said.argmax(axis=1) != wanted)
    values = table.decode(inputs)
    judge = Judge(
        subject=subject,
        data=data.take(rows),
        table=table,
        own=values[rows],
        own_inputs=inputs[rows],
        target=np.full(len(rows), wanted),
        deadline=deadline or Deadline.after(3600),
    )
    search = Search(
        judge, constraints.bounds(table, judge.own), Distance.of(table, norm), Best.none_of(judge.own)
    )
    n = find_counterfactuals(search, Pool(values, said.argmax(axis=1)), n_steps=n_steps)
    return checked(search, constraints, said[rows], n)


PEOPLE = TablePreprocessing(
    target="decision",
    classes=("refused", "granted"),
    features=(
        NumericFeature(name="age", mean=40.3, scale=11.7, fill=38.5, missing_indicator=True),
        CategoricalFeature(name="job", levels=("clerk", "nurse", "cook", "unknown")),
        NumericFeature(name="income", mean=31.27, scale=9.1, fill=30.0),
        CategoricalFeature(name="sex", levels=("female", "male")),
        NumericFeature(name="loans", mean=1.9, scale=1.3, fill=2.0),
    ),
)


def people(n=60, seed=0):
    """Rows in the units of a reader, encoded: whole ages, some unknown; incomes that are continuous."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n).astype(float)
    age[rng.random(n) < 0.1] = np.nan
    jobs = np.array(["clerk", "nurse", "cook", None, "diver"], dtype=object)
    sex = np.array(["female", "male"], dtype=object)[rng.integers(0, 2, n)]
    columns = {
        "age": age,
        "job": jobs[rng.integers(0, 5, n)],
        "income": rng.lognormal(3.4, 0.3, n),
        "sex": sex,
        "loans": rng.poisson(2, n).astype(float),
    }
    rows = Rows(
        name="people",
        source="memory",
        split="test",
        target="decision",
        labels=np.array(["refused"] * n, dtype=object),
        columns=columns,
        sensitive={"sex": sex},
        positive="granted",
    )
    return columns, encode(rows, PEOPLE)


def network(n_inputs, *, seed=0, hidden=12, classes=("refused", "granted"), preprocessing=None, bias=0.0):
    rng = np.random.default_rng(seed)

    def layer(n_out, n_in):
        weight = rng.normal(size=(n_out, n_in)) * (2 / n_in) ** 0.5
        return linear_layer(
            torch.from_numpy(weight).float(), torch.from_numpy(rng.normal(size=n_out)).float() * 0.1
        )

    last = layer(len(classes), hidden)
    with torch.no_grad():
        last.bias[-1] -= bias
    module = nn.Sequential(layer(hidden, n_inputs), nn.ReLU(), last)
    return TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=classes, preprocessing=preprocessing
    )


def figure(output, metric, **group):
    (found,) = [one for one in output.measurements if one.metric == metric and one.group == group]
    return found


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


NAMES = ("age", "job", "income", "sex", "loans")


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


# --- what others were complained of ------------------------------------------------------------------


class Ticking:
    """A clock that moves by one second every time it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_it_stops_when_the_time_is_up_and_keeps_what_was_found():
    data, subject = tiny_dataset(260), tiny_subject()
    counts = []
    for seconds in (40, 100_000):
        clock = Ticking()
        found = searched(subject, data, n_steps=5, deadline=Deadline.after(seconds, clock))
        counts.append((found.n_searched < len(found), int(found.has.sum()), clock.now))
    (struck, some, ticks), (done, every, _) = counts
    assert struck
    assert not done
    assert 0 < some < every
    assert ticks <= 43  # nothing is asked after the first look that is too late


def test_a_budget_that_is_spent_at_once_is_a_result_with_its_reason():
    output = Counterfactuals(time_budget_s=1e-9).measure(tiny_subject(), tiny_dataset(), CONTEXT)
    validity = figure(output, "validity")
    assert validity.value == 0.0
    assert validity.interval.method == "clopper-pearson"
    assert f"{validity.n} not searched to the end" in str(validity.note)
    assert any("time budget of 1e-09 s was spent" in str(note) for note in output.notes)
    assert figure(output, "distance").missing is not None
    assert not output.evidence


def test_with_everything_immutable_none_is_found_and_the_reason_is_said():
    data = tiny_dataset()
    audit = Counterfactuals(immutable=data.features.names, n_steps=3)
    output = audit.measure(tiny_subject(), data, CONTEXT)
    assert figure(output, "validity").value == 0.0
    assert str(figure(output, "validity").note) == "No feature of any row may change under these constraints."
    assert str(figure(output, "distance").missing) == "No row has a counterfactual."
    assert str(figure(output, "distance", group="a").missing) == "No row of this group has a counterfactual."
    gap = next(one for one in output.measurements if one.metric == "distance.difference")
    assert str(gap.missing).endswith("none at all: a, b.")


def test_a_subject_that_never_decides_otherwise_has_none_within_the_budget():
    data = tiny_dataset()
    output = Counterfactuals(n_steps=3).measure(linear_subject(np.zeros(5)), data, CONTEXT)
    assert figure(output, "validity").value == 0.0
    assert "for the others none was found" in str(figure(output, "validity").note)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_immutable_features_stay_whatever_gradients_say(norm):
    """The strongest feature is held: the decision turns through the others."""
    data = rows_of_numbers(np.random.default_rng(5).normal(size=(60, 3)))
    constraints = replace(FREE, immutable=frozenset({"x0"}))
    found = searched(linear_subject([10.0, 1.0, -5.0]), data, constraints, norm=norm)
    assert found.has.any()
    assert not found.changed[:, 0].any()
    assert found.changed[found.has][:, 1:].any(axis=1).all()


def test_with_several_classes_the_favourable_one_is_reached_else_the_runner_up():
    data, subject = tiny_dataset(60, classes=4), tiny_subject(4)
    found = searched(subject, data, n_steps=10, wanted=2)
    assert found.has.all()
    assert (found.after.argmax(axis=1) == 2).all()
    said = subject.predict(data, batch_size=64).log_probabilities
    targets = targets_of(said, data.classes, None, gives_probabilities=True)
    assert targets.rows.tolist() == list(range(60))
    assert targets.wanted.tolist() == np.argsort(-said, axis=1)[:, 1].tolist()
    output = Counterfactuals(n_steps=10).measure(subject, replace(data, positive=None), CONTEXT)
    assert figure(output, "validity").value == 1.0


# --- subjects ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers", [{"predictions"}, {"predictions", "probabilities"}], ids=["labels", "probabilities"]
)
def test_a_black_box_is_searched_without_gradients(answers):
    data = tiny_dataset(60)
    subject = PredictionsOnly(tiny_subject(), frozenset(answers))
    output = Counterfactuals().measure(subject, data, CONTEXT)
    assert figure(output, "validity").value > 0.95
    assert figure(output, "constraint_violations").value == 0
    assert any("shows no gradients" in str(note) for note in output.notes)
    open_box = Counterfactuals(n_steps=10).measure(tiny_subject(), data, CONTEXT)
    assert figure(output, "distance").value < 1.3 * figure(open_box, "distance").value


def test_without_probabilities_and_favourable_label_the_most_frequent_other_label_is_wanted():
    said = predicting([0, 1, 1, 2, 1, 2], classes=("a", "b", "c")).log_probabilities
    wanted = targets_of(said, ("a", "b", "c"), None, gives_probabilities=False).wanted
    assert wanted.tolist() == [1, 2, 2, 1, 2, 1]


def test_pictures_and_tokens_are_left_out_with_the_reason():
    picture = replace(rows_of_numbers(np.zeros((4, 4))), features=FeatureSpace((), (), (2, 2)))
    tokens = replace(
        rows_of_numbers(np.zeros((4, 4))), features=FeatureSpace((), tokens=TokenSpace(("a", "b")))
    )
    for data in (picture, tokens):
        output = Counterfactuals().measure(linear_subject(np.ones(4)), data, CONTEXT)
        assert {str(one.missing).split(":")[0] for one in output.measurements} == {"The inputs are no table"}


def test_a_subject_asked_again_that_changes_its_mind_loses_its_counterfactuals():
    """Valid while it is searched, not when it is asked about again."""

    class Fickle:
        card = predicting([0]).card
        capabilities = frozenset({"predictions", "probabilities"})

        def __init__(self, last):
            self.last = last

        def predict(self, data, *, batch_size):
            yes = (data.inputs[:, 0].numpy() > 0) & (len(data) != self.last)
            return Predictions(np.log(np.where(yes[:, None] == [False, True], 0.9, 0.1)))

    data = rows_of_numbers(np.linspace(-2, -1, 31)[:, None].repeat(2, axis=1))
    constraints = replace(FREE, ranges={"x0": (-3.0, 3.0)})
    assert searched(Fickle(None), data, constraints, n_steps=None).has.all()
    # all rows together are what is asked about last
    found = searched(Fickle(31), data, constraints, n_steps=None)
    assert found.n_withdrawn > 0
    assert not found.has.any()


# --- figures -----------------------------------------------------------------------------------------


def test_batches_of_any_size_give_the_same_figures():
    _, data = people(80)
    subject = network(10, seed=1, preprocessing=PEOPLE, bias=1.0)
    first, second = (
        Counterfactuals(n_steps=8).measure(subject, data, AuditContext(seed=3, batch_size=size))
        for size in (16, 256)
    )
    assert first == second


def test_sensitive_inputs_do_not_change_unless_that_is_asked_for():
    """The model reads sex alone."""
    _, data = people(60)
    weights = torch.zeros(2, 10)
    weights[1, 7], weights[0, 8] = 1.0, 1.0
    subject = TorchSubject.build(
        linear_layer(weights),
        architecture=Architecture(name="test"),
        classes=PEOPLE.classes,
        preprocessing=PEOPLE,
    )
    held = Counterfactuals(n_steps=3).measure(subject, data, CONTEXT)
    assert figure(held, "validity").value == 0.0
    free = Counterfactuals(n_steps=3, change_sensitive=True).measure(subject, data, CONTEXT)
    assert figure(free, "validity").value == 1.0
    assert figure(free, "features_changed").value == 1.0
    assert any("sex" in str(note) and "not changed" in str(note) for note in held.notes)


def test_the_gap_between_groups_is_the_shift_that_was_planted():
    """Of one number: those of group b stand one and a half deviations farther from the threshold."""
    rng = np.random.default_rng(7)
    score = -rng.random(200) - 0.5
    is_b = np.arange(200) % 2 == 1
    data = rows_of_numbers((score - 1.5 * is_b)[:, None], groups={"group": np.where(is_b, "b", "a").tolist()})
    audit = Counterfactuals(ranges={"x0": (-10.0, 10.0)}, n_steps=3)
    output = audit.measure(linear_subject([2.0]), data, CONTEXT)
    values = data.inputs[:, 0].double().numpy()
    unit = np.median(np.abs(values - np.median(values)))
    exact = {level: -values[is_b == (level == "b")].mean() / unit for level in "ab"}
    for level in "ab":
        assert figure(output, "distance", group=level).value == pytest.approx(exact[level], rel=0.006)
        assert figure(output, "validity", group=level).value == 1.0
    (gap,) = [one for one in output.measurements if one.metric == "distance.difference"]
    assert gap.value == pytest.approx(exact["b"] - exact["a"], rel=0.01)
    assert gap.interval.low > 0
    assert "Farthest: b" in str(gap.note)


def test_a_group_without_any_is_named():
    """Rows of c are barred by a feature that may not change; of d none is unfavourable."""
    score = np.concatenate([np.linspace(-2, -1, 20), np.full(10, -50.0), np.ones(5)])
    groups = ["a", "b"] * 10 + ["c"] * 10 + ["d"] * 5
    data = rows_of_numbers(score[:, None], groups={"group": groups})
    subject = linear_subject([1.0])
    output = Counterfactuals(monotone={"x0": "increasing"}, n_steps=3).measure(subject, data, CONTEXT)
    assert figure(output, "validity", group="c").value == 1.0
    assert str(figure(output, "validity", group="d").missing) == "No row of this group is explained."
    blocked = replace(data, inputs=torch.cat([data.inputs, (data.inputs < -9).float()], dim=1))
    blocked = replace(blocked, features=FeatureSpace(("score", "barred"), (0, 1)))
    audit = Counterfactuals(immutable=("barred",), n_steps=3)
    output = audit.measure(linear_subject([1.0, -900.0]), blocked, CONTEXT)
    assert figure(output, "validity", group="a").value == 1.0
    assert figure(output, "validity", group="c").value == 0.0
    (gap,) = [one for one in output.measurements if one.metric == "distance.difference"]
    assert str(gap.note).endswith("No counterfactual at all: c.")


def test_the_distance_to_neighbours_is_that_of_an_independent_search():
    rng = np.random.default_rng(8)
    rows, values = rng.normal(size=(80, 3)), rng.normal(size=(20, 3)) + 2
    distance = Distance(np.array([0.5, 1.0, 2.0]), np.arange(3), "L1")
    own = np.arange(20)
    found = plausibility(values, rows, own, distance, k=4)
    scaled = NearestNeighbors(metric="manhattan").fit(rows / distance.deviations)
    typical = np.median(scaled.kneighbors(n_neighbors=4)[0].mean(axis=1))
    assert found.typical == pytest.approx(typical, **FLOAT)
    far, near = scaled.kneighbors(values / distance.deviations, n_neighbors=5)
    for row in range(20):
        kept = far[row][near[row] != row][:4]
        assert found.ratios[row] == pytest.approx(kept.mean() / typical, **FLOAT)


def test_rows_of_one_person_widen_the_intervals():
    data = tiny_dataset(160)
    doubled = replace(data.take(np.repeat(np.arange(40), 4)), person=np.repeat(np.arange(40), 4))
    alone = replace(doubled, person=None)
    audit = Counterfactuals(n_steps=5)
    widths = [
        (one.interval.high - one.interval.low)
        for rows in (doubled, alone)
        for one in [figure(audit.measure(tiny_subject(), rows, CONTEXT), "distance")]
    ]
    assert widths[0] > 1.5 * widths[1]


def test_examples_are_the_median_the_nearest_and_the_farthest():
    data = rows_of_numbers(-np.arange(1.0, 8.0)[:, None])
    found = searched(linear_subject([1.0]), data, replace(FREE, ranges={"x0": (-10.0, 5.0)}), n_steps=2)
    assert example_rows_of(found) == ((3, "median"), (0, "nearest"), (6, "farthest"))
    audit = Counterfactuals(ranges={"x0": (-10.0, 5.0)}, n_steps=2)
    tables = [
        one for one in audit.measure(linear_subject([1.0]), data, CONTEXT).evidence if one.kind == "table"
    ]
    assert str(tables[0].title) == "At the median distance, x0 alone turns no into yes"
    assert tables[0].rows[0][:3] == ("x0", "−4", "1")


def test_favourable_rows_are_not_explained():
    data = rows_of_numbers(np.ones((5, 1)))
    output = Counterfactuals().measure(linear_subject([1.0]), data, CONTEXT)
    assert {str(one.missing) for one in output.measurements} == {"No row is predicted otherwise than yes."}


def test_a_table_of_predictions_cannot_be_asked():
    from auditkit.subjects.predictions_table import PredictionsTable

    told = PredictionsTable(predicting([0, 1]).card, PEOPLE, gives_probabilities=False)
    output = Counterfactuals().measure(told, table_data([0, 1]), CONTEXT)
    assert {str(one.missing).split(":")[0] for one in output.measurements} == {
        "The predictions come from a table"
    }


def test_constraints_on_what_is_no_number_or_no_input_are_refused_all_at_once():
    _, data = people()
    audit = Counterfactuals(
        immutable=("agee",), monotone={"job": "increasing"}, ranges={"income": (9.0, 2.0), "sex": (0.0, 1.0)}
    )
    with pytest.raises(UsageError) as caught:
        audit.measure(network(10, preprocessing=PEOPLE), data, CONTEXT)
    for words in (
        "immutable: 'agee' is no input. Did you mean 'age'?",
        "monotone: 'job' has levels, expected a number",
        "ranges: 'sex' has levels",
        "ranges: 'income' runs from 9 to 2, expected the smaller value first",
    ):
        assert words in str(caught.value)
