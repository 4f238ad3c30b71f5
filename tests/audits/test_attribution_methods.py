"""Methods of attribution: against Captum, against plain references, and refused where they would be wrong."""

import contextlib
import copy
import math
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import LRP, DeepLift
from torch import nn
from torch.nn import functional

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.safe_front import Attributed, attributed, score_changes
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.execution.isolation import unchanged
from auditkit.models.bert import BertParameters, EncoderClassifier
from auditkit.randomness import torch_rng
from auditkit.records import Message
from auditkit.subjects.torch_subject import TorchSubject
from benchmarks.attribution_systems import SYSTEMS, rows_of, system
from benchmarks.captum_agreement import TOLERANCE, agreement_on
from tests.tolerances import FLOAT32, SAME_RUN

GRADIENT_METHODS = ("integrated-gradients", "saliency", "input-x-gradient", "gradient-shap", "smoothgrad")
"""Work wherever gradients do, and Captum has them."""


def subject_of(module, classes=("a", "b", "c")):
    return TorchSubject.build(module, architecture=Architecture(name="test"), classes=classes)


def dataset(inputs, features=FeatureSpace(()), classes=("a", "b", "c")):  # noqa: B008 - frozen
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=inputs,
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=classes,
        features=features,
    )


def rows_for(module, inputs, *, batch_size=256, features=FeatureSpace(()), classes=("a", "b", "c")):  # noqa: B008
    subject = subject_of(module, classes)
    data = dataset(inputs, features, classes)
    target = subject.predict(data, batch_size=64).y_pred
    found = explained_rows(subject, data, target, explained="logit", batch_size=batch_size)
    assert isinstance(found, ExplainedRows), str(found)
    return found


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return build()


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def given(name, rows, seed=0):
    return attributed(METHODS[name], rows, torch_rng(seed, name))


class Calls(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between, width=12):
        super().__init__()
        self.first, self.second = nn.Linear(6, width), nn.Linear(width, 3)
        self.between = between

    def forward(self, inputs):
        return self.second(self.between(self.first(inputs)))


# --- against Captum ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_method_equals_captum_on_every_system_where_both_are_what_they_promise(name):
    found = agreement_on(name, n=4)
    for method, row in found.items():
        if row["deviation"] is not None:
            assert row["deviation"] < TOLERANCE, method
    assert all(found[method]["deviation"] is not None for method in GRADIENT_METHODS)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("deep-lift", {"xor", "mlp", "mlp-plain", "cnn", "vgg"}),
        ("lrp", {"mlp", "mlp-plain", "cnn", "vgg"}),
        ("guided-backprop", set(SYSTEMS) - {"xor", "rnn", "bert", "gpt"}),
        ("grad-cam", {"cnn", "resnet", "vgg"}),
        ("attention-rollout", {"bert", "gpt", "transformer-lm"}),
    ],
)
def test_a_method_is_used_on_those_systems_for_which_it_has_rules_and_on_no_other(method, names):
    used = set()
    for name in SYSTEMS:
        found = given(method, rows_of(*system(name, n=3)))
        if isinstance(found, Attributed):
            used.add(name)
        else:
            assert len(str(found)) > 20
    assert used == names


def test_deep_lift_of_a_maximum_equals_captum_where_the_baseline_has_no_ties():
    module = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
        )
    )
    rows = rows_for(module, normal(5, 1, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = DeepLift(module).attribute(
            rows.inputs, rows.baseline.expand_as(rows.inputs), target=rows.target
        )
    ours = given("deep-lift", rows)
    assert ours.values == pytest.approx(theirs.detach().flatten(1).double().numpy(), abs=1e-6)


# --- nothing wrong in silence -----------------------------------------------------------------------

REUSED = nn.ReLU()

SINGLE_NUMBER = {
    "functional relu": torch.relu,
    "relu of functional": functional.relu,
    "GELU": nn.GELU(),
    "functional gelu": functional.gelu,
    "silu": nn.SiLU(),
    "tanh": torch.tanh,
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "in place": nn.ReLU(inplace=True),
    "elu": nn.ELU(),
    "hardswish": nn.Hardswish(),
    "square": lambda x: x**2,
    "exponential": torch.exp,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "reused": nn.Sequential(REUSED, nn.Linear(12, 12), REUSED, nn.Linear(12, 12), REUSED),
    "residual": lambda x: x + torch.relu(x),
    "BatchNorm1d": nn.Sequential(nn.BatchNorm1d(12), nn.ReLU()),
    "maximum": lambda x: functional.max_pool1d(x.unsqueeze(1), 3, stride=1, padding=1).squeeze(1),
    "halves": lambda x: torch.cat([x[:, :6].relu(), x[:, 6:].tanh() / 3], dim=1),
}
"""What bends one number at a time, or takes the largest: the rules are right for all of it."""


@pytest.mark.parametrize("between", SINGLE_NUMBER)
def test_deep_lift_adds_up_whatever_way_a_nonlinearity_is_called(between):
    rows = rows_for(seeded(lambda: Calls(SINGLE_NUMBER[between])), normal(32, 6))
    rows = replace(rows, baseline=normal(1, 6, seed=9))
    found = given("deep-lift", rows)
    assert isinstance(found, Attributed), str(found)
    assert found.gap.max() < 1e-5
    assert found.complete.all()


BENT_TOGETHER = {
    "layer_norm": nn.LayerNorm(12),
    "softmax": nn.Softmax(dim=1),
    "log_softmax": nn.LogSoftmax(dim=1),
    "normalize": functional.normalize,
    "mul": lambda x: x[:, :6].repeat(1, 2) * x,
    "matmul": lambda x: (x.unsqueeze(2) @ x.unsqueeze(1)).sum(dim=2),
    "max": lambda x: x - x.max(dim=1, keepdim=True).values,
    "group_norm": nn.GroupNorm(3, 12),
    "detach": lambda x: x.detach().abs() * x,
    "gt": lambda x: (x > 0) * x,
    "relu_": lambda x: x.clone().relu_(),
    "__setitem__": lambda x: _set(x.clone()),
    "logsumexp": lambda x: x - x.logsumexp(dim=1, keepdim=True),
    "norm": lambda x: x / x.norm(dim=1, keepdim=True),
}


def _set(x):
    x[:, 0] = 0
    return x


@pytest.mark.parametrize("method", ["deep-lift", "lrp"])
@pytest.mark.parametrize("between", BENT_TOGETHER)
def test_what_has_no_rule_is_refused_by_name(method, between):
    rows = rows_for(seeded(lambda: Calls(BENT_TOGETHER[between])), normal(8, 6))
    reason = METHODS[method].obstacle(rows)
    assert isinstance(reason, Message)
    assert between in str(reason)
    assert method in str(reason)


def test_a_refusal_names_the_layer_at_fault():
    rows = rows_for(seeded(lambda: Calls(nn.Sequential(nn.ReLU(), nn.LayerNorm(12)))), normal(8, 6))
    said = str(METHODS["deep-lift"].obstacle(rows))
    assert "between.1" in said
    assert "LayerNorm" in said


class _StraightThrough(torch.autograd.Function):
    """A step whose gradient is that of the identity."""

    @staticmethod
    def forward(_context, inputs):
        return inputs.round()

    @staticmethod
    def backward(_context, gradient):
        return gradient


def test_backward_rules_of_the_model_s_own_and_calls_outside_python_are_refused():
    own = rows_for(seeded(lambda: Calls(_StraightThrough.apply)), normal(8, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = torch.jit.script(nn.Sequential(nn.ReLU(), nn.Linear(12, 12)))
    scripted = rows_for(seeded(lambda: Calls(inner)), normal(8, 6))
    for method in ("deep-lift", "lrp"):
        assert METHODS[method].obstacle(own) is not None
        said = str(METHODS[method].obstacle(scripted))
        assert "between" in said
        assert "TorchScript" in said


def test_a_part_without_gradients_is_refused():
    def frozen(x):
        with torch.no_grad():
            part = torch.relu(x)
        return x + part

    rows = rows_for(seeded(lambda: Calls(frozen)), normal(8, 6))
    assert "no_grad" in str(METHODS["deep-lift"].obstacle(rows))


def test_a_sum_that_does_not_come_out_is_withheld_with_the_figure():
    rows = rows_for(seeded(lambda: Calls(nn.ReLU())), normal(8, 6))
    broken = AttributionMethod(
        name="broken",
        attribute=lambda rows, _rng: 1.1 * METHODS["deep-lift"].attribute(rows, _rng),
        adds_up=True,
        exact=True,
    )
    said = attributed(broken, rows, torch_rng(0))
    assert isinstance(said, Message)
    assert float(said.values["gap"]) == pytest.approx(0.1 * np.abs(score_changes(rows)).max(), rel=0.02)


def test_calls_that_differ_between_row_and_baseline_are_refused():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, inputs):
            moved = float(inputs.detach().numpy().std()) > 0.1
            return self.head(inputs.tanh() if moved else inputs)

    found = given("deep-lift", rows_for(seeded(Branch), normal(8, 6)))
    assert isinstance(found, Message)


# --- known answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input-x-gradient", "gradient-shap", "deep-lift", "integrated-gradients"])
def test_a_linear_model_gets_weight_times_distance_from_the_baseline_by_every_method_that_adds_up(name):
    module, inputs = seeded(lambda: nn.Linear(6, 3)), normal(16, 6)
    rows = replace(rows_for(module, inputs), baseline=normal(1, 6, seed=4))
    expected = (module.weight.detach()[rows.target] * (inputs - rows.baseline)).double().numpy()
    assert given(name, rows).values == pytest.approx(expected, **FLOAT32)


@pytest.mark.parametrize("name", ["saliency", "smoothgrad"])
def test_a_linear_model_gets_its_absolute_weights_as_gradients(name):
    module = seeded(lambda: nn.Linear(6, 3))
    rows = rows_for(module, normal(16, 6))
    expected = module.weight.detach()[rows.target].abs().double().numpy()
    assert given(name, rows).values == pytest.approx(expected, **FLOAT32)


def test_relevance_of_a_relu_network_is_gradient_times_input_and_adds_up_without_biases():
    module = seeded(
        lambda: nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU(), nn.Linear(12, 3, bias=False))
    )
    rows = rows_for(module, normal(16, 6))
    found = given("lrp", rows)
    scores = rows.score(rows.inputs, rows.target).detach().double().numpy()
    assert found.values.sum(axis=1) == pytest.approx(scores, **FLOAT32)
    assert found.values == pytest.approx(given("input-x-gradient", rows).values, **FLOAT32)


@pytest.mark.parametrize(
    "between", ["functional relu", "in place", "reused", "residual", "BatchNorm1d", "maximum"]
)
def test_relevance_of_what_is_straight_in_pieces_is_gradient_times_input_however_it_is_called(between):
    rows = rows_for(seeded(lambda: Calls(SINGLE_NUMBER[between])), normal(16, 6))
    found, plain = given("lrp", rows), given("input-x-gradient", rows)
    assert found.values == pytest.approx(plain.values, **FLOAT32)


def test_relevance_of_a_network_with_tanh_equals_captum():
    module = seeded(
        lambda: nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    )
    rows = rows_for(module, normal(16, 6))
    theirs = LRP(copy.deepcopy(module)).attribute(
        rows.inputs.clone().requires_grad_(True), target=rows.target
    )
    assert given("lrp", rows).values == pytest.approx(theirs.detach().double().numpy(), **FLOAT32)


def test_guided_backpropagation_lets_nothing_negative_through_a_relu():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(2))
        module[2].weight.copy_(torch.tensor([[0.0, 0.0], [3.0, -1.0]]))
    rows = rows_for(module, torch.tensor([[1.0, 2.0]]), classes=("a", "b"))
    found = given("guided-backprop", rows)
    assert rows.target.tolist() == [1]
    assert found.values.tolist() == [[3.0, 0.0]]


def test_grad_cam_finds_the_only_place_that_counts():
    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            with torch.no_grad():
                self.conv.weight.zero_()[0, 0, 1, 1] = 1.0
                self.conv.bias.zero_()

        def forward(self, inputs):
            seen = self.conv(inputs)
            return torch.stack([-seen.sum(dim=(1, 2, 3)), seen.sum(dim=(1, 2, 3))], dim=1)

    picture = torch.zeros(1, 1, 6, 6)
    picture[0, 0, 1, 4] = 2.0
    rows = rows_for(Corner(), picture, features=FeatureSpace((), (), (6, 6)), classes=("a", "b"))
    found = given("grad-cam", rows).values[0].reshape(6, 6)
    # the mean gradient of the map is 1, so the map itself remains
    assert found == pytest.approx(picture[0, 0].numpy(), **FLOAT32)


# --- attention --------------------------------------------------------------------------------------

VOCABULARY = tuple("_abcdefg")


class Encoder(nn.Module):
    """torch's own layers with learned positions and one of two ways to read them."""

    def __init__(self, pooling):
        super().__init__()
        self.tokens, self.pooling = nn.Embedding(8, 8), pooling
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        padding = ids == 0
        states = self.encoder(self.tokens(ids), src_key_padding_mask=padding)
        if self.pooling == "first":
            return self.head(states[:, 0])
        real = (~padding).unsqueeze(2)
        return self.head((states * real).sum(dim=1) / real.sum(dim=1))


def texts(n=5):
    ids = torch.randint(1, 8, (n, 6), generator=torch.Generator().manual_seed(0))
    ids[: n // 2, 4:] = 0
    return ids, FeatureSpace((), tokens=TokenSpace(VOCABULARY, 0))


def plainly_rolled_out(module, ids, *, first):
    """Layer by layer, with the weights asked of each in turn."""
    with torch.no_grad():
        states, rolled = module.tokens(ids), torch.eye(ids.shape[1]).expand(len(ids), -1, -1)
        for layer in module.encoder.layers:
            _, weights = layer.self_attn(states, states, states, key_padding_mask=ids == 0)
            rolled = (0.5 * weights + 0.5 * torch.eye(ids.shape[1])) @ rolled
            states = layer(states, src_key_padding_mask=ids == 0)
    if first:
        return rolled[:, 0].numpy()
    real = (ids != 0).float()
    return ((real / real.sum(dim=1, keepdim=True)).unsqueeze(1) @ rolled).squeeze(1).numpy()


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_roll_out_of_torch_layers_is_the_product_of_their_weights(pooling):
    module, (ids, features) = seeded(lambda: Encoder(pooling)).eval(), texts()
    found = given("attention-rollout", rows_for(module, ids, features=features))
    assert isinstance(found, Attributed), str(found)
    assert found.values == pytest.approx(plainly_rolled_out(module, ids, first=pooling == "first"), **FLOAT32)
    assert (found.values[ids.numpy() == 0] == 0).all()
    assert found.values.sum(axis=1) == pytest.approx(np.ones(len(ids)), **FLOAT32)


def test_roll_out_of_one_layer_of_the_project_s_own_encoder_is_its_attention():
    parameters = BertParameters(
        vocabulary_size=8, length=6, n_classes=3, width=8, heads=2, layers=1, pooling="first"
    )
    module, (ids, features) = seeded(lambda: EncoderClassifier(parameters)).eval(), texts()
    found = given("attention-rollout", rows_for(module, ids, features=features))
    with torch.no_grad():
        states = module.embedding_norm(module.token_embedding(ids) + module.positions(ids))
        attention = module.blocks[0].attention
        joint = attention.query_key_value(states).view(5, 6, 3, 2, 4)
        raw = torch.einsum("nqhd,nkhd->nhqk", joint[:, :, 0], joint[:, :, 1]) / math.sqrt(4)
        weights = raw.masked_fill((ids == 0)[:, None, None], -torch.inf).softmax(dim=3).mean(dim=1)
    expected = 0.5 * weights[:, 0] + 0.5 * torch.eye(6)[0]
    assert found.values == pytest.approx(expected.numpy(), **FLOAT32)


def test_attention_that_a_model_writes_out_itself_is_caught_like_that_of_torch():
    class WrittenOut(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.joint, self.head = nn.Embedding(8, 8), nn.Linear(8, 24), nn.Linear(8, 3)
            self.by_torch = False

        def forward(self, ids):
            query, key, value = self.joint(self.tokens(ids)).view(len(ids), 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
            if self.by_torch:
                mixed = functional.scaled_dot_product_attention(query, key, value)
            else:
                mixed = torch.softmax(query @ key.mT / 2, dim=-1) @ value
            return self.head(mixed.transpose(1, 2).flatten(2)[:, 2])

    module, (ids, features) = seeded(WrittenOut), texts()
    rows = rows_for(module, ids, features=features)
    own = given("attention-rollout", rows)
    module.by_torch = True
    assert own.values == pytest.approx(given("attention-rollout", rows).values, **FLOAT32)


def test_a_model_of_language_is_rolled_out_from_the_last_token_and_never_looks_ahead():
    rows = rows_of(*system("gpt", n=4))
    found = given("attention-rollout", rows)
    assert found.values.sum(axis=1) == pytest.approx(np.ones(4), **FLOAT32)
    assert (found.values[~rows.present] == 0).all()


# --- no trace, no chance ----------------------------------------------------------------------------


def scenes():
    ids, features = texts(4)
    relu = seeded(lambda: Calls(nn.Sequential(nn.ReLU(), nn.Dropout(0.5))))
    pictures = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3))
    )
    return {
        "table": (relu, normal(20, 6), FeatureSpace(())),
        "pictures": (pictures, normal(4, 1, 6, 6), FeatureSpace((), (), (6, 6))),
        "texts": (seeded(lambda: Encoder("mean")), ids, features),
    }


def global_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize("scene", ["table", "pictures", "texts"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_repeats_itself_whatever_the_batch_and_leaves_nothing_behind(name, scene):
    module, inputs, features = scenes()[scene]
    rows = rows_for(module, inputs, features=features, batch_size=256)
    before = global_state()
    with unchanged(rows.subject, rows.subject, seed=0) as watch:
        found = given(name, rows)
        again = given(name, rows)
    assert not watch.violations
    assert global_state() == before
    if isinstance(found, Message):
        assert str(found) == str(again)
        return
    assert np.array_equal(found.values, again.values)
    in_parts = given(name, replace(rows, batch_size=16))
    assert in_parts.values == pytest.approx(found.values, **SAME_RUN)
    module.train()
    assert np.array_equal(given(name, rows).values, found.values)
    assert all(layer.training for layer in module.modules())


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_nothing_behind_when_the_model_raises(name):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.left = nn.Conv2d(1, 2, 3), nn.Linear(32, 3), 9

        def forward(self, inputs):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("worn out")
            return self.head(torch.relu(self.conv(inputs)).flatten(1))

    module = seeded(Fails)
    rows = rows_for(module, normal(4, 1, 6, 6), features=FeatureSpace((), (), (6, 6)))
    with unchanged(rows.subject, rows.subject, seed=0) as watch:
        for left in range(6):
            module.left = left
            with contextlib.suppress(RuntimeError):
                given(name, rows)
    assert not watch.violations


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_draws_at_random_is_refused(name):
    rows = rows_for(seeded(lambda: Calls(lambda x: functional.dropout(x, 0.5, training=True))), normal(8, 6))
    assert "at random" in str(given(name, rows))
