"""Scores of rows of which only some units are kept: what all methods that replace inputs ask for.

Their cost is the number of scores: one pass through the model for every row and coalition, and no way of
batching asks for fewer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.players import ABSENT, Players
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

FEWEST_ROWS: Final = 16
"""Products of matrices with very few rows end in other last digits, so a short batch is filled up."""

POSITIONS_AT_ONCE: Final = 2**16
"""Of scores, worked out for many batches together: small ones cost calls above all."""

MOST_KEPT: Final = 2**26
"""Elements of coalitions that are laid out once for all rows, in bytes: 64 MiB."""


@dataclass(frozen=True, slots=True)
class Game:
    """Rows with the same number of players, who join or stay away; the score is what they win together.

    Attributes:
        rows: All rows.
        index: Those that are played, shape ``(r,)``.
        of_unit: The player of each unit of them, shape ``(r, m)``.
        n_players: The number p of players.
    """

    rows: ExplainedRows
    index: IntArray
    of_unit: IntArray
    n_players: int

    def scores(self, coalitions: BoolArray) -> FloatArray:
        """The score of each row with the players of each coalition, all others replaced by the baseline.

        Args:
            coalitions: Shape ``(s, p)``; coalitions given twice are asked for once.

        Returns:
            Shape ``(r, s)``, from as many evaluations as there are rows times different coalitions.
        """
        packed = np.packbits(coalitions, axis=1)
        _, first, again = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        asked = self._asked(coalitions[first])
        return np.asarray(asked[:, again.reshape(-1)])

    def _asked(self, coalitions: BoolArray) -> FloatArray:
        rows, size, device = self.rows, self.rows.batch_size, self.rows.inputs.device
        kept, index = self._kept(coalitions), torch.from_numpy(self.index).to(device)
        n_coalitions, n_scores = len(coalitions), len(self.index) * len(coalitions)
        parts = []
        with torch.no_grad():
            for of_row, coalition in _batches(n_scores, n_coalitions, size, device):
                row = index.index_select(0, of_row)
                own = rows.inputs.index_select(0, row)
                changed = torch.where(kept(of_row, coalition), own, rows.baseline)
                parts.append(rows.score(changed, rows.target.index_select(0, row)))
        scores = torch.cat(parts)[:n_scores].double()
        return np.asarray(scores.view(len(self.index), n_coalitions).cpu().numpy())

    def _kept(self, coalitions: BoolArray) -> Callable[[Tensor, Tensor], Tensor]:
        """From positions in ``index`` and in ``coalitions`` to the elements that stay, shape ``(b, *d)``."""
        device, unit_of = self.rows.inputs.device, self.rows.unit_of
        # One more player who always joins: the units that a row lacks.
        joins = np.column_stack([coalitions, np.ones(len(coalitions), dtype=np.bool_)])
        members = torch.from_numpy(joins).to(device)
        player = torch.from_numpy(np.where(self.of_unit == ABSENT, self.n_players, self.of_unit)).to(device)
        alike = bool((player == player[:1]).all())
        if alike and len(coalitions) * unit_of.numel() <= MOST_KEPT:
            masks = members[:, player[0, unit_of.flatten()]].view(len(coalitions), *unit_of.shape)
            return lambda _of_row, coalition: masks.index_select(0, coalition)

        def looked_up(of_row: Tensor, coalition: Tensor) -> Tensor:
            units = members.index_select(0, coalition).gather(1, player.index_select(0, of_row))
            return units.index_select(1, unit_of.flatten()).view(len(units), *unit_of.shape)

        return looked_up


def _batches(
    n_scores: int, n_coalitions: int, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions of the row and the coalition of each score, ``size`` at a time; the last may come again."""
    at_once = size * max(1, POSITIONS_AT_ONCE // size)
    for start in range(0, n_scores, at_once):
        n = min(at_once, n_scores - start)
        short = n % size
        filled = n + max(0, min(size, FEWEST_ROWS) - short) * bool(short)
        flat = torch.arange(start, start + filled, device=device).clamp(max=n_scores - 1)
        of_row = flat // n_coalitions
        coalition = flat - of_row * n_coalitions
        yield from zip(torch.split(of_row, size), torch.split(coalition, size), strict=True)


def play(rows: ExplainedRows, players: Players, attribute: Callable[[Game], FloatArray]) -> FloatArray:
    """What each unit gets, shape ``(n, m)``.

    Args:
        rows: To explain.
        players: Who plays in each row.
        attribute: What the players get in a game, shape ``(r, p)``.
    """
    found = np.zeros(rows.present.shape)
    for n_players, index in players.by_number():
        game = Game(rows, index, players.of_unit[index], n_players)
        found[index] = players.shared_out(index, attribute(game))
    return found
