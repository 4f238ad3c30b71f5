"""Influence of training rows against retraining, against plain loops, and against Captum."""

import numpy as np
import pytest
import torch
from captum.influence import NaiveInfluenceFunction, TracInCP, TracInCPFast
from torch import nn

from auditkit.audits.explainability.influence import gradient_products as products_module
from auditkit.audits.explainability.influence.curvature import curvature_of, mean_hessian
from auditkit.audits.explainability.influence.gradient_products import gradient_products
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.influence.influences import (
    Influences,
    Setting,
    by_gradients,
    by_last_layer,
)
from auditkit.audits.explainability.influence.last_layer import LayerRows, last_linear, layer_rows
from auditkit.audits.explainability.influence.row_gradients import row_gradients
from auditkit.models.losses import per_row_loss
from auditkit.randomness import torch_rng
from tests.audits.influence_scenes import (
    NETWORKS,
    SETTING,
    layer_of,
    network,
    one_by_one,
    question_of,
    rows_of,
    subject_of,
    trained_to_the_minimum,
)
from tests.tolerances import FLOAT

# --- the last layer --------------------------------------------------------------------------------


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
