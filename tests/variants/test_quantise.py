"""Quantised subjects: values on their grids, sizes, gradients, and the baseline left alone."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.errors import UsageError
from auditkit.models.standardised import standardise, standardised_weight
from auditkit.randomness import torch_rng
from auditkit.subjects.torch_subject import weights_digest
from auditkit.variants.integer_grid import fake_quantise_rows, fake_quantise_weight
from auditkit.variants.quantise import Quantise
from tests.fakes import predicting
from tests.tolerances import FLOAT32, SAME_RUN
from tests.variants.subjects import (
    Attending,
    Recurrent,
    built,
    context,
    convolutional,
    data,
    subject,
    trained,
)


def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch_rng(0, "values"))


# --- grids ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bits=st.integers(4, 8), scale=st.floats(1e-6, 1e6), axis=st.integers(0, 1))
def test_a_weight_moves_by_at_most_half_a_step_of_its_channel(bits, scale, axis):
    weight = random(7, 5, 3, scale=scale).double()
    found = fake_quantise_weight(weight, bits=bits, channel_axis=axis)
    rest = [dim for dim in range(3) if dim != axis]
    step = weight.abs().amax(dim=rest, keepdim=True) / (2 ** (bits - 1) - 1)
    assert bool(((found - weight).abs() <= step * (0.5 + FLOAT32["rel"])).all())
    levels = torch.round(found / step)
    torch.testing.assert_close(levels * step, found)
    assert float(levels.abs().max()) == 2 ** (bits - 1) - 1


def test_the_grid_of_a_known_weight():
    weight = torch.tensor([[1.0, 0.6, -0.24, 0.0], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[7.0, 4.0, -2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]) / 7
    torch.testing.assert_close(fake_quantise_weight(weight, bits=4), expected)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bits=st.integers(4, 8), scale=st.floats(1e-6, 1e6), shift=st.floats(-3, 3), row_dims=st.integers(1, 3))
def test_an_activation_moves_by_at_most_half_a_step_of_its_row(bits, scale, shift, row_dims):
    inputs = (random(6, 4, 3, 5).double() + shift) * scale
    found = fake_quantise_rows(inputs, bits=bits, row_dims=row_dims)
    dims = tuple(range(4 - row_dims, 4))
    low, high = inputs.amin(dims, keepdim=True).clamp(max=0), inputs.amax(dims, keepdim=True).clamp(min=0)
    step = (high - low) / (2**bits - 1)
    assert bool(((found - inputs).abs() <= step * (0.5 + FLOAT32["rel"])).all())


def test_a_row_has_its_own_range_and_zero_stays_zero():
    inputs = torch.tensor([[0.0, 1.0, 0.49], [0.0, 1000.0, 0.49], [0.0, 0.0, 0.0]])
    found = fake_quantise_rows(inputs, bits=8, row_dims=1)
    assert found[:, 0].tolist() == [0, 0, 0]
    assert found[0, 2].item() == pytest.approx(125 / 255)
    assert found[1, 2].item() == 0
    assert found[2].tolist() == [0, 0, 0]


def test_many_bits_change_nothing():
    values = random(4, 9).double()
    torch.testing.assert_close(fake_quantise_weight(values, bits=32), values, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(fake_quantise_rows(values, bits=32, row_dims=1), values, rtol=1e-8, atol=1e-8)


def test_the_gradient_passes_straight_through():
    inputs = random(3, 5).requires_grad_(True)
    fake_quantise_rows(inputs, bits=4, row_dims=1).sum().backward()
    assert torch.equal(inputs.grad, torch.ones_like(inputs))


# --- the variant --------------------------------------------------------------------------------------


def test_eight_bits_predict_nearly_what_the_baseline_does(tmp_path):
    baseline = trained()
    rows = data(seed=1)
    found = Quantise().derive(baseline, context(tmp_path)).predict(rows, batch_size=64)
    expected = baseline.predict(rows, batch_size=64)
    assert (found.y_pred == expected.y_pred).mean() > 0.98
    error = abs(found.probabilities - expected.probabilities).max()
    assert 0 < error < 0.05


def test_fewer_bits_are_further_from_the_baseline(tmp_path):
    baseline, rows = trained(), data(seed=1)
    expected = baseline.predict(rows, batch_size=64).probabilities
    errors = [
        abs(
            Quantise(bits=bits).derive(baseline, context(tmp_path)).predict(rows, batch_size=64).probabilities
            - expected
        ).mean()
        for bits in (8, 6, 4)
    ]
    assert errors == sorted(errors)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_batch_size_changes_no_prediction(tmp_path, bits):
    quantised = Quantise(bits=bits).derive(trained(), context(tmp_path))
    rows = data(seed=1)
    whole = quantised.predict(rows, batch_size=900).log_probabilities
    for size in (1, 7, 64):
        part = quantised.predict(rows, batch_size=size).log_probabilities
        assert abs(part - whole).max() <= SAME_RUN["abs"]


def test_what_else_is_in_a_batch_changes_no_prediction(tmp_path):
    quantised = Quantise().derive(trained(), context(tmp_path))
    row = data().inputs[:1]
    alone = quantised.logits(row)
    crowded = quantised.logits(torch.cat([row, 1e4 * random(5, 8)]))[:1]
    torch.testing.assert_close(alone, crowded, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


def test_the_size_counts_integers_scales_and_remaining_floats(tmp_path):
    baseline = trained()  # 8-24-3
    weights, channels, biases = 8 * 24 + 24 * 3, 24 + 3, 24 + 3
    assert baseline.card.size_b == 4 * (weights + biases)
    for bits in (8, 4):
        found = Quantise(bits=bits).derive(baseline, context(tmp_path)).card
        assert found.size_b == weights * bits // 8 + 4 * channels + 4 * biases
        assert found.n_parameters == baseline.card.n_parameters


def test_the_baseline_stays_as_it_is(tmp_path):
    baseline = trained()
    before = weights_digest(baseline.module)
    types = [type(layer) for layer in baseline.module.modules()]
    Quantise(bits=4).derive(baseline, context(tmp_path))
    assert weights_digest(baseline.module) == before
    assert [type(layer) for layer in baseline.module.modules()] == types


def test_the_card_says_what_it_is(tmp_path):
    baseline = trained()
    card = Quantise(bits=6).derive(baseline, context(tmp_path, name="int6")).card
    assert (card.name, card.kind, card.title) == ("int6", "quantise", "three classes")
    assert card.training == baseline.card.training
    assert "6-bit integers (264 of 291 parameters)" in str(card.statements[0])


def test_bits_and_activations_decide_the_digest(tmp_path):
    baseline = trained()
    variants = [Quantise(), Quantise(bits=7), Quantise(activations=False)]
    digests = {variant.derive(baseline, context(tmp_path)).card.digest for variant in variants}
    assert len(digests | {baseline.card.digest}) == 4


def test_gradients_reach_the_inputs(tmp_path):
    baseline = trained()
    quantised = Quantise().derive(baseline, context(tmp_path))
    gradients = []
    for one in (baseline, quantised):
        inputs = data().inputs[:50].clone().requires_grad_(True)
        one.logits(inputs)[:, 0].sum().backward()
        gradients.append(inputs.grad)
    # a unit near zero may be on under one and off under the other
    close = (gradients[0] - gradients[1]).abs() <= 0.05 * gradients[0].abs().max()
    assert close.float().mean() > 0.95


def test_a_quantised_subject_travels_to_a_worker(tmp_path):
    quantised = Quantise().derive(trained(), context(tmp_path))
    again = pickle.loads(pickle.dumps(quantised))
    rows = data(50)
    assert (
        again.predict(rows, batch_size=8).log_probabilities
        == quantised.predict(rows, batch_size=8).log_probabilities
    ).all()


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (convolutional, random(20, 1, 8, 8)),
        (Attending, random(20, 4, 8)),
        (Recurrent, random(20, 4, 8)),
        (
            lambda: nn.Sequential(nn.ConvTranspose1d(2, 4, 3), nn.Flatten(), nn.Linear(40, 3)),
            random(20, 2, 8),
        ),
        (
            lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)),
            torch.arange(60).reshape(20, 3) % 9,
        ),
    ],
)
def test_other_layers_are_quantised_too(tmp_path, make, inputs):
    baseline = subject(built(make))
    quantised = Quantise().derive(baseline, context(tmp_path))
    with torch.inference_mode():
        expected, found = baseline.logits(inputs), quantised.logits(inputs)
        single = torch.cat([quantised.logits(row[None]) for row in inputs])
    assert quantised.card.size_b < 0.6 * baseline.card.size_b
    assert 0 < float((expected - found).abs().max()) < 0.1 * float(expected.abs().max())
    torch.testing.assert_close(found, single, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


def test_a_fused_layer_predicts_the_same_with_and_without_gradients(tmp_path):
    quantised = Quantise(bits=4).derive(subject(built(Attending)), context(tmp_path))
    inputs = random(20, 4, 8)
    with torch.inference_mode():
        fused = quantised.logits(inputs)
    torch.testing.assert_close(
        fused, quantised.logits(inputs).detach(), rtol=FLOAT32["rel"], atol=FLOAT32["abs"]
    )


def test_tied_weights_stay_tied_and_count_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(3, 4)
            self.output = nn.Linear(4, 3, bias=False)
            self.output.weight = self.embedding.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.output(self.embedding(tokens).mean(dim=1))

    quantised = Quantise().derive(subject(built(Tied)), context(tmp_path))
    assert quantised.module.output.weight is quantised.module.embedding.weight
    assert quantised.card.size_b == 12 + 4 * 3


def test_a_subject_without_weights_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no weights to quantise"):
        Quantise().derive(predicting([0, 1]), context(tmp_path))
    with pytest.raises(UsageError, match="no linear"):
        Quantise().derive(subject(nn.Sequential(nn.LayerNorm(3))), context(tmp_path))


@pytest.mark.parametrize("bits", [3, 9])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match="bits"):
        Quantise(bits=bits)


def test_standardised_weights_are_written_out_and_put_on_the_grid(tmp_path):
    module = built(convolutional)
    standardise(module, ["conv"])
    standardised = standardised_weight(module.conv.weight).detach()
    found = Quantise(bits=8, activations=False).derive(subject(module), context(tmp_path))
    expected = fake_quantise_weight(standardised, bits=8)
    assert type(found.module.conv) is nn.Conv2d
    torch.testing.assert_close(found.module.conv.weight, expected)
    assert found.architecture.weights_standardised == ()
