"""One half of the rows to look for slices, the other to test them.

The halves are drawn at random among persons (or rows, where persons are not told apart), after these were
put into an order that depends on what the rows are like, not on where they or their columns stand or what
these are called. The same rows in another order therefore give the same figures; so do other predictions for
them, as far as can be. The order is found by colour refinement: rows are told apart by the items that they
meet, items by the rows that meet them (Weisfeiler and Leman 1968).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditkit.audits.audit import AuditContext
from auditkit.data.dataset import BoolArray, IntArray

Colours = npt.NDArray[np.uint64]

_ROUNDS = 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Halves:
    """Rows that explore and rows that confirm, and what the items are told apart by.

    Attributes:
        explore: Row numbers.
        confirm: Row numbers, one per person.
        spare: Rows of persons in the confirming half who have another row there.
        item_colours: Shape ``(k,)``; equal only for items that may be exchanged.
    """

    explore: IntArray
    confirm: IntArray
    spare: int
    item_colours: Colours


def halves(rows: BoolArray, errors: BoolArray, person: IntArray | None, context: AuditContext) -> Halves:
    """Divide the rows; all rows of a person go to one half.

    Args:
        rows: Which rows meet each item, shape ``(k, n)``.
        errors: Which rows are errors, shape ``(n,)``; used only where rows are otherwise alike.
        person: Who each row is about, or ``None`` where every row is a person.
        context: Where the draw comes from.
    """
    n = rows.shape[1]
    unit = np.arange(n) if person is None else np.unique(person, return_inverse=True)[1].reshape(-1)
    n_units = int(unit.max()) + 1
    alike, _ = _refined(np.ones(n, dtype=np.uint64), rows, unit, n_units)
    colour, item_colours = _refined(_mixed(alike) + errors.astype(np.uint64), rows, unit, n_units)
    place = _places(_summed(_mixed(alike), unit, n_units), _summed(_mixed(colour), unit, n_units))
    drawn = context.numpy_rng("halves").permutation(n_units)[place]
    explores = (drawn < n_units // 2)[unit]
    # of a person with several rows one is tested, whichever comes first in another draw
    row_place = _places(place[unit].astype(np.uint64), colour)
    turn = context.numpy_rng("rows of a person").permutation(n)[row_place]
    confirming = np.flatnonzero(~explores)
    in_turn = confirming[np.argsort(turn[confirming], kind="stable")]
    chosen = np.sort(in_turn[np.unique(unit[in_turn], return_index=True)[1]])
    return Halves(np.flatnonzero(explores), chosen, len(confirming) - len(chosen), item_colours)


def _refined(row: Colours, rows: BoolArray, unit: IntArray, n_units: int) -> tuple[Colours, Colours]:
    """Colours of the rows, told apart by their items and persons, and of the items, by their rows."""
    item = np.zeros(len(rows), dtype=np.uint64)
    for _ in range(_ROUNDS):
        mixed = _mixed(row)
        item = _mixed(np.array([mixed[mask].sum() for mask in rows], dtype=np.uint64))
        row = _mixed(mixed + _summed(mixed, unit, n_units)[unit])
        for mask, colour in zip(rows, item, strict=True):
            row[mask] += colour
    return row, item


def _places(*keys: Colours) -> IntArray:
    """Rank of each entry, first key first; entries that are alike in the order in which they stand."""
    ranks = np.empty(len(keys[0]), dtype=np.int64)
    ranks[np.lexsort(keys[::-1])] = np.arange(len(ranks))
    return ranks


def _summed(values: Colours, unit: IntArray, n_units: int) -> Colours:
    total = np.zeros(n_units, dtype=np.uint64)
    np.add.at(total, unit, values)
    return total


def _mixed(values: Colours) -> Colours:
    """Scrambled bits, so that sums of few values do not coincide (Steele, Lea and Flood 2014, SplitMix64)."""
    found = values + _GOLDEN
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(found ^ (found >> np.uint64(31)), dtype=np.uint64)
