"""Small networks, suitable and unsuitable for per-example gradients."""

from collections import OrderedDict

import torch
from torch import nn

from auditkit.models.standardised import standardise
from auditkit.randomness import global_generators_seeded


def built(make, seed: int = 0) -> nn.Module:
    """``make()`` in training mode with the initial values of ``seed``."""
    with global_generators_seeded(seed):
        return make().train()


def mlp(n_inputs: int = 6, n_classes: int = 3, hidden: int = 8) -> nn.Module:
    return nn.Sequential(
        OrderedDict(hidden=nn.Linear(n_inputs, hidden), relu=nn.ReLU(), output=nn.Linear(hidden, n_classes))
    )


def mlp_with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def standardised() -> nn.Module:
    module = convolutional()
    assert standardise(module, ["0"]) == []
    return module


class Sequences(nn.Module):
    """Tokens in, mean over positions, classes out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.LayerNorm(4)
        self.inner = nn.Linear(4, 6)
        self.output = nn.Linear(6, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.inner(self.norm(self.embedding(tokens))))
        return self.output(inner.mean(dim=1))


def batch_norm() -> nn.Module:
    return nn.Sequential(OrderedDict(first=nn.Linear(6, 8), normed=nn.BatchNorm1d(8), last=nn.Linear(8, 3)))


def frozen_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, affine=False), nn.Linear(8, 3))


def running_instance_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


def capped_embedding() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4, max_norm=1.0), nn.Flatten(), nn.Linear(12, 3))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 4, batch_first=True)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(rows)[0][:, -1])


class StepsFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(rows.transpose(0, 1))[0][-1])


class FusedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.output = nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.attention(rows, rows, rows)[0].mean(dim=1))


class OfCell(nn.Module):
    """Two levels, both directions, of a given recurrent layer."""

    def __init__(self, cell: type[nn.RNNBase], **options: object) -> None:
        super().__init__()
        self.cell = cell(6, 4, num_layers=2, bidirectional=True, batch_first=True, **options)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.cell(rows)[0].amax(dim=1))


class Shared(nn.Module):
    """One layer called twice, a table tied to the last layer, an own parameter, a scale per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4, padding_idx=0)
        self.inner = nn.Linear(4, 4)
        self.start = nn.Parameter(torch.randn(4))
        self.curve = nn.PReLU(4)
        self.output = nn.Linear(4, 5, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(tokens) + self.start
        hidden = self.inner(torch.tanh(self.inner(hidden)))
        hidden = self.curve(hidden.transpose(1, 2)).transpose(1, 2)
        return self.output(hidden.mean(dim=1))[:, :3]


def dilated() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, dilation=2, padding=2, stride=2),
        nn.ReLU(inplace=True),
        nn.Conv1d(4, 4, 2, groups=2),
        nn.ConvTranspose1d(4, 2, 3),
        nn.Conv1d(2, 2, 3, padding="same"),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), stride=(2, 1), padding=(1, 0), bias=False),
        nn.LayerNorm([4, 3, 5]),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(60, 3),
    )


class Standardised(nn.Module):
    """Standardises by the batch without a layer that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(rows - rows.mean(dim=0, keepdim=True))


class Folded(nn.Module):
    """Calls every layer with positions folded into the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        n, positions, width = rows.shape
        return self.output(rows.reshape(n * positions, width)).reshape(n, positions, 3).mean(dim=1)


class Unused(nn.Module):
    """Owns a layer that the forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)
        self.spare = nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(rows)


class Counting(nn.Module):
    """Counts the rows it saw in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(6, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen += len(rows)
        return self.output(rows)
