"""Random subsets of units, and attributions put in random order: what a metric gives by chance."""

from collections.abc import Iterator

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray, IntArray

ENTRIES = 4_000_000
"""Numbers of a block held at once; fixed, so that the same draws are made whatever the batch size."""


def blocks(n_rows: int, per_row: int) -> Iterator[slice]:
    """Consecutive rows, few enough that ``per_row`` numbers of each can be held."""
    height = max(1, ENTRIES // max(1, per_row))
    for start in range(0, n_rows, height):
        yield slice(start, min(start + height, n_rows))


def random_ranks(present: BoolArray, n_draws: int, rng: np.random.Generator) -> IntArray:
    """Places of the units of each row in ``n_draws`` random orders, shape ``(b, n_draws, m)``.

    Units that are not present come last. Rows with all units share their orders up to a relabelling of the
    units that is drawn for each row, which leaves every order of every row uniform and rows independent of
    one another given the orders.

    Args:
        present: Shape ``(b, m)``.
        n_draws: Orders per row.
        rng: Source of randomness.
    """
    n_rows, n_units = present.shape
    if present.all():
        orders = rng.random((n_draws, n_units)).argsort(axis=1).astype(np.int32)
        relabelled = rng.random((n_rows, n_units)).argsort(axis=1)
        return np.ascontiguousarray(orders[:, relabelled].transpose(1, 0, 2))
    keys = rng.random((n_rows, n_draws, n_units))
    keys[np.broadcast_to(~present[:, None, :], keys.shape)] = 2.0
    return keys.argsort(axis=2).argsort(axis=2).astype(np.int32)


def beside_random(
    attributions: FloatArray, present: BoolArray, n_random: int, rng: np.random.Generator
) -> FloatArray:
    """Attributions, then the same values of each row in ``n_random`` random orders.

    Args:
        attributions: Shape ``(b, m)``.
        present: Same shape; values move between units that a row has.
        n_random: Draws.
        rng: Source of randomness.

    Returns:
        Shape ``(b, m, 1 + n_random)``.
    """
    drawn = [permuted_within(attributions, present, rng) for _ in range(n_random)]
    return np.stack([attributions, *drawn], axis=2)


def permuted_within(attributions: FloatArray, present: BoolArray, rng: np.random.Generator) -> FloatArray:
    """The values of each row in random order over the units that it has, shape ``(b, m)``."""
    keys = np.where(present, rng.random(attributions.shape), 2.0)
    values = np.take_along_axis(attributions, keys.argsort(axis=1), axis=1)
    found = np.zeros_like(attributions)
    np.put_along_axis(found, np.argsort(~present, axis=1, kind="stable"), values, axis=1)
    return found
