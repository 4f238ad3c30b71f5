"""Attributions against models whose explanation is known."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.example_rows import example_rows
from auditkit.audits.explainability.explained_features import importances
from auditkit.audits.explainability.explained_score import LogitScore, LogOddsScore
from auditkit.audits.explainability.integrated_gradients import Precision, integrated_gradients
from auditkit.audits.explainability.rank_agreement import spearman_by_row
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.data.preprocessing import ImagePreprocessing, NumericFeature, TablePreprocessing
from auditkit.errors import DataError
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject, weights_digest
from auditkit.testing import PredictionsOnly
from tests.tolerances import FLOAT32, SAME_RUN

CONTEXT = AuditContext(seed=3)
TABLE = FeatureSpace(("age", "city", "noise"), (0, 1, 1, 2))


def subject_of(module, *, classes=("no", "yes"), preprocessing=None):
    return TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=classes, preprocessing=preprocessing
    )


def linear(weights, bias=0.0):
    """Logits ``(0 * x + 0, w.x + b)`` with two outputs of their own."""
    weights = torch.as_tensor(weights, dtype=torch.float32)
    module = nn.Linear(len(weights), 2)
    with torch.no_grad():
        module.weight.copy_(torch.stack([-weights, weights]))
        module.bias.copy_(torch.tensor([-bias, bias]))
    return module


def mlp(n_inputs=4, n_classes=2, seed=0, hidden=16):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return nn.Sequential(nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))


def dataset(inputs, *, features=FeatureSpace(()), classes=("no", "yes"), y_true=None, **more):  # noqa: B008 - frozen
    y_true = np.zeros(len(inputs), dtype=np.int64) if y_true is None else np.asarray(y_true)
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=inputs,
        y_true=y_true,
        classes=classes,
        features=features,
        **more,
    )


def normal(n=64, d=4, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def figures(output):
    return {(m.metric, m.group.get("feature")): m for m in output.measurements}


def test_importance_of_a_linear_model_is_known_and_a_zero_weight_has_none():
    weights, inputs = np.array([2.0, -1.0, 1.5, 0.0]), normal()
    found = figures(
        Attribution().measure(subject_of(linear(weights)), dataset(inputs, features=TABLE), CONTEXT)
    )
    x = inputs.double().numpy()
    by_hand = {
        "age": np.abs(2.0 * x[:, 0]).mean(),
        "city": np.abs(-1.0 * x[:, 1] + 1.5 * x[:, 2]).mean(),
        "noise": 0.0,
    }
    for name, expected in by_hand.items():
        figure = found["importance", name]
        assert figure.value == pytest.approx(expected, **FLOAT32)
        assert figure.unit == "nat"
        assert figure.interval.low <= figure.value <= figure.interval.high
        assert found["importance_share", name].value == pytest.approx(
            expected / sum(by_hand.values()), **FLOAT32
        )
    noise = found["importance", "noise"]
    assert (noise.value, noise.interval.low, noise.interval.high) == (0.0, 0.0, 0.0)
    assert found["convergence_delta.share_within", None].value == 1.0


def test_rows_that_get_too_few_gradients_are_said_not_to_add_up():
    subject, inputs = subject_of(mlp(seed=5, hidden=64)), normal(n=64)
    few, enough = (
        figures(Attribution(max_evaluations=most).measure(subject, dataset(inputs), CONTEXT))
        for most in (16, 1024)
    )
    key = "convergence_delta.share_within", None
    assert few[key].value < 0.5
    assert enough[key].value == 1.0
    assert enough["convergence_delta.median", None].value < few["convergence_delta.median", None].value
    assert few[key].note.values["most"] <= 16 < enough[key].note.values["most"]


def test_the_gap_is_the_distance_from_the_change_of_the_score():
    subject, inputs = subject_of(mlp()), normal(n=8)
    path = StraightPath(
        LogitScore(subject), inputs, torch.zeros(1, 4), torch.ones(8, dtype=torch.int64), torch.clone, 8
    )
    found = integrated_gradients(path, Precision(max_evaluations=16))
    with torch.no_grad():
        change = (subject.logits(inputs) - subject.logits(torch.zeros(1, 4)))[:, 1].double().numpy()
    assert found.change == pytest.approx(change, **FLOAT32)
    assert found.gap == pytest.approx(np.abs(found.values.sum(axis=1) - change), **FLOAT32)


def test_a_step_function_is_reported_as_not_adding_up():
    class Step(nn.Module):
        def forward(self, inputs):
            steps = torch.round(inputs) + 0 * inputs
            return torch.stack([-steps.sum(1), steps.sum(1)], dim=1)

    found = figures(Attribution().measure(subject_of(Step()), dataset(normal() * 3), CONTEXT))
    assert found["convergence_delta.share_within", None].value < 0.2  # rows whose sum is 0 add up by chance


def test_batch_size_changes_nothing():
    subject, data = subject_of(mlp(seed=2)), dataset(normal(n=50), features=TABLE)
    whole = Attribution().measure(subject, data, AuditContext(seed=3, batch_size=256))
    parts = Attribution().measure(subject, data, AuditContext(seed=3, batch_size=3))
    for first, second in zip(whole.measurements, parts.measurements, strict=True):
        assert first.value == pytest.approx(second.value, **SAME_RUN)
        assert first.interval.low == pytest.approx(second.interval.low, **SAME_RUN)


def test_the_same_seed_gives_the_same_output_and_another_seed_other_rows():
    subject, data = subject_of(mlp()), dataset(normal(n=200), features=TABLE)
    audit = Attribution(max_rows=20)
    first, again, other = (
        audit.measure(subject, data, AuditContext(seed=seed)).measurements for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other
    assert {m.n for m in first} == {20}


@pytest.mark.parametrize("trainable", [True, False])
def test_the_module_is_left_untouched(trainable):
    module = mlp().requires_grad_(trainable)
    subject = subject_of(module)
    digest, hooks = weights_digest(module), [len(m._forward_hooks) for m in module.modules()]
    Attribution().measure(subject, dataset(normal()), CONTEXT)
    assert weights_digest(module) == digest
    assert [p.grad for p in module.parameters()] == [None] * 4
    assert {p.requires_grad for p in module.parameters()} == {trainable}
    assert [len(m._forward_hooks) + len(m._backward_hooks) for m in module.modules()] == hooks
    assert not module.training


def test_the_module_is_left_untouched_when_the_audit_raises():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = mlp(), 0

        def forward(self, inputs):
            self.calls += 1
            if self.calls > 4:
                raise RuntimeError("worn out")
            return self.inner(inputs)

    module = Fails()
    subject = subject_of(module)
    with pytest.raises(RuntimeError, match="worn out"):
        Attribution().measure(subject, dataset(normal()), CONTEXT)
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in module.modules())


def test_a_model_with_one_output_is_explained_for_both_classes():
    module = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0, -1.0, 1.5, 0.0]]))
    found = figures(Attribution().measure(subject_of(module), dataset(normal(), features=TABLE), CONTEXT))
    expected = float((2.0 * normal()[:, 0]).abs().mean())
    assert found["importance", "age"].value == pytest.approx(expected, **FLOAT32)


def test_log_odds_ignore_what_lifts_all_classes_alike():
    class Lifted(nn.Module):
        """The last input lifts both logits and changes no prediction."""

        def forward(self, inputs):
            lift = 5 * inputs[:, 3]
            return torch.stack([lift - inputs[:, 0], lift + inputs[:, 0]], dim=1)

    subject, data = subject_of(Lifted()), dataset(normal(), features=TABLE)
    logit = figures(Attribution().measure(subject, data, CONTEXT))
    odds = figures(Attribution(explained="log_odds").measure(subject, data, CONTEXT))
    assert logit["importance", "noise"].value > 1
    assert odds["importance", "noise"].value == pytest.approx(0.0, **FLOAT32)


def test_log_odds_do_not_change_when_the_model_normalises_its_outputs():
    plain = mlp(n_classes=3)
    normalised = nn.Sequential(plain, nn.LogSoftmax(dim=1))
    inputs, target = normal(), torch.zeros(64, dtype=torch.int64)
    scores = [
        LogOddsScore(subject_of(module, classes=("a", "b", "c")))(inputs, target)
        for module in (plain, normalised)
    ]
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize(
    ("inputs", "module", "says"),
    [
        (
            torch.ones(8, 4, dtype=torch.int64),
            nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2)),
            "int64",
        ),
        (torch.ones(8, 4), nn.Sequential(nn.Linear(4, 2)).requires_grad_(False), None),
    ],
)
def test_integers_are_explained_by_answers_and_frozen_weights_by_gradients(inputs, module, says):
    output = Attribution().measure(subject_of(module), dataset(inputs), CONTEXT)
    assert output.measurements[0].value == 1.0
    if says is not None:
        assert says in str(refused_path(output).missing)


def test_a_model_cut_off_from_its_inputs_is_explained_by_its_answers():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 2)

        def forward(self, inputs):
            return self.inner(inputs.detach())

    for trainable in (True, False):
        subject = subject_of(Detached().requires_grad_(trainable))
        output = Attribution(max_rows=8).measure(subject, dataset(normal()), CONTEXT)
        assert "cut off" in str(refused_path(output).missing)
        assert output.measurements[0].value == 1.0
        compared = Attribution(max_rows=8).compare(subject_of(mlp()), subject, dataset(normal()), CONTEXT)
        assert -1 <= compared.measurements[0].value <= 1
        assert "kernel-shap stands in its place" in " ".join(str(note) for note in compared.notes)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("trainable", [True, False])
def test_recurrent_models_in_evaluation_mode_add_up(kind, trainable):
    class Sequence(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = kind(3, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, inputs):
            return self.head(self.layer(inputs)[0][:, -1])

    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        module = Sequence().requires_grad_(trainable)
    inputs = normal(n=30, d=18).reshape(30, 6, 3)
    found = figures(Attribution().measure(subject_of(module), dataset(inputs), CONTEXT))
    assert found["convergence_delta.share_within", None].value == 1.0


def test_a_subject_that_only_answers_is_explained_by_its_answers():
    subject = PredictionsOnly(
        subject_of(linear([2.0, -1.0, 1.5, 0.0])), frozenset({"predictions", "probabilities", "losses"})
    )
    output = Attribution(max_rows=16).measure(subject, dataset(normal(), features=TABLE), CONTEXT)
    found = figures(output)
    assert found["importance", "age"].value > found["importance", "noise"].value
    assert found["importance", "noise"].value == pytest.approx(0.0, abs=1e-6)
    assert "only answers" in str(refused_path(output).missing)
    assert "kernel-shap" in " ".join(str(note) for note in output.notes)


def refused_path(output):
    (found,) = [m for m in output.measurements if m.group.get("method") == "integrated-gradients"]
    return found


def test_a_constant_model_has_no_importance_and_no_relative_gap():
    module = linear([0.0, 0.0, 0.0, 0.0], bias=1.0)
    found = figures(Attribution().measure(subject_of(module), dataset(normal(), features=TABLE), CONTEXT))
    assert found["importance", "age"].value == 0.0
    assert found["importance_share", "age"].value is None
    assert "any attribution" in str(found["importance_share", "age"].missing)
    assert found["convergence_delta.median", None].value is None
    assert found["convergence_delta.share_within", None].value == 1.0


def test_one_row_gives_figures_without_an_interval_for_the_spread():
    data = dataset(normal(n=1), features=TABLE)
    found = figures(Attribution().measure(subject_of(mlp()), data, CONTEXT))
    assert found["importance", "age"].interval is None
    assert found["importance", "age"].note is not None
    assert found["convergence_delta.share_within", None].interval is not None


def test_only_the_top_features_are_measured_and_all_are_in_the_table():
    data = dataset(normal(), features=TABLE)
    output = Attribution(top_features=1).measure(subject_of(linear([1.0, 0.1, 0.1, 9.0])), data, CONTEXT)
    assert [m.group["feature"] for m in output.measurements if m.metric == "importance"] == ["noise"]
    bars, table, *_ = output.evidence
    assert len(bars.marks) == 1
    assert "noise carries" in str(bars.title)
    assert [row[0] for row in table.rows] == ["noise", "age", "city"]


def test_the_lead_of_a_feature_is_claimed_only_where_the_intervals_show_it():
    data = dataset(normal(), features=TABLE)
    close = Attribution().measure(subject_of(linear([1.0, 0.0, 0.0, 1.02])), data, CONTEXT)
    title = str(close.evidence[0].title)
    assert "more than any other" not in title
    assert "age" in title
    assert "noise" in title


def test_a_table_starts_from_its_training_mean_and_says_so():
    preprocessing = TablePreprocessing(
        target="y",
        classes=("no", "yes"),
        features=tuple(NumericFeature(name=n, mean=1.0, scale=2.0, fill=0.0) for n in "abcd"),
    )
    output = Attribution().measure(subject_of(mlp(), preprocessing=preprocessing), dataset(normal()), CONTEXT)
    assert any("training mean" in str(note) for note in output.notes)


def test_what_a_nat_is_stands_with_attributions_in_nats():
    output = Attribution().measure(subject_of(mlp()), dataset(normal()), CONTEXT)
    assert sum("doubles the odds" in note.text for note in output.notes) == 1


def image_case(flatten):
    preprocessing = ImagePreprocessing(
        target="digit",
        classes=("0", "1"),
        height=8,
        width=8,
        divisor=16.0,
        mean=0.5,
        scale=0.25,
        flatten=flatten,
    )
    raw = torch.rand(40, 8, 8, generator=torch.Generator().manual_seed(0))
    encoded = (raw - 0.5) / 0.25
    inputs = encoded.reshape(40, 64) if flatten else encoded.unsqueeze(1)
    module = nn.Sequential(nn.Flatten(), linear(torch.arange(64.0) / 64))
    data = dataset(inputs, features=FeatureSpace((), (), (8, 8)), y_true=np.arange(40) % 2)
    return subject_of(module, preprocessing=preprocessing), data, raw


@pytest.mark.parametrize("flatten", [True, False])
def test_pictures_start_from_black_and_are_drawn_as_they_were(flatten):
    subject, data, raw = image_case(flatten)
    output = Attribution().measure(subject, data, CONTEXT)
    assert {m.metric for m in output.measurements} == {
        "convergence_delta.share_within",
        "convergence_delta.median",
    }
    heat, examples = output.evidence
    (panel,) = heat.panels
    # weight times distance from black, averaged over pictures
    expected = np.abs(np.arange(64).reshape(8, 8) / 64 * (raw.double().numpy() / 0.25)).mean(axis=0)
    assert np.array(panel.overlay) == pytest.approx(expected / expected.max(), abs=6e-4)
    assert np.array(panel.pixels) == pytest.approx(raw.double().numpy().mean(axis=0), abs=6e-4)
    assert len(examples.panels) == 3
    assert all(np.abs(np.array(p.overlay)).max() == 1.0 for p in examples.panels)
    assert any("black" in str(note) for note in output.notes)


def test_a_trained_network_on_digits_adds_up_in_nearly_all_rows():
    bunch = load_digits()
    inputs = torch.from_numpy(bunch.data / 16).float()
    module = mlp(64, 10, hidden=128)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), torch.from_numpy(bunch.target)).backward()
        optimizer.step()
    module.zero_grad(set_to_none=True)
    classes = tuple("0123456789")
    data = dataset(inputs, classes=classes, y_true=bunch.target, features=FeatureSpace((), (), (8, 8)))
    output = Attribution(max_rows=128).measure(subject_of(module, classes=classes), data, CONTEXT)
    found = figures(output)
    assert found["convergence_delta.share_within", None].value > 0.99
    assert found["convergence_delta.median", None].value < 1e-3
    assert len(output.evidence[0].model_dump_json()) < 5_000


def test_examples_follow_their_rules():
    p = np.array([0.9, 0.6, 0.8, 0.55, 0.99, 0.7])
    predictions = Predictions(np.log(np.column_stack([1 - p, p])))
    chosen = example_rows(predictions, np.array([1, 1, 1, 0, 0, 1]))
    assert [(e.row, e.reason) for e in chosen] == [(5, "typical"), (4, "confident error"), (3, "uncertain")]
    all_right = example_rows(predictions, np.ones(6, dtype=np.int64))
    assert [e.reason for e in all_right] == ["typical", "uncertain"]


def test_a_model_agrees_with_itself_and_disagrees_with_its_opposite_order():
    inputs = normal().abs() + 0.1
    ones = torch.ones_like(inputs)
    up, down = subject_of(linear([1.0, 2.0, 3.0, 4.0])), subject_of(linear([4.0, 3.0, 2.0, 1.0]))
    (same,) = Attribution().compare(up, up, dataset(inputs), CONTEXT).measurements
    assert (same.metric, same.value, same.interval.high) == ("rank_agreement", 1.0, 1.0)
    (opposite,) = Attribution().compare(up, down, dataset(ones), CONTEXT).measurements
    assert opposite.value == pytest.approx(-1.0, **FLOAT32)


def test_agreement_is_about_the_class_that_the_baseline_predicts():
    first, second = linear([1.0, 2.0, 3.0, 4.0], bias=100.0), linear([1.0, 2.0, 3.0, 4.0], bias=-100.0)
    (figure,) = (
        Attribution().compare(subject_of(first), subject_of(second), dataset(normal()), CONTEXT).measurements
    )
    assert figure.value == pytest.approx(1.0, **FLOAT32)


def test_rows_that_order_nothing_are_left_out_of_agreement_and_counted():
    inputs = normal()
    inputs[:5] = 0.0
    subject = subject_of(linear([1.0, 2.0, 3.0, 4.0]))
    (figure,) = Attribution().compare(subject, subject, dataset(inputs), CONTEXT).measurements
    assert figure.n == 59
    assert "5 rows left out" in str(figure.note)
    constant = subject_of(linear([0.0] * 4))
    (figure,) = Attribution().compare(subject, constant, dataset(inputs), CONTEXT).measurements
    assert figure.value is None


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=2, max_size=2))
def test_rank_correlation_equals_scipy_ties_included(rows):
    first, second = (np.array([row], dtype=np.float64) for row in rows)
    (ours,) = spearman_by_row(first, second)
    if len(set(rows[0])) == 1 or len(set(rows[1])) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(spearmanr(rows[0], rows[1]).statistic)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.permutations(range(12)), st.permutations(range(3)))
def test_importance_does_not_depend_on_the_order_of_rows_or_features(rows, columns):
    values = np.random.default_rng(0).normal(size=(12, 3))
    names = ("a", "b", "c")
    plain = importances(values, names, 0.95)
    moved = importances(values[rows][:, columns], tuple(names[j] for j in columns), 0.95)
    assert [entry.feature for entry in plain] == [entry.feature for entry in moved]
    for first, second in zip(plain, moved, strict=True):
        assert first.mean == pytest.approx(second.mean)
        assert first.share_interval.high == pytest.approx(second.share_interval.high)


def test_shares_cover_the_true_share_as_often_as_promised():
    rng, covered = np.random.default_rng(5), 0
    true_share = 3.0 / 4.0  # of mean |N(0, 3)| among |N(0, 3)| + |N(0, 1)|
    for _ in range(400):
        values = rng.normal(size=(60, 2)) * [3.0, 1.0]
        (first, _) = importances(values, ("a", "b"), 0.95)
        covered += first.share_interval.low <= true_share <= first.share_interval.high
    assert 0.91 <= covered / 400 <= 0.99


def test_columns_without_an_owner_are_refused():
    with pytest.raises(DataError, match="owners of 4 columns, expected 5"):
        Attribution().measure(subject_of(mlp(5)), dataset(normal(d=5), features=TABLE), CONTEXT)


def test_a_tolerance_of_nothing_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        Attribution(tolerance=0)


def test_a_copy_of_the_audit_explains_a_deep_copy_of_the_model_alike():
    module = mlp()
    data = dataset(normal(), features=TABLE)
    first = Attribution().measure(subject_of(module), data, CONTEXT).measurements
    second = Attribution().measure(subject_of(copy.deepcopy(module)), data, CONTEXT).measurements
    assert first == second
