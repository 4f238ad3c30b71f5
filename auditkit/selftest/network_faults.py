"""Networks in which one row reaches further than its own gradient, told by the pre-flight."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from auditkit.data.dataset import TokenSpace
from auditkit.privacy.preflight import examine
from auditkit.randomness import global_generators_seeded
from auditkit.records import Message
from auditkit.selftest.breaks import Break

WIDTH, N_POSITIONS, N_TOKENS, N_CLASSES = 4, 2, 5, 3
VECTOR, POSITIONS = torch.zeros(WIDTH), torch.zeros(N_POSITIONS, WIDTH)
TOKENS = torch.zeros(N_POSITIONS, dtype=torch.int64)

Make = Callable[[], nn.Module]


def network_faults() -> tuple[Break, ...]:
    """All of them."""
    return (
        _break(
            Message(text="rows standardised over their batch by hand"),
            VECTOR,
            faulty=partial(_Standardised, 0),
            sound=partial(_Standardised, 1),
        ),
        _break(
            Message(text="a frozen BatchNorm in training mode"),
            VECTOR,
            faulty=lambda: _normed(nn.BatchNorm1d(WIDTH)),
            sound=lambda: _normed(nn.LayerNorm(WIDTH)),
        ),
        _break(
            Message(text="positions folded into the batch"),
            POSITIONS,
            faulty=partial(_Positions, folded=True),
            sound=partial(_Positions, folded=False),
        ),
        _break(
            Message(text="an embedding that shortens its rows when they are used"),
            TOKENS,
            faulty=lambda: _embedding(1.0),
            sound=lambda: _embedding(None),
        ),
    )


def _break(fault: Message, row: Tensor, *, faulty: Make, sound: Make) -> Break:
    return Break(
        fault=fault,
        figure="preflight_refusals",
        faulty=partial(refusals, faulty, row),
        sound=partial(refusals, sound, row),
    )


def refusals(make: Make, row: Tensor) -> tuple[int, int]:
    """How many checks of the pre-flight refuse the network, of how many."""
    tokens = None if row.is_floating_point() else TokenSpace(tuple(map(str, range(N_TOKENS))))
    with global_generators_seeded(0):
        report = examine(make().train(), row, N_CLASSES, tokens=tokens)
    return len(report.refused), len(report.checks)


class _Standardised(nn.Module):
    """Standardises over one axis, rows or columns, and has a linear layer behind."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis, self.output = axis, nn.Linear(WIDTH, N_CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        centred = rows - rows.mean(dim=self.axis, keepdim=True)
        spread = centred.square().mean(dim=self.axis, keepdim=True)
        outputs: Tensor = self.output(centred / (spread + 1e-3).sqrt())
        return outputs


class _Positions(nn.Module):
    """Positions as rows of their own, or all of a row side by side."""

    def __init__(self, *, folded: bool) -> None:
        super().__init__()
        self.folded = folded
        self.output = nn.Linear(WIDTH if folded else WIDTH * N_POSITIONS, N_CLASSES)

    def forward(self, rows: Tensor) -> Tensor:
        if self.folded:
            outputs: Tensor = self.output(rows.reshape(-1, WIDTH)).reshape(len(rows), N_POSITIONS, -1)
            return outputs.mean(dim=1)
        beside: Tensor = self.output(rows.flatten(1))
        return beside


def _normed(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), norm.requires_grad_(False), nn.Linear(WIDTH, N_CLASSES))


def _embedding(max_norm: float | None) -> nn.Module:
    embedding = nn.Embedding(N_TOKENS, WIDTH, max_norm=max_norm)
    return nn.Sequential(embedding, nn.Flatten(), nn.Linear(WIDTH * N_POSITIONS, N_CLASSES))
