"""Networks that DP-SGD must refuse, with what the refusal has to say, and such that it must not."""

import torch
from torch import nn
from torch.nn import functional

from auditkit.config import Architecture
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from tests.privacy import networks
from tests.privacy.networks import Counting, Folded, Standardised, Unused

VECTOR, PICTURE = torch.zeros(6), torch.zeros(1, 8, 8)
STEPS, TOKENS = torch.zeros(5, 6), torch.zeros(4, dtype=torch.int64)


class OwnBatchNorm(nn.BatchNorm1d):
    """A subclass under another name."""


class FixedBatchNorm(nn.Module):
    """Kept in evaluation mode, nothing of it trained."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6).requires_grad_(False)
        self.output = nn.Linear(6, 3)

    def train(self, mode: bool = True) -> "FixedBatchNorm":
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(rows))


class Accumulating(nn.Module):
    """Keeps a running mean in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)
        self.centre = None

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        mean = rows.detach().mean(dim=0)
        self.centre = mean if self.centre is None else 0.9 * self.centre + 0.1 * mean
        return self.output(rows - self.centre)


class CountsInPassing(nn.Module):
    """Counts, and nothing depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)
        self.n_seen = 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.n_seen += len(rows)
        return self.output(rows)


class Then(nn.Module):
    """A function of all outputs behind a linear layer."""

    def __init__(self, function, n_inputs: int = 6) -> None:
        super().__init__()
        self.output = nn.Linear(n_inputs, 3)
        self.function = function

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.function(self.output(rows))


class PartlyFolded(nn.Module):
    """One layer sees positions folded into rows, the other does not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.output = nn.Linear(20, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.inner(rows.reshape(-1, 6)))
        return self.output(inner.reshape(len(rows), -1))


class CoupledBackward(torch.autograd.Function):
    """Leaves outputs alone and averages gradients over rows."""

    @staticmethod
    def forward(ctx, rows):
        return rows.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient - 0.5 * gradient.mean(dim=0, keepdim=True)


class CoupledGradients(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(torch.tanh(CoupledBackward.apply(self.inner(rows))))


class OwnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, weight):
        ctx.save_for_backward(rows, weight)
        return rows @ weight.T

    @staticmethod
    def backward(ctx, gradient):
        rows, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ rows


class Unseen(nn.Module):
    """Multiplies in a function of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4, bias=False)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(torch.tanh(OwnProduct.apply(rows, self.inner.weight)))


class StartsFromData(nn.Module):
    """Takes its scale from the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.output = nn.Linear(6, 3)
        self.started = False

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if not self.started:
            self.scale.data = 1 / rows.detach().std(dim=0)
            self.started = True
        return self.output(rows * self.scale)


class OwnGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(rows * (torch.rand(6, generator=self.generator) > 0.5))


def similarities(outputs: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(outputs)
    return unit @ unit.T


def frozen(layer: nn.Module) -> nn.Module:
    return layer.requires_grad_(False)


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def pictures(norm: nn.Module) -> nn.Module:
    return chain(nn.Conv2d(1, 4, 3), norm, nn.Flatten(), nn.Linear(144, 3))


def recurrent_over_rows() -> nn.Module:
    module = networks.Recurrent()
    module.lstm.batch_first = False
    return module


CASES = {
    "BatchNorm": (networks.batch_norm, VECTOR, r"'normed' \(BatchNorm1d\).*GroupNorm.*--fix"),
    "BatchNorm without weights": (networks.frozen_batch_norm, VECTOR, r"'1' \(BatchNorm1d\)"),
    "frozen BatchNorm in training mode": (
        lambda: chain(nn.Linear(6, 8), frozen(nn.BatchNorm1d(8)), nn.Linear(8, 3)),
        VECTOR,
        r"'1' \(BatchNorm1d\).*frozen or not",
    ),
    "BatchNorm without running statistics": (
        lambda: pictures(nn.BatchNorm2d(4, track_running_stats=False)),
        PICTURE,
        r"'1' \(BatchNorm2d\)",
    ),
    "SyncBatchNorm": (lambda: pictures(nn.SyncBatchNorm(4)), PICTURE, r"'1' \(SyncBatchNorm\)"),
    "subclass of BatchNorm": (
        lambda: chain(nn.Linear(6, 8), OwnBatchNorm(8), nn.Linear(8, 3)),
        VECTOR,
        "OwnBatchNorm",
    ),
    "standardised by hand": (Standardised, VECTOR, r"another row.*Standardised.forward"),
    "normalised by hand, inside": (
        lambda: chain(nn.Linear(6, 4), Then(lambda out: out / out.norm(dim=0), 4)),
        VECTOR,
        r"first in layer '1' \(Then\)",
    ),
    "functional batch_norm": (
        lambda: Then(lambda out: functional.batch_norm(out, None, None, training=True)),
        VECTOR,
        "another row",
    ),
    "InstanceNorm with running statistics": (
        networks.running_instance_norm,
        PICTURE,
        r"'1' \(InstanceNorm2d\).*track_running_stats=False",
    ),
    "Embedding with max_norm": (
        lambda: chain(nn.Embedding(5, 4, max_norm=1.0), nn.Flatten(), nn.Linear(16, 3)),
        TOKENS,
        r"'0' \(Embedding\): max_norm",
    ),
    "Embedding scaled by frequency": (
        lambda: chain(nn.Embedding(5, 4, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(16, 3)),
        TOKENS,
        "scale_grad_by_freq",
    ),
    "spectral_norm": (
        lambda: chain(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4)), nn.Linear(4, 3)),
        VECTOR,
        r"'0\.parametrizations\.weight\.0\._u'.*weight_norm",
    ),
    "a buffer that counts": (Counting, VECTOR, "'seen'"),
    "cumulative state in an attribute": (Accumulating, VECTOR, r"after another pass \('centre' changes\)"),
    "weights taken from the first batch": (StartsFromData, VECTOR, "rewrites 'scale'"),
    "a generator of its own": (OwnGenerator, VECTOR, "generator of its own"),
    "contrastive": (lambda: Then(similarities), VECTOR, "another row"),
    "pooled over the batch": (
        lambda: Then(lambda out: out.mean(dim=0)),
        VECTOR,
        r"4 rows give outputs of shape \(3,\)",
    ),
    "running sum over the batch": (lambda: Then(lambda out: out.cumsum(dim=0)), VECTOR, "another row"),
    "the last row taken off": (lambda: Then(lambda out: out - out[-1:].detach()), VECTOR, "another row"),
    "divided by the number of rows": (
        lambda: Then(lambda out: out / len(out)),
        VECTOR,
        "number of rows in its batch",
    ),
    "recurrent over the batch": (
        recurrent_over_rows,
        STEPS,
        r"first in layer 'lstm' \(LSTM\)",
    ),
    "gradients coupled, outputs not": (CoupledGradients, VECTOR, "gradient of a row changes"),
    "batch folded in all layers": (
        Folded,
        torch.zeros(2, 6),
        r"'output\.weight' is called with 6 rows.*none folded",
    ),
    "batch folded in some layers": (PartlyFolded, STEPS, r"'inner\.weight' is called with 15 rows"),
    "squeezed for a single row": (
        lambda: Then(lambda out: out.squeeze()),
        VECTOR,
        r"1 rows give outputs of shape \(3,\)",
    ),
    "a layer left out": (Unused, VECTOR, r"'spare\.weight', 'spare\.bias'.*requires_grad_\(False\)"),
    "a function of its own": (Unseen, VECTOR, r"gradients of 'inner\.weight' are not seen"),
    "a branch that all rows decide": (
        lambda: Then(lambda out: out if out.sum() > 0 else -out),
        VECTOR,
        "another row",
    ),
    "several outputs": (lambda: Then(lambda out: (out, out)), VECTOR, "gives a tuple"),
    "a row of another shape": (lambda: nn.Linear(7, 3), VECTOR, "cannot be called with random rows"),
    "nothing to train": (lambda: frozen(nn.Linear(6, 3)), VECTOR, "nothing is to be trained"),
}


class FunctionalUse(nn.Module):
    """Uses the weight of a child without calling the child."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(torch.tanh(functional.linear(rows, self.inner.weight) + self.inner.bias))


class SharedDropout(nn.Module):
    """One mask for all rows: random, but of no row."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 8)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.inner(rows))
        return self.output(inner * (torch.rand(1, 8, device=rows.device) > 0.3))


class DropsPaths(nn.Module):
    """Skips a layer at random, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.output = nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        kept = rows.new_empty(len(rows), 1).bernoulli_(0.7)
        return self.output(rows + kept * torch.relu(self.inner(rows)))


class Adapted(nn.Module):
    """A frozen layer with a trained correction of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.front = frozen(nn.Linear(6, 8))
        self.down = nn.Linear(6, 2, bias=False)
        self.up = nn.Linear(2, 8, bias=False)
        self.output = frozen(nn.Linear(8, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(torch.relu(self.front(rows) + 0.5 * self.up(self.down(rows))))


class CachesPositions(nn.Module):
    """Makes its table of positions when it is first called, and keeps what it last attended to."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, dropout=0.1)
        self.output = nn.Linear(8, 3)
        self.table = None
        self.last = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, tokens.shape[1]).unsqueeze(1)
        rows = self.embedding(tokens) + self.table
        mixed, self.last = self.attention(rows, rows, rows)
        return self.output(mixed.mean(dim=1))


class Patches(nn.Module):
    """A picture as patches behind a token of its own, with positions."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.start = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 5, 8) * 0.1)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        patches = self.patches(rows).flatten(2).transpose(1, 2)
        steps = torch.cat([self.start.expand(len(rows), -1, -1), patches], dim=1) + self.positions
        return self.output(self.layer(steps)[:, 0])


class WithoutRule(nn.Module):
    """A product for which the engine has no rule of its own, and a mask drawn by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(torch.einsum("bi,ij->bj", rows, self.weight))
        return self.output(functional.dropout(inner, 0.5, self.training))


def zoo(name: str, n_classes: int = 3, **parameters: object):
    def make() -> nn.Module:
        sizes = {"n_inputs": 64, "height": 8, "width": 8, "n_classes": n_classes}
        architecture = Architecture.model_validate({"name": name, **parameters})
        return build_module(architecture, rng=torch_rng(0, "test"), **sizes)

    return make


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.output = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.output(self.layer(self.embedding(tokens)).mean(dim=1))


class Huggingface(nn.Module):
    """A transformers model, from a tiny config."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        import transformers

        if kind == "bert":
            config = transformers.BertConfig(
                vocab_size=5,
                hidden_size=8,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                max_position_embeddings=8,
                num_labels=3,
            )
            self.model = transformers.BertForSequenceClassification(config)
        else:
            config = transformers.GPT2Config(
                vocab_size=5, n_embd=8, n_layer=2, n_head=2, n_positions=8, num_labels=3, pad_token_id=0
            )
            self.model = transformers.GPT2ForSequenceClassification(config)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(tokens).logits


def biases_alone() -> nn.Module:
    module = networks.mlp()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("bias" in name)
    return module


FLAT = torch.zeros(64)
VALID = {
    "mlp": (networks.mlp, VECTOR),
    "dropout": (networks.mlp_with_dropout, VECTOR),
    "convolution and GroupNorm": (networks.convolutional, PICTURE),
    "LayerNorm": (lambda: chain(nn.Linear(6, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)), VECTOR),
    "log-softmax": (
        lambda: chain(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(1)),
        PICTURE,
    ),
    "InstanceNorm of the row": (lambda: pictures(nn.InstanceNorm2d(4, affine=True)), PICTURE),
    "LSTM": (networks.Recurrent, STEPS),
    "LSTM, steps first": (networks.StepsFirst, STEPS),
    "GRU of two levels, both directions, dropout": (lambda: networks.OfCell(nn.GRU, dropout=0.2), STEPS),
    "attention": (networks.FusedAttention, STEPS),
    "encoder layer": (Encoder, TOKENS),
    "tied and shared weights": (networks.Shared, TOKENS),
    "weight_norm": (
        lambda: chain(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 3)),
        VECTOR,
    ),
    "PReLU": (lambda: chain(nn.Linear(6, 4), nn.PReLU(4), nn.Linear(4, 3)), VECTOR),
    "transposed convolution": (
        lambda: chain(nn.ConvTranspose2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(578, 3)),
        PICTURE,
    ),
    "activation in place": (
        lambda: chain(nn.Linear(6, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)),
        VECTOR,
    ),
    "low-rank adapter": (Adapted, VECTOR),
    "frozen front": (lambda: FrozenFront(nn.Linear(6, 4), nn.Linear(4, 3)), VECTOR),
    "biases alone": (biases_alone, VECTOR),
    "weight of a child": (FunctionalUse, VECTOR),
    "dropout shared by the batch": (SharedDropout, VECTOR),
    "paths dropped by row": (DropsPaths, VECTOR),
    "caches": (CachesPositions, TOKENS),
    "patches of a picture": (Patches, PICTURE),
    "a function without a rule": (WithoutRule, VECTOR),
    "bfloat16": (lambda: chain(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).bfloat16(), VECTOR.bfloat16()),
    "BERT": (lambda: Huggingface("bert"), TOKENS),
    "GPT-2": (lambda: Huggingface("gpt"), TOKENS),
    "tabular-mlp": (zoo("tabular-mlp"), FLAT),
    "mlp of the zoo": (zoo("mlp"), FLAT),
    "mlp-plain": (zoo("mlp-plain"), FLAT),
    "net": (zoo("net"), FLAT),
    "cnn": (zoo("cnn"), FLAT),
    "resnet": (zoo("resnet"), FLAT),
    "vgg": (zoo("vgg"), FLAT),
    "scattering": (zoo("scattering"), FLAT),
}
