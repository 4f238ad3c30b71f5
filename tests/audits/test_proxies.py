"""Proxies: closed form of a linear proxy, silence on noise, plain references, what is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.proxies import Proxies
from auditkit.audits.fairness.proxies_inputs import probe_inputs
from auditkit.audits.fairness.proxies_layer import penultimate
from auditkit.audits.fairness.proxies_probes import linear_probe
from auditkit.audits.fairness.proxies_rows import attribute_rows
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn
from auditkit.errors import DataError
from auditkit.execution.isolation import unchanged
from auditkit.models.given_weights import linear_layer
from auditkit.records import Message
from auditkit.selftest.subjects import logistic, rows_of, subject_of
from auditkit.testing import PredictionsOnly
from tests.fakes import scoring, table_data
from tests.tolerances import statistical

CONTEXT = AuditContext(seed=3)
QUICK = Proxies(n_permutations=39, neutralised=1)


def figures(output):
    return {
        f"{one.metric}[{','.join([f'{k}={v}' for k, v in one.group.items()] + list(one.across))}]": one
        for one in output.measurements
    }


def gaussian(n, distance, *, columns=3, seed=0, weights=(1.0, 1.0, 1.0)):
    """Two equal groups; the last column lies ``distance`` higher in the second."""
    rng = np.random.default_rng(seed)
    is_b = rng.permutation(n) % 2 == 1
    inputs = rng.normal(size=(n, columns))
    inputs[:, -1] += distance * is_b
    data = rows_of(inputs, inputs[:, 0] > 0, groups={"g": np.where(is_b, "b", "a").tolist()})
    return logistic(weights[:columns]), data


def hidden(*layers):
    """A module whose layer before the last gives exactly ``layers`` of the inputs."""
    first = torch.tensor(layers, dtype=torch.float32)
    return subject_of(
        nn.Sequential(
            linear_layer(first), linear_layer(torch.tensor([[0.0] * len(layers), [1.0] * len(layers)]))
        )
    )


# --- right figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_a_linear_proxy_has_the_area_of_its_closed_form(distance):
    subject, data = gaussian(4000, distance)
    found = figures(QUICK.measure(subject, data, CONTEXT))
    truth = norm.cdf(distance / np.sqrt(2))
    assert found["inputs.auc[g]"].value == pytest.approx(truth, abs=0.02)
    assert found["inputs.auc.boosted[g]"].value == pytest.approx(truth, abs=0.03)
    assert found["inputs.auc[g]"].interval.low < truth < found["inputs.auc[g]"].interval.high + 0.005
    assert found["telling_features[g]"].value == 1


def test_the_score_has_the_area_of_what_it_keeps_of_the_proxy():
    """Log-odds are the sum of the proxy and of noise of variance 3: distance 1 becomes 1 / 2."""
    subject, data = gaussian(4000, 1.0, columns=4, weights=(1.0, 1.0, 1.0, 1.0))
    found = figures(QUICK.measure(subject, data, CONTEXT))
    assert found["score.auc[g]"].value == pytest.approx(norm.cdf(0.5 / np.sqrt(2)), abs=0.02)


def test_a_score_that_puts_one_group_in_the_middle_gives_it_away():
    rng = np.random.default_rng(1)
    is_b = np.arange(2000) % 2 == 1
    score = np.where(is_b, rng.normal(size=2000) * 0.2, np.sign(rng.normal(size=2000)) * 2)
    data = rows_of(score[:, None], score > 0, groups={"g": np.where(is_b, "b", "a").tolist()})
    found = figures(QUICK.measure(logistic([1.0]), data, CONTEXT))
    assert found["score.auc[g]"].value > 0.9
    assert abs(roc_auc_score(is_b, score) - 0.5) < 0.05


def test_a_layer_that_forgets_the_proxy_does_not_tell_the_group():
    _, data = gaussian(2000, 2.0)
    keeps, forgets = hidden([0, 0, 1], [1, 0, 0]), hidden([1, 0, 0], [0, 1, 0])
    kept, forgotten = (figures(QUICK.measure(one, data, CONTEXT))["layer.auc[g]"] for one in (keeps, forgets))
    assert kept.value == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.02)
    assert forgotten.interval.low < 0.5 < forgotten.interval.high + 0.03


def test_the_linear_probe_agrees_with_scikit_learns_logistic_regression():
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 1500)
    inputs = rng.normal(size=(1500, 5))
    inputs[:, :3] += 1.2 * (codes[:, None] == np.arange(3))
    data = rows_of(inputs, inputs[:, 0] > 0, groups={"g": np.array(["x", "y", "z"])[codes].tolist()})
    rows = attribute_rows(data, "g", folds=5, max_rows=5000, rng=rng)
    columns = probe_inputs(data, without=()).spread
    own = linear_probe(columns, rows, n_permutations=19, rng=rng, confidence=0.95)
    scores = cross_val_predict(LogisticRegression(), inputs, codes, cv=5, method="predict_proba")
    assert own.auc == pytest.approx(roc_auc_score(codes, scores, multi_class="ovr"), abs=0.01)


def test_trees_find_what_needs_two_inputs_together():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(1500, 2))
    is_b = (inputs[:, 0] > 0) ^ (inputs[:, 1] > 0)
    data = rows_of(inputs, inputs[:, 0] > 0, groups={"g": np.where(is_b, "b", "a").tolist()})
    found = figures(QUICK.measure(logistic([1.0, 0.0]), data, CONTEXT))
    assert found["inputs.auc.boosted[g]"].value > 0.95
    assert found["inputs.auc[g]"].value < 0.6


def test_the_gap_that_hangs_on_an_input_is_what_shuffling_takes_away():
    """Selected where the proxy exceeds 0: without it both groups are selected alike."""
    subject, data = gaussian(4000, 1.0, weights=(0.0, 0.0, 1.0))
    found = figures(QUICK.measure(subject, data, CONTEXT))["gap_carried[feature=x2,g]"]
    gap = norm.cdf(1.0) - 0.5
    assert found.interval.low < gap < found.interval.high
    assert found.value == pytest.approx(gap, abs=0.03)


def test_no_gap_hangs_on_an_input_that_is_not_read():
    subject, data = gaussian(1000, 2.0, weights=(1.0, 1.0, 0.0))
    found = figures(QUICK.measure(subject, data, CONTEXT))["gap_carried[feature=x2,g]"]
    assert found.value == 0.0
    assert found.interval.low < 0 < found.interval.high


def test_weights_that_are_all_alike_change_nothing():
    subject, data = gaussian(300, 1.0)
    plain = figures(QUICK.measure(subject, data, CONTEXT))
    weighted = figures(QUICK.measure(subject, replace(data, sample_weight=np.full(300, 2.0)), CONTEXT))
    assert {key: one.value for key, one in plain.items()} == {key: one.value for key, one in weighted.items()}


def test_rows_without_weight_change_nothing():
    subject, data = gaussian(300, 1.0)
    mixed = replace(
        data.take(np.concatenate([np.arange(300), np.arange(50)])),
        sample_weight=np.concatenate([np.ones(300), np.zeros(50)]),
    )
    plain, weighted = (figures(QUICK.measure(subject, one, CONTEXT)) for one in (data, mixed))
    assert {key: one.value for key, one in plain.items()} == {key: one.value for key, one in weighted.items()}


# --- silence on noise --------------------------------------------------------------------------------


@pytest.mark.proof
def test_on_noise_a_proxy_is_shown_no_more_often_than_declared():
    tests, shown, covered = 60, 0, 0
    for seed in range(tests):
        subject, data = gaussian(200, 0.0, seed=seed)
        output = Proxies(n_permutations=39, neutralised=0, folds=2).measure(
            subject, data, AuditContext(seed=seed)
        )
        found = figures(output)
        title = next(one.title.text for one in output.evidence if one.kind == "dots")
        shown += not title.startswith("Nothing examined")
        shown += found["telling_features[g]"].value > 0
        covered += found["inputs.auc[g]"].interval.low <= 0.5
    # two families, each with a chance of 0.05
    assert shown / tests < 0.1 + statistical(tests, p=0.1)
    assert covered / tests > 0.975 - statistical(tests, p=0.975)


def test_a_person_with_many_rows_is_not_evidence_many_times():
    """Every person has one value and one group. Splitting persons would foretell them all."""
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(60), 10)
    inputs = rng.normal(size=(60, 6))[person]
    is_b = (rng.permutation(60) % 2 == 1)[person]
    data = rows_of(inputs, inputs[:, 0] > 0, groups={"g": np.where(is_b, "b", "a").tolist()})
    kept = figures(QUICK.measure(logistic([1.0] * 6), replace(data, person=person), CONTEXT))
    split = figures(QUICK.measure(logistic([1.0] * 6), data, CONTEXT))
    assert split["inputs.auc.boosted[g]"].interval.low > 0.9
    assert kept["inputs.auc.boosted[g]"].interval.low < 0.5
    assert kept["inputs.auc[g]"].interval.low < 0.5
    assert kept["telling_features[g]"].value == 0
    assert split["telling_features[g]"].value > 0


# --- what is left out, and what is missing -----------------------------------------------------------


def with_own_column(n=600):
    subject, data = gaussian(n, 0.0)
    is_b = data.sensitive_features["g"].codes
    inputs = torch.column_stack([data.inputs[:, :2], torch.from_numpy(is_b).float()])
    return subject, replace(data, inputs=inputs, features=FeatureSpace(("x0", "x1", "g"), (0, 1, 2)))


def test_the_attribute_itself_is_left_out_of_the_probes_of_inputs_and_said():
    subject, data = with_own_column()
    output = QUICK.measure(subject, data, CONTEXT)
    found = figures(output)
    assert found["inputs.auc[g]"].value < 0.6
    assert any("itself is among the inputs" in note.text for note in output.notes)
    kept = figures(QUICK.model_copy(update={"keep_attribute": True}).measure(subject, data, CONTEXT))
    assert kept["inputs.auc[g]"].value == 1.0


def test_a_black_box_has_inputs_and_scores_but_no_layer():
    subject, data = gaussian(400, 1.0)
    outside = PredictionsOnly(subject, frozenset({"predictions", "probabilities"}))
    found = figures(QUICK.measure(outside, data, CONTEXT))
    assert found["layer.auc[g]"].value is None
    assert "only answers" in str(found["layer.auc[g]"].missing)
    assert found["inputs.auc[g]"].value > 0.6
    assert found["score.auc[g]"].value > 0.5


def test_a_subject_without_hidden_layer_says_so():
    subject, data = gaussian(200, 1.0)
    found = figures(QUICK.measure(subject, data, CONTEXT))
    assert "no hidden layer" in str(found["layer.auc[g]"].missing)


def test_labels_alone_are_a_score():
    subject, data = gaussian(2000, 2.0, weights=(0.0, 0.0, 1.0))
    output = QUICK.measure(PredictionsOnly(subject), data, CONTEXT)
    is_b, chosen = data.sensitive_features["g"].codes, data.inputs[:, 2].numpy() > 0
    expected = 0.5 + abs(chosen[is_b == 1].mean() - chosen[is_b == 0].mean()) / 2
    assert figures(output)["score.auc[g]"].value == pytest.approx(expected, abs=0.01)
    assert any("no probabilities" in note.text for note in output.notes)


def test_pictures_have_no_columns_to_read():
    subject, data = gaussian(200, 1.0, columns=4, weights=(1.0,) * 4)
    picture = replace(data, features=FeatureSpace((), (), (2, 2)))
    found = figures(QUICK.measure(subject, picture, CONTEXT))
    for name in ("inputs.auc[g]", "inputs.auc.boosted[g]", "telling_features[g]", "gap_carried[g]"):
        assert "no table" in str(found[name].missing)
    assert found["score.auc[g]"].value is not None


def test_unknown_rows_are_left_out_and_counted():
    subject, data = gaussian(400, 1.0)
    names = [
        None if row < 40 else name
        for row, name in enumerate(np.array(["a", "b"])[data.sensitive_features["g"].codes])
    ]
    some = replace(data, sensitive_features={"g": GroupColumn.from_values(names)})
    output = QUICK.measure(subject, some, CONTEXT)
    assert figures(output)["inputs.auc[g]"].n == 360
    assert any(note.values.get("n") == 40 for note in output.notes)


@pytest.mark.parametrize("names", [["a"] * 40, [None] * 40, ["a"] * 39 + ["b"]])
def test_too_few_levels_have_a_reason(names):
    data = table_data([0, 1] * 20, sensitive_features={"g": names})
    for one in QUICK.measure(scoring(np.linspace(0, 1, 40)), data, CONTEXT).measurements:
        assert one.value is None
        assert "Fewer than two levels" in str(one.missing)


def test_a_level_of_few_rows_is_left_out_and_named():
    subject, data = gaussian(300, 1.0)
    names = np.array(["a", "b"])[data.sensitive_features["g"].codes].astype(object)
    names[:3] = "rare"
    output = QUICK.measure(
        subject, replace(data, sensitive_features={"g": GroupColumn.from_values(names.tolist())}), CONTEXT
    )
    assert any(note.values.get("levels") == "rare" for note in output.notes)
    assert figures(output)["inputs.auc[g]"].n == 297


def test_no_weight_at_all_is_refused():
    subject, data = gaussian(50, 1.0)
    with pytest.raises(DataError, match="weight 0"):
        QUICK.measure(subject, replace(data, sample_weight=np.zeros(50)), CONTEXT)


def test_texts_and_missing_numbers_are_read_as_they_are():
    rng = np.random.default_rng(6)
    town, age = rng.integers(0, 3, 500).astype(float), rng.normal(40, 10, 500)
    age[::7] = np.nan
    data = Dataset(
        name="raw",
        source="memory",
        split=None,
        inputs=torch.from_numpy(np.column_stack([town, age])),
        y_true=np.zeros(500, dtype=np.int64),
        classes=("no", "yes"),
        features=FeatureSpace(("town", "age"), (0, 1), levels=(("x", "y", "z"), ())),
        sensitive_features={"g": GroupColumn(("a", "b"), (town == 2).astype(np.int64))},
    )
    found = probe_inputs(data, without=())
    assert np.isfinite(found.spread).all()
    assert found.categorical.tolist() == [True, False]
    rows = attribute_rows(data, "g", folds=5, max_rows=1000, rng=rng)
    assert linear_probe(found.spread, rows, n_permutations=19, rng=rng, confidence=0.95).auc == 1.0


# --- the last hidden layer ---------------------------------------------------------------------------


def test_the_last_hidden_layer_is_what_the_last_weights_read_whatever_the_batch():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 2))
    subject, (_, data) = subject_of(module), gaussian(50, 1.0)
    expected = module[:4](data.inputs).detach().double().numpy()
    with unchanged(subject, seed=0) as watch:
        for size in (3, 16, 50, 64):
            found = penultimate(subject, data, batch_size=size, rng=np.random.default_rng(0))
            assert found.columns == pytest.approx(expected, abs=1e-6)
    assert watch.violations == []


def test_a_wide_layer_is_projected():
    torch.manual_seed(0)
    subject, (_, data) = subject_of(nn.Sequential(nn.Linear(3, 700), nn.Linear(700, 2))), gaussian(20, 1.0)
    found = penultimate(subject, data, batch_size=16, rng=np.random.default_rng(0))
    assert found.columns.shape == (20, 512)
    assert found.width == 700


def test_a_layer_called_twice_has_a_reason():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.register_buffer("cut", torch.eye(3)[:, :2])

        def forward(self, rows):
            return self.layer(self.layer(rows)) @ self.cut

    torch.manual_seed(0)
    _, data = gaussian(20, 1.0)
    found = penultimate(subject_of(Twice()), data, batch_size=16, rng=np.random.default_rng(0))
    assert isinstance(found.columns, Message)


def test_folds_keep_persons_together_and_levels_balanced():
    _, data = gaussian(300, 1.0)
    person = np.arange(300) // 3
    codes = np.repeat(np.arange(100) % 2, 3)
    data = replace(data, person=person, sensitive_features={"g": GroupColumn(("a", "b"), codes)})
    rows = attribute_rows(data, "g", folds=5, max_rows=1000, rng=np.random.default_rng(0))
    assert all(len(set(rows.folds[person == one])) == 1 for one in range(100))
    counts = np.array([np.bincount(rows.folds[rows.codes == level], minlength=5) for level in (0, 1)])
    assert (counts == 30).all()
    for codes in rows.permuted(5, np.random.default_rng(1)):
        assert all(len(set(codes[person == one])) == 1 for one in range(100))
        assert np.bincount(codes).tolist() == [150, 150]


def test_the_areas_of_two_levels_are_one():
    """Foretelling b is foretelling a: swapping the names of two groups changes nothing."""
    subject, data = gaussian(400, 1.0)
    swapped = replace(
        data, sensitive_features={"g": GroupColumn(("a", "b"), 1 - data.sensitive_features["g"].codes)}
    )
    first, second = (figures(QUICK.measure(subject, one, CONTEXT)) for one in (data, swapped))
    assert first["inputs.auc[g]"].value == pytest.approx(second["inputs.auc[g]"].value, abs=0.01)
    assert first["telling_features[g]"].value == second["telling_features[g]"].value
