"""One small model per kind of layer, for gradients of single rows; what goes in, and a name."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from auditkit.models.standardised import standardise
from auditkit.randomness import global_generators_seeded


@dataclass(frozen=True)
class Example:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    tokens: bool = False


class Judged(nn.Module):
    """A layer, the mean of what it puts out over positions, and a linear layer to three classes."""

    def __init__(self, layer: nn.Module, width: int, *, channels_first: bool = False) -> None:
        super().__init__()
        self.layer, self.channels_first = layer, channels_first
        self.output = nn.Linear(width, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found = self.layer(rows)
        found = found[0] if isinstance(found, tuple) else found
        if self.channels_first:
            found = found.flatten(2).transpose(1, 2)
        return self.output(torch.tanh(found).flatten(1, -2).mean(dim=1))


class Attending(nn.Module):
    def __init__(self, *, need_weights: bool = False, **options: object) -> None:
        super().__init__()
        self.need_weights = need_weights
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        padding = torch.zeros(rows.shape[:2], dtype=torch.bool)
        padding[:, -1] = True
        return self.attention(rows, rows, rows, key_padding_mask=padding, need_weights=self.need_weights)[0]


class Crossing(nn.Module):
    """Queries are the first two steps; keys and values, of another width if asked for, the others."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.turn = nn.Linear(6, width)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, kdim=width, vdim=width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        others = self.turn(rows[:, 2:])
        return self.attention(rows[:, :2], others, others * 0.5, need_weights=False)[0]


class Decoding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(rows.shape[1])
        return self.layer(rows, rows * 0.3, tgt_mask=mask, tgt_is_causal=True)


class StepsFirst(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layer(rows.transpose(0, 1))[0].transpose(0, 1)


class Started(nn.Module):
    """A GRU whose first state is made from the row, and whose last state is read."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.gru = nn.Linear(6, 5), nn.GRU(6, 5, batch_first=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.gru(rows, self.start(rows.mean(dim=1)).unsqueeze(0))[1].transpose(0, 1)


class LastCell(nn.Module):
    """Reads the cell state alone."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, batch_first=True)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.lstm(rows)[1][1].transpose(0, 1)


class Patched(nn.Module):
    """As vision transformers: a class token in front, positions added, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.positions = nn.Parameter(torch.randn(1, 9, 6))
        self.scale = nn.Parameter(torch.rand(6))
        self.layer = nn.Linear(6, 6)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = torch.cat([self.token.expand(len(rows), -1, -1), rows], dim=1)
        rows = rows + self.positions[:, : rows.shape[1]]
        return rows + self.scale * self.layer(rows)


class Adapted(nn.Module):
    """A frozen linear layer with a trained product of two thin matrices beside it, as LoRA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.frozen(rows) + self.up(self.down(rows)) * 2.0


class Merged(nn.Module):
    """The same, with the product added to the weight before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.randn(6, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return functional.linear(rows, self.frozen.weight + self.up @ self.down, self.frozen.bias)


class Tied(nn.Module):
    """A language model's table, looked up at both ends; twice the same token in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 6, padding_idx=0)
        self.positions = nn.Embedding(12, 6)
        self.inner = nn.Linear(6, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1]).unsqueeze(0)
        hidden = torch.tanh(self.inner(self.table(tokens) + self.positions(places)))
        return functional.linear(hidden, self.table.weight)


class Columns(nn.Module):
    """Positions looked up once for all rows, by ids of one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.positions = nn.Embedding(7, 6), nn.Embedding(12, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens) + self.positions(torch.arange(tokens.shape[1]))


class Twice(nn.Module):
    """One layer, called on what it put out."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inner = layer

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.tanh(self.inner(rows)))


class Mixed(nn.Module):
    """A function of two inputs that has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Bilinear(6, 6, 4)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.mix(rows, torch.sin(rows))


def bias_only() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True), nn.LayerNorm(6), nn.Linear(6, 4))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return module


def frozen_below() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4))
    module[0].requires_grad_(False)
    return module


def _standardised(layer: nn.Module) -> nn.Module:
    assert standardise(layer, [""]) == []
    return layer


def _line(layer: Callable[[], nn.Module], width: int, *shape: int) -> Example:
    return Example(lambda: Judged(layer(), width, channels_first=True), shape)


def _steps(layer: Callable[[], nn.Module], width: int) -> Example:
    return Example(lambda: Judged(layer(), width), (8, 6))


EXAMPLES = {
    "linear": _steps(lambda: nn.Linear(6, 5), 5),
    "linear, many positions": Example(lambda: Judged(nn.Linear(6, 5), 5), (70, 6)),
    "linear, wide": Example(lambda: nn.Sequential(nn.Linear(40, 60), nn.Tanh(), nn.Linear(60, 3)), (40,)),
    "linear over few positions, wide": Example(lambda: Judged(nn.Linear(40, 60), 60), (3, 40)),
    "frozen below": _steps(frozen_below, 4),
    "biases only": _steps(bias_only, 4),
    "embedding": Example(lambda: Judged(nn.Embedding(7, 6, padding_idx=1), 6), (8,), tokens=True),
    "tied embedding": Example(lambda: Judged(Tied(), 7), (8,), tokens=True),
    "positions of one dimension": Example(lambda: Judged(Columns(), 6), (8,), tokens=True),
    "conv1d": _line(lambda: nn.Conv1d(2, 4, 3, stride=2, dilation=2, padding=1), 4, 2, 12),
    "conv1d, same": _line(lambda: nn.Conv1d(2, 4, 4, padding="same"), 4, 2, 12),
    "conv1d, circular": _line(lambda: nn.Conv1d(2, 4, 3, padding=2, padding_mode="circular"), 4, 2, 12),
    "conv2d": _line(lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)), 4, 2, 6, 7),
    "conv2d, wide": _line(lambda: nn.Conv2d(12, 40, 3), 40, 12, 4, 4),
    "conv2d, groups": _line(lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), 6, 4, 6, 7),
    "conv2d, depthwise, reflected": _line(
        lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1, padding_mode="reflect"), 8, 4, 6, 7
    ),
    "standardised conv1d": _line(lambda: _standardised(nn.Conv1d(2, 4, 3, stride=2, padding=1)), 4, 2, 12),
    "standardised conv2d": _line(lambda: _standardised(nn.Conv2d(2, 4, 3, padding=1)), 4, 2, 6, 7),
    "standardised conv2d, wide": _line(lambda: _standardised(nn.Conv2d(12, 40, 3)), 40, 12, 4, 4),
    "standardised conv2d, one place": _line(lambda: _standardised(nn.Conv2d(12, 8, 4)), 8, 12, 4, 4),
    "standardised conv2d, groups": _line(
        lambda: _standardised(nn.Conv2d(4, 6, 3, groups=2, bias=False)), 6, 4, 6, 7
    ),
    "standardised conv2d, before group norm": _line(
        lambda: nn.Sequential(_standardised(nn.Conv2d(2, 8, 3)), nn.GroupNorm(2, 8)), 8, 2, 6, 6
    ),
    "standardised conv2d, called twice": _line(lambda: Twice(_standardised(nn.Conv2d(4, 4, 3))), 4, 4, 7, 7),
    "standardised conv2d, called twice, wide": _line(
        lambda: Twice(_standardised(nn.Conv2d(24, 24, 3))), 24, 24, 6, 6
    ),
    "standardised conv3d": _line(lambda: _standardised(nn.Conv3d(1, 3, 2, stride=(1, 2, 1))), 3, 1, 4, 5, 4),
    "conv3d": _line(lambda: nn.Conv3d(1, 3, 2, stride=(1, 2, 1), dilation=(2, 1, 1)), 3, 1, 4, 5, 4),
    "transposed conv1d": _line(lambda: nn.ConvTranspose1d(4, 2, 3, stride=2, output_padding=1), 2, 4, 6),
    "transposed conv2d": _line(
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), groups=2, padding=1, dilation=2), 6, 4, 6, 5
    ),
    "layer norm": _steps(lambda: nn.LayerNorm(6), 6),
    "layer norm over two axes": _steps(lambda: nn.LayerNorm((8, 6)), 6),
    "rms norm": _steps(lambda: nn.RMSNorm(6), 6),
    "group norm": _line(lambda: nn.GroupNorm(2, 4), 4, 4, 5, 5),
    # The convolution hands contiguous gradients back: on others torch 2.13 gets those of instance norm's
    # parameters wrong when the batch has one row, as the reference has.
    "instance norm": _line(
        lambda: nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 4, 1)), 4, 4, 5, 5
    ),
    "prelu": _line(lambda: nn.PReLU(4), 4, 4, 9),
    "prelu, one slope": _steps(nn.PReLU, 6),
    "attention": _steps(Attending, 6),
    "attention with its weights": _steps(lambda: Attending(need_weights=True, bias=False), 6),
    "attention across": _steps(Crossing, 6),
    "attention across, other widths": _steps(lambda: Crossing(5), 6),
    "attention with an own key": _steps(lambda: Attending(add_bias_kv=True), 6),
    "transformer encoder layer": _steps(
        lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True), 6
    ),
    "transformer decoder layer": _steps(Decoding, 6),
    "rnn": _steps(lambda: nn.RNN(6, 5, batch_first=True), 5),
    "rnn, relu, steps first": _steps(lambda: StepsFirst(nn.RNN(6, 5, nonlinearity="relu")), 5),
    "gru, two levels, both ways": _steps(
        lambda: nn.GRU(6, 5, num_layers=2, bidirectional=True, batch_first=True), 10
    ),
    "gru with a start": _steps(Started, 5),
    "lstm, two levels, both ways, no bias": _steps(
        lambda: nn.LSTM(6, 5, num_layers=2, bidirectional=True, bias=False, batch_first=True), 10
    ),
    "lstm, steps first": _steps(lambda: StepsFirst(nn.LSTM(6, 5)), 5),
    "lstm, last cell": _steps(LastCell, 5),
    "class token, positions, scale": _steps(Patched, 6),
    "low rank beside": _steps(Adapted, 6),
    "low rank merged": _steps(Merged, 6),
    "weight norm": _steps(lambda: weight_norm(nn.Linear(6, 5)), 5),
    "bilinear": _steps(Mixed, 4),
}


def built_example(name: str) -> nn.Module:
    with global_generators_seeded(0):
        return EXAMPLES[name].make().train()
