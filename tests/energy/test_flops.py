"""FLOPs against formulas worked out by hand."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.energy.flop_formulas import OWN_FORMULAS
from auditkit.energy.flops import count_flops
from tests.tolerances import FLOAT


def of(module, *inputs):
    module.eval()
    with torch.inference_mode():
        return count_flops(lambda: module(*inputs))


def test_mlp_20_64_2_on_32_rows_is_the_published_figure():
    count = of(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)), torch.zeros(32, 20))
    assert count.flops == 90_112
    assert (count.unknown, count.coverage, count.kind) == ((), 1.0, "estimate")


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_convolution_is_two_flop_per_tap_and_output(groups):
    count = of(nn.Conv2d(8, 16, 3, groups=groups), torch.zeros(2, 8, 10, 12))
    assert count.flops == 2 * 2 * 16 * (8 // groups) * 9 * 8 * 10
    assert count.kind == "estimate"


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)])
def test_lstm_uses_four_gates_per_step(layers, bidirectional):
    batch, steps, width, hidden = 3, 5, 8, 16
    directions = 2 if bidirectional else 1
    module = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=bidirectional)
    expected = sum(
        2
        * batch
        * steps
        * directions
        * 4
        * hidden
        * ((width if layer == 0 else directions * hidden) + hidden)
        for layer in range(layers)
    )
    assert of(module, torch.zeros(batch, steps, width)).flops == expected


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3)])
def test_rnn_and_gru_use_their_gates_per_step(kind, gates):
    batch, steps, width, hidden = 3, 5, 8, 16
    count = of(kind(width, hidden, batch_first=True), torch.zeros(batch, steps, width))
    assert count.flops == 2 * batch * steps * gates * hidden * (width + hidden)


def test_gpu_lstm_counts_each_weight_matrix_once_per_step():
    weights = [torch.empty(64, 8), torch.empty(64, 16), torch.empty(64), torch.empty(64)]
    formula = OWN_FORMULAS["aten::_cudnn_rnn"]
    assert formula(torch.empty(5, 3, 8), weights, 4, out_val=None) == 2 * 5 * 3 * 4 * 16 * (8 + 16)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_scores_and_weighted_sum(causal):
    query, key = torch.zeros(2, 4, 5, 16), torch.zeros(2, 4, 7, 16)
    count = count_flops(lambda: functional.scaled_dot_product_attention(query, key, key, is_causal=causal))
    assert count.flops == 2 * (2 * 2 * 4 * 5 * 7 * 16)


def hand_multi_head(batch, tokens, width):
    return 4 * 2 * batch * tokens * width * width + 2 * 2 * batch * tokens * tokens * width


@pytest.mark.parametrize("fused", [True, False])
def test_multi_head_attention_counts_the_same_fused_or_not(fused):
    module = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    tokens = torch.zeros(2, 5, 16)
    with torch.set_grad_enabled(not fused):
        count = count_flops(lambda: module(tokens, tokens, tokens))
    assert ("aten::_native_multi_head_attention" in count.by_operation) == fused
    assert count.flops == hand_multi_head(2, 5, 16)


@pytest.mark.parametrize("fused", [True, False])
def test_encoder_layer_counts_the_same_fused_or_not(fused):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    with torch.set_grad_enabled(not fused):
        count = count_flops(lambda: layer(torch.zeros(2, 5, 16)))
    assert ("aten::_transformer_encoder_layer_fwd" in count.by_operation) == fused
    assert count.flops == hand_multi_head(2, 5, 16) + 2 * 2 * 2 * 5 * 16 * 32


def test_matrix_vector_products_and_dots_are_counted():
    matrix, vector = torch.zeros(3, 7), torch.zeros(7)
    assert count_flops(lambda: matrix @ vector).flops == 42
    assert count_flops(lambda: torch.addmv(torch.zeros(3), matrix, vector)).flops == 42
    assert count_flops(lambda: vector @ vector).flops == 14


def test_dynamic_int8_linear_counts_like_its_float_twin():
    with warnings.catch_warnings():
        # torch announces the removal of eager quantisation; users' checkpoints still hold such layers.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        module = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(20, 64)), {nn.Linear}, dtype=torch.qint8
        )
        assert of(module, torch.zeros(32, 20)).flops == 2 * 32 * 20 * 64


@pytest.mark.parametrize(
    ("forward", "operation"),
    [
        (lambda: torch.cdist(torch.zeros(3, 4), torch.zeros(5, 4)), "aten::_cdist_forward"),
        (lambda: torch.fft.rfft(torch.zeros(3, 8)), "aten::_fft_r2c"),
        (
            lambda: functional.bilinear(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(5, 3, 4)),
            "aten::_trilinear",
        ),
    ],
)
def test_an_operation_without_formula_makes_the_figure_a_lower_bound_and_is_named(forward, operation):
    count = count_flops(forward)
    assert count.kind == "lower_bound"
    assert count.unknown == (operation,)
    assert count.coverage == 0.0


def test_a_custom_operation_that_hides_a_product_is_named():
    library = torch.library.Library("auditkit_flop_test", "DEF")
    library.define("hidden(Tensor a, Tensor b) -> Tensor", tags=(torch.Tag.pointwise,))
    library.impl("hidden", lambda a, b: a @ b, "CPU")
    module = nn.Linear(4, 4)
    try:
        count = count_flops(
            lambda: torch.ops.auditkit_flop_test.hidden(module(torch.zeros(2, 4)), torch.zeros(4, 8))
        )
    finally:
        library._destroy()
    assert count.unknown == ("auditkit_flop_test::hidden",)
    assert count.flops == 2 * 2 * 4 * 4
    assert count.coverage == pytest.approx(8 / (8 + 16), **FLOAT)


def test_common_layers_without_products_leave_the_count_complete():
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.PReLU(),
        nn.Linear(16, 3),
        nn.LogSoftmax(1),
    )
    count = of(module, torch.zeros(2, 1, 8, 8))
    assert count.unknown == ()
    assert count.flops == 2 * 2 * 4 * 9 * 64 + 2 * 2 * 16 * 3


def test_a_model_without_products_costs_nothing_and_has_no_coverage():
    count = of(nn.ReLU(), torch.zeros(2, 3))
    assert (count.flops, count.coverage, count.kind) == (0, None, "estimate")


def test_meta_tensors_cost_nothing_to_count():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(4096, 4096), nn.Linear(4096, 4096))
        inputs = torch.empty(512, 4096)
    assert of(module, inputs).flops == 2 * 2 * 512 * 4096 * 4096


def test_counting_leaves_no_hook():
    module = nn.Linear(2, 2)
    of(module, torch.zeros(1, 2))
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
