"""Units that are replaced together where a row has too many to replace each in every company."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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


def players_of(rows: ExplainedRows, most: int) -> Players:
    """Each unit is a player; where that were more than ``most``, neighbours play together.

    Neighbours are the pixels of a square, or tokens that follow one another. The features of a table have no
    neighbours and always play alone.
    """
    if rows.features.image_shape is not None:
        side = square_side(rows.features.image_shape, most)
        squares = _squares(rows.features.image_shape, side)
        return Players(
            np.tile(squares, (len(rows.present), 1)), np.full(len(rows.present), squares.max() + 1)
        )
    if rows.together is None:
        of_unit = np.where(rows.present, rows.present.cumsum(axis=1) - 1, ABSENT)
    else:
        of_unit = np.stack([_numbered(*row) for row in zip(rows.together, rows.present, strict=True)])
    if rows.features.tokens is not None:
        of_unit = np.stack([_joined(row, most) for row in of_unit])
    return Players(of_unit, of_unit.max(axis=1) + 1)


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


def _numbered(together: IntArray, present: BoolArray) -> IntArray:
    """Numbers from 0 on in the order in which they first occur; units that are not there have none."""
    numbered = np.full(len(together), ABSENT, dtype=np.int64)
    _, first, code = np.unique(together[present], return_index=True, return_inverse=True)
    numbered[present] = np.argsort(np.argsort(first))[code]
    return numbered


def _joined(of_unit: IntArray, most: int) -> IntArray:
    """At most ``most`` players, of as equal length as can be."""
    n_players = int(of_unit.max()) + 1
    if n_players <= most:
        return of_unit
    return np.where(of_unit == ABSENT, ABSENT, of_unit * most // n_players)
