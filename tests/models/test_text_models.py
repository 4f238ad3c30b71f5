"""Recurrent, encoder, decoder and convolutional models of token ids."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auditkit.config import Architecture
from auditkit.data.dataset import TokenSpace
from auditkit.errors import ConfigError, DataError
from auditkit.models.attention import SelfAttention
from auditkit.models.positions import sinusoidal_table
from auditkit.models.zoo import build_module, check_architecture
from auditkit.privacy.preflight import refuse_unsuitable
from auditkit.randomness import global_generators_seeded, torch_rng
from tests.tolerances import FLOAT32

LENGTH, VOCABULARY, CLASSES = 24, 30, 3
CLASSIFIERS = {
    "rnn-elman": {"name": "rnn", "cell": "rnn", "width": 12, "hidden": 8},
    "rnn-gru": {"name": "rnn", "cell": "gru", "width": 12, "hidden": 8, "pooling": "mean"},
    "rnn-lstm": {"name": "rnn", "cell": "lstm", "width": 12, "hidden": 8},
    "bert-post": {"name": "bert", "width": 16, "heads": 2},
    "bert-pre": {"name": "bert", "width": 16, "heads": 2, "normalisation": "pre", "pooling": "first"},
}
LANGUAGE = {
    "transformer-lm-post": {"name": "transformer-lm", "width": 16, "layers": 2, "heads": 2},
    "transformer-lm-pre": {
        **{"name": "transformer-lm", "width": 16, "layers": 2, "heads": 2},
        "normalisation": "pre",
    },
    "gpt": {"name": "gpt", "width": 16, "layers": 2, "heads": 2},
    "wavenet": {"name": "wavenet", "channels": 8, "skip_channels": 12, "layers": 3, "stacks": 2},
}
ALL = {**CLASSIFIERS, **LANGUAGE}


def make(form, seed=0):
    return build_module(
        Architecture.model_validate(form),
        rng=torch_rng(seed, "test"),
        length=LENGTH,
        vocabulary_size=VOCABULARY,
        n_classes=CLASSES,
    )


def full_rows(n_rows=4, length=LENGTH, seed=1):
    """Rows without padding."""
    return torch.randint(2, VOCABULARY, (n_rows, length), generator=torch_rng(seed, "rows"))


def padded_rows(lengths, total):
    rows = full_rows(len(lengths), total)
    for row, length in zip(rows, lengths, strict=True):
        row[length:] = 0
    return rows


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def embedded(module):
    """Collects the vectors of tokens, with their gradients, of every pass to come."""
    vectors = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        vectors.append(output)

    module.token_embedding.register_forward_hook(keep)
    return vectors


def close(first, second):
    return torch.allclose(first, second, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


@pytest.mark.parametrize("form", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers_give_one_logit_per_class(form):
    module = make(form).eval()
    assert module(full_rows()).shape == (4, CLASSES)
    assert module(full_rows(length=5)).shape == (4, CLASSES)


@pytest.mark.parametrize("form", LANGUAGE.values(), ids=LANGUAGE)
def test_language_models_give_one_logit_per_position_and_token(form):
    module = make(form).eval()
    assert module(full_rows()).shape == (4, LENGTH, VOCABULARY)
    assert module(full_rows(length=5)).shape == (4, 5, VOCABULARY)


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_tokens_are_embedded_under_one_name_with_padding_zero(form):
    module = make(form)
    assert module.token_embedding.padding_idx == 0
    assert module.token_embedding.weight.shape[0] == VOCABULARY
    assert bool((module.token_embedding.weight[0] == 0).all())


def test_parameters_are_those_counted_by_hand():
    width, hidden, v, k = 12, 8, VOCABULARY, CLASSES
    head = hidden * k + k
    for cell, gates in {"rnn": 1, "gru": 3, "lstm": 4}.items():
        recurrent = gates * (width * hidden + hidden * hidden + 2 * hidden)
        module = make({"name": "rnn", "cell": cell, "width": width, "hidden": hidden})
        assert n_parameters(module) == v * width + recurrent + head
    d, layers = 16, 2
    norm = 2 * d
    block = (d * 3 * d + 3 * d) + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d) + 2 * norm
    tables = v * d + LENGTH * d
    classes = d * k + k
    assert n_parameters(make(CLASSIFIERS["bert-post"])) == tables + norm + layers * block + classes
    assert n_parameters(make(CLASSIFIERS["bert-pre"])) == tables + layers * block + norm + classes
    # No weights are shared with the embedding, and the output layer has no bias.
    assert n_parameters(make(LANGUAGE["gpt"])) == tables + layers * block + norm + d * v
    # Sinusoids are no parameters.
    tokens = v * d
    assert n_parameters(make(LANGUAGE["transformer-lm-post"])) == tokens + layers * block + d * v + v
    assert n_parameters(make(LANGUAGE["transformer-lm-pre"])) == tokens + layers * block + norm + d * v + v


def test_wavenet_has_the_parameters_counted_by_hand():
    c, s, v, blocks = 8, 12, VOCABULARY, 6
    gated = c * 2 * c * 2 + 2 * c
    residual, skip = c * c + c, c * s + s
    expected = v * c + blocks * (gated + skip) + (blocks - 1) * residual + (s * s + s) + (s * v + v)
    assert n_parameters(make(LANGUAGE["wavenet"])) == expected


@pytest.mark.parametrize("form", LANGUAGE.values(), ids=LANGUAGE)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(changed=st.integers(0, LENGTH - 1), token=st.integers(0, VOCABULARY - 1))
def test_a_token_changes_no_output_before_it(form, changed, token):
    module = make(form).eval()
    rows = full_rows(2)
    other = rows.clone()
    other[:, changed] = token
    with torch.no_grad():
        before, after = module(rows), module(other)
    assert close(before[:, :changed], after[:, :changed])
    if token not in rows[:, changed].tolist():
        assert not close(before[:, changed], after[:, changed])


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 10), min_size=1, max_size=3),
    less=st.integers(10, LENGTH),
    more=st.integers(10, LENGTH),
)
def test_real_positions_do_not_depend_on_the_padding_that_follows(form, lengths, less, more):
    module = make(form).eval()
    rows = padded_rows(lengths, LENGTH)
    with torch.no_grad():
        short, long = module(rows[:, :less]), module(rows[:, :more])
    if form["name"] in ("rnn", "bert"):
        assert close(short, long)
    else:
        for index, length in enumerate(lengths):
            assert close(short[index, :length], long[index, :length])


@pytest.mark.parametrize("form", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_a_padded_row_counts_as_the_same_row_alone(form):
    module = make(form).eval()
    rows = padded_rows([3, 7, LENGTH], LENGTH)
    with torch.no_grad():
        together = module(rows)
        alone = [module(rows[i : i + 1, :length]) for i, length in enumerate([3, 7, LENGTH])]
    assert close(together, torch.cat(alone))


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_a_row_without_any_token_has_finite_outputs_and_gradients(form):
    module = make(form)
    outputs = module(torch.zeros(2, LENGTH, dtype=torch.int64))
    outputs.sum().backward()
    assert bool(torch.isfinite(outputs).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in module.parameters())


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_every_parameter_takes_part_and_padding_gets_no_gradient(form):
    module = make(form).eval()
    vectors = embedded(module)
    # The sum of all logits behind a layer norm is constant; squares are not.
    module(padded_rows([5, LENGTH, 9], LENGTH)).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in module.parameters())
    assert bool((vectors[0].grad[0, :5].abs().sum(dim=1) > 0).all())
    assert float(vectors[0].grad[0, 5:].abs().max()) == 0


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_private_training_accepts_them_with_dropout_and_padding(form):
    foretells = form["name"] not in ("rnn", "bert")
    refuse_unsuitable(
        make(form).train(),
        torch.zeros(LENGTH, dtype=torch.int64),
        VOCABULARY if foretells else CLASSES,
        tokens=TokenSpace(tuple(str(token) for token in range(VOCABULARY))),
        task="language-modelling" if foretells else "classification",
    )


@pytest.mark.parametrize(("cell", "kind"), [("rnn", "RNN"), ("gru", "GRU"), ("lstm", "LSTM")])
def test_the_cell_is_the_one_asked_for(cell, kind):
    assert type(make({"name": "rnn", "cell": cell}).recurrent).__name__ == kind


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_elman_network_computes_what_its_weights_say(pooling):
    module = make({"name": "rnn", "cell": "rnn", "width": 4, "hidden": 3, "pooling": pooling}).eval()
    row, layer = [5, 9, 2], module.recurrent
    state, states = torch.zeros(3), []
    for token in row:
        read = layer.weight_ih_l0 @ module.token_embedding.weight[token] + layer.bias_ih_l0
        state = torch.tanh(read + layer.weight_hh_l0 @ state + layer.bias_hh_l0)
        states.append(state)
    pooled = states[-1] if pooling == "last" else sum(states) / 3
    assert close(module(torch.tensor([[*row, 0, 0]]))[0], module.output(pooled))


def test_sinusoids_are_those_of_the_formula():
    table = sinusoidal_table(50, 8)
    # p / 10000^(2i/8): 1, 1/10, 1/100, 1/1000 of the position.
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    expected = [f(7 / 10**i) for i in range(4) for f in (math.sin, math.cos)]
    assert table[7].tolist() == pytest.approx(expected, **FLOAT32)
    assert sinusoidal_table(50, 7).shape == (50, 7)
    assert torch.equal(sinusoidal_table(50, 7)[:, -1], sinusoidal_table(50, 7)[:, 6])


def test_sinusoids_of_a_shifted_position_are_a_rotation():
    """The property that the formula was chosen for: position p + k is linear in position p."""
    table, shift = sinusoidal_table(40, 6).double(), 5
    for pair in range(3):
        angle = shift / 10_000 ** (2 * pair / 6)
        turn = torch.tensor(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64
        )
        columns = table[:, 2 * pair : 2 * pair + 2]
        assert torch.allclose(columns[:-shift] @ turn.T, columns[shift:], atol=1e-5)


def plain_attention(layer, states, allowed):
    """One head and one query at a time, as in section 3.2 of Vaswani et al. (2017)."""
    n_rows, length, width = states.shape
    size = width // layer.heads
    query, key, value = functional.linear(
        states, layer.query_key_value.weight, layer.query_key_value.bias
    ).split(width, dim=2)
    mixed = torch.zeros_like(states)
    for row in range(n_rows):
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            for position in range(length):
                seen = allowed(row, position)
                scores = torch.stack([query[row, position, part] @ key[row, j, part] for j in seen])
                weights = torch.softmax(scores / math.sqrt(size), dim=0)
                mixed[row, position, part] = sum(
                    w * value[row, j, part] for w, j in zip(weights, seen, strict=True)
                )
    return layer.projection(mixed)


@pytest.mark.parametrize("causal", [True, False])
def test_attention_is_that_of_the_plain_formula(causal):
    with global_generators_seeded(3):
        layer = SelfAttention(8, 2, causal=causal)
        states = torch.randn(2, 5, 8)
    real = torch.tensor([[True, True, True, False, False], [True] * 5])

    def allowed(row, position):
        last = position + 1 if causal else 5
        return [j for j in range(last) if causal or bool(real[row, j])]

    with torch.no_grad():
        expected = plain_attention(layer, states, allowed)
        assert close(layer(states, None if causal else real), expected)


def test_dilations_of_wavenet_double_and_start_again():
    module = make(LANGUAGE["wavenet"])
    dilations = [block.filter_and_gate.convolution.dilation for block in module.blocks]
    assert dilations == [(1,), (2,), (4,), (1,), (2,), (4,)]
    assert module.receptive_field == 1 + 14


@pytest.mark.parametrize(("kernel_size", "field"), [(2, 15), (3, 29)])
def test_wavenet_sees_exactly_its_receptive_field(kernel_size, field):
    form = {**LANGUAGE["wavenet"], "kernel_size": kernel_size}
    module = build_module(
        Architecture.model_validate(form), rng=torch_rng(0, "test"), length=40, vocabulary_size=VOCABULARY
    ).eval()
    vectors = embedded(module)
    module(full_rows(1, 40))[0, 35].square().sum().backward()
    moved = vectors[0].grad[0].abs().sum(dim=1) > 0
    assert module.receptive_field == field
    assert moved.nonzero().flatten().tolist() == list(range(36 - field, 36))


def test_residual_layers_of_gpt_start_smaller_with_depth():
    module = make({"name": "gpt", "width": 64, "heads": 4, "layers": 8})
    deviation = module.blocks[3].contraction.weight.std().item()
    assert deviation == pytest.approx(0.02 / math.sqrt(16), rel=0.05)
    assert module.blocks[3].expansion.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_a_row_longer_than_the_learned_positions_is_refused(name):
    module = make({"name": name, "width": 16, "heads": 2})
    with pytest.raises(DataError, match="at most 24 tokens per row, got 25"):
        module(full_rows(1, 25))


@pytest.mark.parametrize("name", ["transformer-lm", "wavenet"])
def test_models_without_learned_positions_read_longer_rows(name):
    assert make(ALL[name if name == "wavenet" else f"{name}-post"])(full_rows(1, 60)).shape[1] == 60


@pytest.mark.parametrize("name", ["bert", "gpt", "transformer-lm"])
def test_heads_that_do_not_divide_the_width_are_refused(name):
    (problem,) = check_architecture(Architecture.model_validate({"name": name, "width": 10, "heads": 4}))
    assert "width 10 is not a multiple of heads 4" in problem.message
    with pytest.raises(ConfigError, match="not a multiple"):
        make({"name": name, "width": 10, "heads": 4})


def test_the_defaults_of_the_documents_transformer_are_six_layers_and_half_dropout():
    module = make({"name": "transformer-lm"})
    rates = {layer.p for layer in module.modules() if isinstance(layer, torch.nn.Dropout)}
    assert (len(module.blocks), rates) == (6, {0.5})
