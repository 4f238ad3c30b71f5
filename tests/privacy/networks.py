"""Small networks, suitable and unsuitable for per-example gradients."""

from collections import OrderedDict

import torch
from torch import nn

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
