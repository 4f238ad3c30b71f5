"""Units that are replaced together where a row has too many to replace each in every company."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Message

ABSENT = -1


@dataclass(frozen=True, slots=True)
class Players:
    """Who takes part in the game of each row.

    Attributes:
        of_unit: The player that each unit of each row belongs to, shape ``(n, m)``, values in
            ``0 ... p_i - 1`` in row ``i``, ``ABSENT`` where the row lacks the unit.
        n_players: Of each row, shape ``(n,)``.
    """

    of_unit: IntArray
    n_players: IntArray

    def by_number(self) -> Iterator[tuple[int, IntArray]]:
        """Numbers of players and the rows that have so many; rows without any player are left out."""
        for number in np.unique(self.n_players[self.n_players > 0]).tolist():
            yield number, np.flatnonzero(self.n_players == number)

    def shared_out(self, index: IntArray, of_players: FloatArray) -> FloatArray:
        """What players of the rows ``index`` got, ``(r, p)``, in equal parts to their units, ``(r, m)``."""
        of_unit = self.of_unit[index]
        size = np.zeros(of_players.shape)
        row, unit = np.nonzero(of_unit != ABSENT)
        np.add.at(size, (row, of_unit[row, unit]), 1.0)
        shared = np.zeros(of_unit.shape)
        shared[row, unit] = (of_players / size)[row, of_unit[row, unit]]
        return shared


def players_of(rows: ExplainedRows, most: int, *, idle_too: bool = False) -> Players:
    """Each unit is a player; where that were more than ``most``, neighbours play together.

    Neighbours are the pixels of a square, or tokens that follow one another. The features of a table have no
    neighbours and always play alone.

    Args:
        rows: To explain.
        most: Players of a picture or a text.
        idle_too: Whether units that equal the baseline take part. They change no score, so that what they
            add is known to be nothing.
    """
    plays = rows.present if idle_too else rows.present & _differing(rows)
    if rows.features.image_shape is not None:
        squares = _squares(rows.features.image_shape, square_side(rows.features.image_shape, most))
        return _numbered(np.broadcast_to(squares, plays.shape), plays)
    if rows.together is None:
        of_unit = np.where(plays, plays.cumsum(axis=1) - 1, ABSENT)
        found = Players(of_unit, plays.sum(axis=1))
    else:
        found = _numbered(rows.together, plays)
    return found if rows.features.tokens is None else _joined(found, most)


def square_side(image_shape: tuple[int, int], most: int) -> int:
    """The side in pixels of the smallest squares of which at most ``most`` cover a picture."""
    height, width = image_shape
    side = 1
    while -(-height // side) * -(-width // side) > most:
        side += 1
    return side


def remark_on_players(rows: ExplainedRows, most: int) -> Message | None:
    """What is replaced together, for the reader; ``None`` where each unit is replaced alone."""
    if rows.features.image_shape is not None:
        side = square_side(rows.features.image_shape, most)
        if side == 1:
            return None
        return Message(
            text="Pixels are replaced in squares of {side} x {side}; each pixel gets an equal part.",
            values={"side": side},
        )
    if rows.together is not None:
        return Message(
            text="Words are replaced whole, at most {most} parts in a text; each byte gets an equal part.",
            values={"most": most},
        )
    if rows.features.tokens is not None and int(rows.present.sum(axis=1).max()) > most:
        return Message(
            text="Texts of more than {most} tokens are replaced in {most} stretches; each token of a stretch "
            "gets an equal part.",
            values={"most": most},
        )
    return None


def _squares(image_shape: tuple[int, int], side: int) -> IntArray:
    """The square of each pixel, row by row, shape ``(m,)``."""
    height, width = image_shape
    down, right = np.arange(height) // side, np.arange(width) // side
    return np.asarray((down[:, None] * (right[-1] + 1) + right).ravel(), dtype=np.int64)


def _differing(rows: ExplainedRows) -> BoolArray:
    """Units of which any element is another one than in the baseline, shape ``(n, m)``."""
    parts = []
    for at in range(0, len(rows.inputs), rows.batch_size):
        own = rows.inputs[at : at + rows.batch_size]
        differs = (own != rows.baseline) & ~(own.isnan() & rows.baseline.isnan())
        parts.append(rows.pooled(differs.float()) > 0)
    return np.asarray(torch.cat(parts).cpu().numpy())


def _numbered(codes: IntArray, plays: BoolArray) -> Players:
    """Units of equal code are one player; players are counted in the order in which they first occur."""
    of_unit = np.full(plays.shape, ABSENT, dtype=np.int64)
    for own, code, playing in zip(of_unit, codes, plays, strict=True):
        _, first, again = np.unique(code[playing], return_index=True, return_inverse=True)
        own[playing] = np.argsort(np.argsort(first))[again]
    return Players(of_unit, of_unit.max(axis=1) + 1)


def _joined(players: Players, most: int) -> Players:
    """At most ``most`` players in each row, of as equal length as can be."""
    n_players = np.minimum(players.n_players, most)
    stretch = players.of_unit * n_players[:, None] // np.maximum(players.n_players, 1)[:, None]
    return Players(np.where(players.of_unit == ABSENT, ABSENT, stretch), n_players)
