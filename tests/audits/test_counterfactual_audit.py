"""What others were complained of, the subjects that can be asked, and the figures of the audit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.counterfactuals.counterfactuals import Counterfactuals
from auditkit.audits.explainability.counterfactuals.distances import Distance
from auditkit.audits.explainability.counterfactuals.evidence import example_rows_of
from auditkit.audits.explainability.counterfactuals.judge import Deadline
from auditkit.audits.explainability.counterfactuals.plausibility import plausibility
from auditkit.audits.explainability.counterfactuals.targets import targets_of
from auditkit.config.model import Architecture
from auditkit.data.dataset import FeatureSpace, TokenSpace
from auditkit.errors import UsageError
from auditkit.models.given_weights import linear_layer
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import PredictionsOnly, linear_subject, tiny_dataset, tiny_subject
from tests.audits.counterfactual_scenes import (
    CONTEXT,
    FREE,
    PEOPLE,
    figure,
    network,
    people,
    rows_of_numbers,
    searched,
)
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT

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
