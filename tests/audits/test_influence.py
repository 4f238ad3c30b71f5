"""Influence of training rows against retraining, against plain loops, and against Captum."""

import numpy as np
import pytest
import torch
from captum.influence import NaiveInfluenceFunction, TracInCP, TracInCPFast
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.influence import gradient_products as products_module
from auditkit.audits.explainability.influence.curvature import curvature_of, mean_hessian
from auditkit.audits.explainability.influence.explained_predictions import explained_predictions
from auditkit.audits.explainability.influence.gradient_products import gradient_products
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.influence.influence_figures import top_shares, top_tenth
from auditkit.audits.explainability.influence.influences import (
    Influences,
    Question,
    Setting,
    by_gradients,
    by_last_layer,
)
from auditkit.audits.explainability.influence.last_layer import LayerRows, last_linear, layer_rows
from auditkit.audits.explainability.influence.row_contents import contents_of
from auditkit.audits.explainability.influence.row_gradients import row_gradients
from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.errors import AuditkitError
from auditkit.models.losses import per_row_loss
from auditkit.models.zoo import build_module
from auditkit.randomness import global_generators_seeded, torch_rng
from auditkit.records import Message, Picture, Table
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject, weights_digest
from auditkit.testing import PredictionsOnly, tiny_dataset, tiny_subject, tiny_text_dataset, tiny_text_subject
from auditkit.training.fit import fit
from tests.tolerances import FLOAT, FLOAT32

CONTEXT = AuditContext(seed=3)
SETTING = Setting(damping=0.1, exact_parameters=2048, projection=4096)


def made(build, seed=0):
    with global_generators_seeded(seed):
        return build()


def subject_of(module, classes=("no", "yes"), preprocessing=None):
    return TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=tuple(classes), preprocessing=preprocessing
    )


def rows_of(inputs, y_true, classes=("no", "yes"), **more):
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=torch.as_tensor(inputs),
        y_true=np.asarray(y_true, dtype=np.int64),
        classes=tuple(classes),
        **{"features": FeatureSpace(()), **more},
    )


def question_of(training, explained, predicted, against, weights=None):
    weights = np.ones(len(training)) if weights is None else weights
    return Question(training, weights, len(training), explained, predicted, against)


def layer_of(rng, n=40, d=3, k=3):
    """Features and chances of a made-up layer, and labels."""
    features = np.column_stack([rng.normal(size=(n, d)), np.ones(n)])
    logits = features @ rng.normal(size=(d + 1, k))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return LayerRows(features, chances, k), rng.integers(0, k, n)


# --- the last layer --------------------------------------------------------------------------------


def trained_to_the_minimum(x, y, ridge, n):
    """Weights of ``sum of losses / n + ridge / 2 |w|^2`` by Newton steps, ``d`` of them."""
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        step = np.linalg.solve(
            x.T @ (x * (p * (1 - p))[:, None]) / n + ridge * np.eye(len(w)), x.T @ (p - y) / n + ridge * w
        )
        w = w - step
        if np.abs(step).max() < 1e-12:
            break
    return w


def test_influence_in_a_logistic_regression_is_what_leaving_each_row_out_and_training_again_does():
    rng, n, m, ridge = np.random.default_rng(0), 80, 25, 0.01
    x = np.column_stack([rng.normal(size=(n + m, 3)), np.ones(n + m)])
    y = (rng.random(n + m) < 1 / (1 + np.exp(-x @ [1.5, -1.0, 0.5, 0.2]))).astype(np.int64)
    w = trained_to_the_minimum(x[:n], y[:n], ridge, n)
    layer = nn.Linear(3, 1, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w[None, :3]))
        layer.bias.copy_(torch.from_numpy(w[3:]))
    subject = subject_of(layer)
    training, held_out = rows_of(x[:n, :3], y[:n]), rows_of(x[n:, :3], y[n:])
    predicted = subject.predict(held_out, batch_size=32).y_pred
    p = 1 / (1 + np.exp(-x[:n] @ w))
    mean_diagonal = float((p * (1 - p) * (x[:n] ** 2).sum(axis=1)).mean()) / 4
    question = question_of(training, held_out, predicted, 1 - predicted)
    found = by_last_layer(subject, question, Setting(ridge / mean_diagonal, 2048, 4096))
    without = np.array(
        [
            trained_to_the_minimum(np.delete(x[:n], row, 0), np.delete(y[:n], row), ridge, n)
            for row in range(n)
        ]
    )
    true = np.where(predicted == 1, 1, -1)[:, None] * (x[n:] @ w)[:, None] - (
        np.where(predicted == 1, 1, -1)[:, None] * (x[n:] @ without.T)
    )
    assert np.corrcoef(found.on_predictions.ravel(), true.ravel())[0, 1] > 0.99
    assert np.polyfit(true.ravel(), found.on_predictions.ravel(), 1)[0] == pytest.approx(1.0, abs=0.05)
    default = by_last_layer(subject, question, Setting(Influence().damping, 2048, 4096))
    assert np.corrcoef(default.on_predictions.ravel(), true.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("k", [1, 3])
def test_the_hessian_is_that_of_automatic_differentiation(k):
    rows, labels = layer_of(np.random.default_rng(1), k=max(2, k))
    rows = LayerRows(rows.features, rows.probabilities, k)
    x, y = torch.from_numpy(rows.features), torch.from_numpy(labels)
    logits = np.log(rows.probabilities)
    logits = torch.from_numpy(logits[:, 1:] - logits[:, :1] if k == 1 else logits)
    weights = torch.linalg.lstsq(x, logits).solution.T.contiguous()

    def loss(flat):
        return per_row_loss(x @ flat.view(k, -1).T, y).mean()

    exact = torch.autograd.functional.hessian(loss, weights.flatten())
    assert mean_hessian(rows, np.ones(len(labels))) == pytest.approx(exact.numpy(), **FLOAT)
    gradient = torch.autograd.functional.jacobian(loss, weights.flatten()).numpy().reshape(k, -1)
    assert rows.residuals(labels).T @ rows.features / len(labels) == pytest.approx(gradient, **FLOAT)


def test_leaving_a_row_out_is_a_newton_step_of_the_loss_without_it():
    rows, labels = layer_of(np.random.default_rng(2), n=25)
    n, damping = len(labels), 0.2
    curvature = curvature_of(rows, np.ones(n), damping=damping, exact_parameters=100)
    left_out = curvature.left_out(rows, labels, np.full(n, 1 / n))
    moved = curvature.solve(left_out.residuals[:, :, None] * rows.features[:, None, :])
    whole = mean_hessian(rows, np.ones(n))
    whole += damping * np.trace(whole) / len(whole) * np.eye(len(whole))
    residuals = rows.residuals(labels)
    for row in range(n):
        one = LayerRows(rows.features[row : row + 1], rows.probabilities[row : row + 1], 3)
        gradient = np.outer(residuals[row], rows.features[row]).ravel()
        by_hand = np.linalg.solve(whole - mean_hessian(one, np.ones(1)) / n, gradient)
        assert moved[row].ravel() == pytest.approx(by_hand, **FLOAT)
        assert left_out.own[row] == pytest.approx(gradient @ by_hand, **FLOAT)


def test_kronecker_factors_are_exact_where_all_rows_have_the_same_chances():
    rng = np.random.default_rng(3)
    features, chances = rng.normal(size=(50, 4)), np.tile([0.5, 0.3, 0.2], (50, 1))
    rows, labels = LayerRows(features, chances, 3), rng.integers(0, 3, 50)
    gradients = rng.normal(size=(5, 3, 4))
    exact, factors = (
        curvature_of(rows, np.ones(50), damping=0.1, exact_parameters=most) for most in (12, 11)
    )
    assert factors.solve(gradients) == pytest.approx(exact.solve(gradients), **FLOAT)
    flat = (rows.residuals(labels)[:, :, None] * features[:, None, :]).reshape(50, -1)
    by_hand = (flat * (flat @ exact.inverse.reshape(12, 12))).sum(axis=1)
    assert factors.left_out(rows, labels, np.full(50, 0.02)).own == pytest.approx(by_hand, **FLOAT)


def test_a_saturated_layer_has_no_curvature_to_divide_by():
    rows = LayerRows(np.ones((4, 2)), np.tile([1.0, 0.0], (4, 1)), 2)
    assert curvature_of(rows, np.ones(4), damping=0.1, exact_parameters=10) is None


# --- gradients of all parameters -------------------------------------------------------------------


class Normalised(nn.Module):
    """An LSTM over numbers with a layer norm behind it."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.output = nn.Linear(6, 3)

    def forward(self, inputs):
        states, _ = self.recurrent(inputs)
        return self.output(self.norm(states[:, -1]))


def batch_normed():
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3)
    )
    module[1].running_mean.normal_()
    return module


def zoo(name, **parameters):
    return lambda: build_module(Architecture(name=name, **parameters), rng=torch_rng(0, "test"))


NETWORKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3)), (5,)),
    "cnn": (zoo("cnn", height=6, width=6, n_classes=3, channels=[3], hidden=[5]), (36,)),
    "lstm with layer norm": (Normalised, (7, 4)),
    "batch norm": (batch_normed, (1, 6, 6)),
    "lstm of tokens": (zoo("rnn", vocabulary_size=11, length=7, n_classes=3, width=5, hidden=6), 11),
    "transformer of tokens": (
        zoo("bert", vocabulary_size=11, length=7, n_classes=3, width=8, heads=2, layers=1),
        11,
    ),
}


def network(name, n, rng):
    """A module in double precision and inputs for it."""
    build, shape = NETWORKS[name]
    module = made(build).double().eval()
    if isinstance(shape, int):
        ids = rng.integers(1, shape, size=(n, 7))
        ids[0, 4:] = 0
        return module, torch.from_numpy(ids)
    return module, torch.from_numpy(rng.normal(size=(n, *shape)))


def one_by_one(module, inputs, labels):
    """The gradient of every row by a backward pass of its own, shape ``(n, parameters)``."""
    found = []
    for row, label in zip(inputs, labels, strict=True):
        module.zero_grad(set_to_none=False)
        functional.cross_entropy(module(row[None]), torch.tensor([label])).backward()
        found.append(torch.cat([parameter.grad.flatten().clone() for parameter in module.parameters()]))
    module.zero_grad()
    return torch.stack(found).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_one_backward_pass_per_row(name):
    rng = np.random.default_rng(4)
    module, inputs = network(name, 12, rng)
    labels, predicted, against = rng.integers(0, 3, 12), np.array([0, 1, 2, 0]), np.array([1, 2, 0, 2])
    training, explained = rows_of(inputs, labels, "abc"), rows_of(inputs[:4], labels[:4], "abc")
    subject = subject_of(module, "abc")
    found = by_gradients(subject, question_of(training, explained, predicted, against), SETTING, None)
    assert isinstance(found, Influences), found
    own = one_by_one(module, inputs, labels)
    followed = one_by_one(module, inputs[:4], predicted) - one_by_one(module, inputs[:4], against)
    assert found.on_predictions == pytest.approx(followed @ own.T, **FLOAT)
    assert found.on_itself == pytest.approx((own**2).sum(axis=1), **FLOAT)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_is_found_in_every_network(name):
    module, inputs = network(name, 12, np.random.default_rng(5))
    subject, data = subject_of(module, "abc"), rows_of(inputs, np.zeros(12), "abc")
    layer = last_linear(subject, data)
    assert isinstance(layer, nn.Linear)
    rows = layer_rows(subject, layer, data)
    assert rows.features.shape == (12, layer.in_features + 1)
    assert rows.probabilities == pytest.approx(subject.predict(data, batch_size=12).probabilities, **FLOAT)


def test_a_projection_keeps_products_within_its_error(monkeypatch):
    rng = np.random.default_rng(6)
    module, inputs = network("mlp", 30, rng)
    labels, other = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    gradients = row_gradients(subject_of(module, "abc"), inputs, labels)

    def of(**more):
        return gradient_products(
            gradients,
            (inputs[:6], labels[:6], other[:6]),
            (inputs, labels),
            rng=lambda: torch_rng(0, "sketch"),
            **more,
        )

    exact = of(projection=1024)
    monkeypatch.setattr(products_module, "MOST_NUMBERS", 0)
    projected = of(projection=1024)
    assert (exact.projected_on, projected.projected_on) == (None, 1024)
    followed = one_by_one(module, inputs[:6], labels[:6]) - one_by_one(module, inputs[:6], other[:6])
    lengths = np.sqrt(np.outer((followed**2).sum(axis=1), exact.squared_lengths))
    assert (np.abs(projected.products - exact.products) <= 5 * lengths / 1024**0.5 + 1e-12).all()
    assert projected.squared_lengths == pytest.approx(exact.squared_lengths, **FLOAT)
    assert not np.array_equal(projected.products, exact.products)


# --- against Captum --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_net():
    """A network in double precision, its rows and labels, and what was explained of five of them."""
    rng = np.random.default_rng(7)
    module, inputs = network("mlp", 20, rng)
    labels = rng.integers(0, 3, 20)
    return module, inputs, labels


def captums(cls, module, inputs, labels, *arguments, **options):
    data = torch.utils.data.TensorDataset(inputs, torch.from_numpy(labels))
    engine = cls(
        module,
        *arguments,
        data,
        *([["weights"]] if cls is not NaiveInfluenceFunction else ["weights"]),
        checkpoints_load_func=lambda *_: 1.0,
        loss_fn=nn.CrossEntropyLoss(reduction="sum" if cls is TracInCPFast else "none"),
        batch_size=20,
        **options,
    )
    return engine.influence((inputs[:5], torch.from_numpy(labels[:5]))).detach().numpy()


def test_products_of_all_gradients_are_those_of_captums_tracin(small_net):
    module, inputs, labels = small_net
    theirs = captums(TracInCP, module, inputs, labels)
    gradients = row_gradients(subject_of(module, "abc"), inputs, labels)
    # against every class in turn: the gradients of a row's losses, weighted by its chances, add up to zero
    chances = torch.softmax(module(inputs[:5]), dim=1).detach().numpy()
    ours = sum(
        chances[:, [other]]
        * gradient_products(
            gradients,
            (inputs[:5], labels[:5], np.full(5, other)),
            (inputs, labels),
            projection=64,
            rng=None,
        ).products
        for other in range(3)
    )
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_products_in_the_last_layer_are_those_of_captums_fast_tracin(small_net):
    module, inputs, labels = small_net
    theirs = captums(TracInCPFast, module, inputs, labels, module[-1])
    rows = layer_rows(subject_of(module, "abc"), module[-1], rows_of(inputs, labels, "abc"))
    residuals = rows.residuals(labels)
    weights_alone = rows.features[:, :-1]  # Captum leaves the bias out
    ours = (residuals[:5] @ residuals.T) * (weights_alone[:5] @ weights_alone.T)
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_quotients_by_the_hessian_are_those_of_captums_naive_influence_function(small_net):
    module, inputs, labels = small_net
    whole = 0.05
    theirs = captums(
        NaiveInfluenceFunction,
        module,
        inputs,
        labels,
        layers=["2"],
        projection_dim=27,
        hessian_reg=whole,
        hessian_inverse_tol=1e-9,
    )
    rows = layer_rows(subject_of(module, "abc"), module[-1], rows_of(inputs, labels, "abc"))
    hessian = mean_hessian(rows, np.ones(20))
    damping = whole / 20 / (np.trace(hessian) / 27)
    curvature = curvature_of(rows, np.ones(20), damping=damping, exact_parameters=27)
    gradients = rows.residuals(labels)[:, :, None] * rows.features[:, None, :]
    ours = np.einsum("mkd,nkd->mn", curvature.solve(gradients[:5]), gradients) / 20
    assert ours == pytest.approx(theirs, abs=1e-5)


# --- what cannot be measured -----------------------------------------------------------------------


class Centred(nn.Module):
    """Takes the mean of the batch off every row."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(5, 2)

    def forward(self, inputs):
        return self.output(inputs - inputs.mean(dim=0))


class Squashed(nn.Module):
    """Does something with the outputs of its last layer."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(5, 2)

    def forward(self, inputs):
        return torch.tanh(self.output(inputs))


class WeightedPixels(nn.Module):
    """Ends in a convolution."""

    def __init__(self):
        super().__init__()
        self.output = nn.Conv1d(1, 2, 5)

    def forward(self, inputs):
        return self.output(inputs[:, None]).flatten(1)


def measured(module, **parameters):
    data = tiny_dataset()
    output = Influence(**parameters).measure(subject_of(module), data, CONTEXT)
    return {(one.metric, one.group.get("method")): one for one in output.measurements}, output


def test_a_model_that_mixes_rows_is_refused_with_the_reason():
    found, _ = measured(made(Centred))
    for method in ("last-layer", "gradients"):
        assert "the model mixes rows" in str(found["top_hundredth_share", method].missing)


@pytest.mark.parametrize(
    ("build", "reason"),
    [(Squashed, "are not the outputs of its last linear layer"), (WeightedPixels, "is not a linear one")],
)
def test_without_a_linear_last_layer_gradients_are_left(build, reason):
    found, output = measured(made(build))
    assert reason in str(found["top_hundredth_share", "last-layer"].missing)
    assert "no two methods" in str(found["rank_agreement", None].missing)
    assert found["top_hundredth_share", "gradients"].value > 0
    table = next(one for one in output.evidence if isinstance(one, Table))
    assert [str(column) for column in table.columns][:4] == [
        "Training row",
        "Label",
        "Prediction",
        "Influence",
    ]


def test_a_frozen_model_has_no_gradients_of_rows():
    module = made(lambda: nn.Linear(5, 2)).requires_grad_(False)
    found, _ = measured(module)
    assert "No parameter" in str(found["top_hundredth_share", "gradients"].missing)
    assert found["top_hundredth_share", "last-layer"].value > 0


def test_a_subject_that_only_answers_is_refused():
    with pytest.raises(AuditkitError, match="has no gradients"):
        Influence().measure(PredictionsOnly(tiny_subject()), tiny_dataset(), CONTEXT)


# --- figures ---------------------------------------------------------------------------------------


def test_the_top_hundredth_carries_what_it_carries():
    influence = np.zeros((3, 200))
    influence[0, :4] = [-3.0, 2.0, 4.0, 1.0]
    influence[1] = 1.0
    assert top_shares(influence) == pytest.approx([0.7, 0.01, np.nan], **FLOAT, nan_ok=True)
    assert top_tenth(np.array([1.0, 3.0, 3.0, 2.0] + [0.0] * 16)).tolist() == [1, 2]
    assert top_tenth(np.ones(3)).tolist() == [0]


def test_errors_are_explained_and_the_most_confident_shown():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.3, 0.7], [0.6, 0.4]])
    said, y_true = Predictions(np.log(probabilities)), np.array([0, 0, 0, 1, 1])
    chosen = explained_predictions(said, y_true, most=2, shown=2, rng=np.random.default_rng(0))
    shown = [int(chosen.rows[example.row]) for example in chosen.shown]
    assert (shown, chosen.n_errors, chosen.n_measured) == ([1, 4], 3, 2)
    assert set(chosen.rows.tolist()) <= {1, 2, 4}
    assert chosen.against.tolist() == y_true[chosen.rows].tolist()


def test_without_errors_the_least_certain_are_explained_against_the_second_class():
    probabilities = np.array([[0.5, 0.1, 0.4], [0.2, 0.8, 0.0], [0.36, 0.34, 0.3]]).clip(1e-9)
    said = Predictions(np.log(probabilities))
    chosen = explained_predictions(said, said.y_pred, most=2, shown=1, rng=np.random.default_rng(0))
    assert (chosen.rows.tolist(), chosen.against.tolist(), chosen.n_errors) == ([0, 2], [2, 1], 0)
    assert [(example.row, example.reason) for example in chosen.shown] == [(1, "uncertain")]


def test_rows_without_weight_have_no_influence():
    subject, data = tiny_subject(), tiny_dataset()
    weights = np.arange(60) % 3.0
    training, explained = data.take(np.arange(60)), data.take(np.arange(60, 70))
    predicted = subject.predict(explained, batch_size=16).y_pred
    question = question_of(training, explained, predicted, 1 - predicted, weights / weights.mean())
    for found in (
        by_last_layer(subject, question, SETTING),
        by_gradients(subject, question, SETTING, None),
    ):
        assert (found.on_predictions[:, weights == 0] == 0).all()
        assert (found.on_itself[weights == 0] == 0).all()
        assert (found.on_predictions[:, weights > 0] != 0).any()


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(60)))
def test_the_order_of_training_rows_changes_nothing(order):
    subject, data = tiny_subject(), tiny_dataset()
    training, explained = data.take(np.arange(60)), data.take(np.arange(60, 70))
    predicted = subject.predict(explained, batch_size=16).y_pred
    order = np.array(order)
    for method in (by_last_layer, lambda *arguments: by_gradients(*arguments, None)):
        before, after = (
            method(subject, question_of(rows, explained, predicted, 1 - predicted), SETTING)
            for rows in (training, training.take(order))
        )
        assert after.on_predictions == pytest.approx(before.on_predictions[:, order], **FLOAT32)
        assert after.on_itself == pytest.approx(before.on_itself[order], **FLOAT32)


def test_the_batch_size_changes_nothing_at_all():
    subject, data = tiny_subject(), tiny_dataset()
    outputs = [Influence().measure(subject, data, AuditContext(seed=3, batch_size=size)) for size in (3, 64)]
    assert outputs[0] == outputs[1]


# --- flipped labels --------------------------------------------------------------------------------


def test_flipped_labels_are_among_the_highest_self_influence():
    inputs, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(8)
    chosen = rng.permutation(len(labels))[:700]
    inputs, labels = (inputs[chosen] / 16 - 0.3).astype(np.float32), labels[chosen].astype(np.int64)
    flipped = np.arange(700) < 50
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, 50)) % 10
    classes = tuple("0123456789")
    is_member = np.arange(700) < 500
    data = rows_of(
        inputs, labels, classes, is_member=is_member, features=FeatureSpace((), image_shape=(8, 8))
    )
    training = data.take(is_member)
    subject = fit(
        Architecture(name="mlp", hidden=64), training, TrainingConfig(epochs=15, batch_size=16), seed=1
    )
    before = weights_digest(subject.module)
    question = question_of(training, training.take(np.arange(2)), labels[:2], (labels[:2] + 1) % 10)
    for found in (
        by_last_layer(subject, question, SETTING),
        by_gradients(subject, question, SETTING, None),
    ):
        assert flipped[:500][top_tenth(found.on_itself)].mean() >= 0.6
    output = Influence().measure(subject, data, CONTEXT)
    assert weights_digest(subject.module) == before
    pictures = [one for one in output.evidence if isinstance(one, Picture)]
    assert len(pictures) == 4
    assert len(pictures[0].panels) == 9
    assert len(pictures[0].panels[0].pixels) == 8
    # the listed rows say whose label is in doubt
    assert str(pictures[-1].title).startswith("The model contradicts the label of")


# --- what is shown ---------------------------------------------------------------------------------


def test_rows_of_a_table_are_told_in_their_own_units():
    steps = TablePreprocessing(
        target="y",
        classes=("no", "yes"),
        features=(
            NumericFeature(name="age", mean=40.0, scale=10.0, fill=40.0, missing_indicator=True),
            CategoricalFeature(name="town", levels=("north", "south")),
            NumericFeature(name="rest", mean=0.0, scale=1.0, fill=0.0),
        ),
    )
    module = nn.Linear(5, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0] * 5, [5.0, 1.0, 2.0, -2.0, 0.1]]))
    inputs = torch.tensor(
        [[0.5, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.25], [-1.05, 0.0, 0.0, 1.0, 1.0]]
    )
    space = FeatureSpace(("age", "town", "rest"), (0, 0, 1, 1, 2))
    data = rows_of(inputs, [0, 1, 1], features=space)
    subject = subject_of(module, preprocessing=steps)
    contents = contents_of(subject, steps, data, np.array([1, 1, 1]), most=2)
    assert [str(heading) for heading in contents.headings] == ["age", "town"]
    told = [[str(cell) for cell in contents.cells(data, row)] for row in range(3)]
    assert told == [["45", "north"], ["missing", "other"], ["29.5", "south"]]


def test_texts_are_shown_as_texts_and_can_be_withheld():
    subject, data = tiny_text_subject(), tiny_text_dataset()
    whole = Influence(shown_predictions=1, listed_rows=3).measure(subject, data, CONTEXT)
    hidden = Influence(shown_predictions=1, listed_rows=3, show_rows=False).measure(subject, data, CONTEXT)
    listed = [one for one in whole.evidence if isinstance(one, Table)][-1]
    assert str(listed.columns[-1]) == "Text"
    assert "a" in listed.rows[0][-1]
    assert all("Text" not in map(str, one.columns) for one in hidden.evidence if isinstance(one, Table))
    assert whole.measurements == hidden.measurements


def test_the_strongest_rows_for_and_against_are_listed_with_their_influence():
    subject, data = tiny_subject(), tiny_dataset()
    output = Influence(shown_predictions=1, shown_rows=2).measure(subject, data, CONTEXT)
    table = output.evidence[0]
    assert len(table.rows) == 5
    assert isinstance(table.rows[0][0], Message)
    influence = [row[3].value for row in table.rows[1:]]
    assert influence[0] >= influence[1] > 0 > influence[3] >= influence[2]
    members = data.take(data.is_member)
    for row in table.rows[1:]:
        assert row[1] == members.classes[members.y_true[row[0] - 1]]
