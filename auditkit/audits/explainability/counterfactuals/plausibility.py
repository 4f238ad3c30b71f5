"""How near counterfactuals lie to rows that exist, against how near these lie to one another."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.distances import Distance
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Message

TYPICAL_OF = 500
"""Rows whose distance to their neighbours tells what is typical; the first of the rows drawn."""


@dataclass(frozen=True, slots=True)
class Plausibility:
    """Distance of each counterfactual to the nearest rows, divided by the median of the rows themselves.

    Attributes:
        ratios: Shape ``(n,)``; about 1 where counterfactuals are as much at home as rows are.
        typical: The median, in deviations.
        n_rows: Rows among which neighbours were looked for.
    """

    ratios: FloatArray
    typical: float
    n_rows: int


def plausibility(
    values: FloatArray, rows: FloatArray, own: IntArray, distance: Distance, *, k: int
) -> Plausibility | Message:
    """Compare with rows that exist, or say why that cannot be done.

    Args:
        values: Of the counterfactuals, shape ``(n, f)``.
        rows: Values of rows, shape ``(m, f)``.
        own: Of each counterfactual the row that it came from, or -1 where that is not among ``rows``. It
            would be its nearest neighbour by construction, and is not counted.
        distance: As that of the search.
        k: Neighbours.
    """
    if len(rows) < k + 2:
        return Message(
            text="{n} rows are too few to have {k} neighbours each.", values={"n": len(rows), "k": k}
        )
    some = np.arange(min(len(rows), TYPICAL_OF))
    typical = float(np.median(distance.to_nearest(rows[some], rows, some, k)))
    if typical == 0:
        return Message(
            text="Most rows have {k} others that equal them, so no distance is typical.", values={"k": k}
        )
    near = distance.to_nearest(values, rows, own, k)
    return Plausibility(near / typical, typical, len(rows))
