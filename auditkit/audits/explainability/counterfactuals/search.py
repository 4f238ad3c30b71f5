"""The search for counterfactuals of all rows, block by block, until it is done or the time is up."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from auditkit.audits.explainability.counterfactuals.best import Best, Search
from auditkit.audits.explainability.counterfactuals.gradient_search import GradientSearch
from auditkit.audits.explainability.counterfactuals.greedy_search import greedy_path, single_change
from auditkit.audits.explainability.counterfactuals.judge import TimeIsUpError
from auditkit.audits.explainability.counterfactuals.neighbour_search import neighbour_search
from auditkit.audits.explainability.counterfactuals.refine import refine
from auditkit.data.dataset import FloatArray, IntArray

ROWS_PER_BLOCK = 128
"""Rows searched together. Fixed, so that neither the batch size nor the time budget changes what is found."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows of the data that others may follow.

    Attributes:
        values: Shape ``(m, f)``.
        decided: Their predicted classes, shape ``(m,)``.
    """

    values: FloatArray
    decided: IntArray


def find_counterfactuals(search: Search, pool: Pool, *, n_steps: int | None) -> int:
    """Fill ``search.best``.

    Args:
        search: Rows, constraints and what is known.
        pool: Rows decided otherwise.
        n_steps: Of the search by gradients; ``None`` leaves it out.

    Returns:
        Rows whose search came to its end before the time was up.
    """
    n = len(search.judge.target)
    for start in range(0, n, ROWS_PER_BLOCK):
        rows = np.arange(start, min(n, start + ROWS_PER_BLOCK))
        try:
            _search_block(search, pool, rows, n_steps)
        except TimeIsUpError:
            return start
    return n


def _search_block(search: Search, pool: Pool, rows: IntArray, n_steps: int | None) -> None:
    """Several ways, each from its own start: what one finds would keep another from looking elsewhere."""
    ways: list[Callable[[Search], None]] = [
        lambda apart: neighbour_search(apart, rows, pool.values, pool.decided),
        lambda apart: single_change(apart, rows),
        lambda apart: greedy_path(apart, rows),
    ]
    if n_steps is not None:
        ways.append(lambda apart: GradientSearch(apart, rows).run(n_steps))
    for way in ways:
        apart = replace(search, best=Best.none_of(search.judge.own))
        try:
            way(apart)
            refine(apart, rows)
        finally:
            # what was found before the time was up counts
            found = rows[apart.best.known[rows]]
            search.best.offer(found, apart.best.values[found], apart.best.distance[found])
