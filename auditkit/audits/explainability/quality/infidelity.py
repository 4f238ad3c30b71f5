"""How much of the change under noise the attributions leave unexplained.

Source: Yeh et al. (2019), On the (In)fidelity and Sensitivity of Explanations, arXiv:1901.09392.
"""

from collections.abc import Sequence

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.quality.defined import quotient
from auditkit.audits.explainability.quality.outputs import at_inputs, evaluated
from auditkit.audits.explainability.quality.random_order import beside_random, blocks
from auditkit.data.dataset import FloatArray

SCALE = 0.5
"""Standard deviation of the noise, as a part of the way from a unit's value to the baseline."""

FLAT = 1e-6
"""Root mean square change, relative to the size of the score, below which it is rounding."""


def infidelity(
    rows: ExplainedRows,
    attributions: Sequence[FloatArray],
    *,
    n_noise: int,
    n_random: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Normalised infidelity of every method and its random orders; 0 is faithful, 1 unrelated.

    Each unit moves by a Gaussian multiple of its way to the baseline, ``x - z (x - x')``. An attribution says
    what the whole way changes, so the multiple ``z`` of it is what the score should change by. The noise has
    mean 0: the sum of the attributions, which random orders share, then tells nothing.

    Args:
        rows: The score and its inputs.
        attributions: Of each method, shape ``(n, m)``.
        n_noise: Draws of the noise for each row.
        n_random: Random orders of each method's attributions.
        rng: Source of randomness.

    Returns:
        In ``[0, 1]``, shape ``(n, n_methods, 1 + n_random)``; NaN where score or attributions do not move.
    """
    whole = at_inputs(rows, rows.score)
    found = np.empty((len(whole), len(attributions), 1 + n_random))
    for block in blocks(len(whole), n_noise * rows.n_units):
        present = rows.present[block]
        noise = rng.normal(0.0, SCALE, (len(present), n_noise, rows.n_units)) * present[:, None, :]
        change = whole[block, None] - scores_under_noise(rows, block, noise)
        random = [beside_random(phi[block], present, n_random, rng) for phi in attributions]
        expected = noise @ np.concatenate(random, axis=2)
        shares = unexplained(expected, change[:, :, None], FLAT * (1 + np.abs(whole[block, None])))
        found[block] = shares.reshape(-1, len(attributions), 1 + n_random)
    return found


def scores_under_noise(rows: ExplainedRows, block: slice, noise: FloatArray) -> FloatArray:
    """Scores of ``x - z (x - x')`` for the rows of a block, shape ``(b, draws)``; ``z`` ``(b, draws, m)``."""
    n, draws, n_units = noise.shape
    device = rows.inputs.device
    row = torch.arange(block.start, block.stop, device=device).repeat_interleave(draws)
    multiples = torch.from_numpy(noise.reshape(n * draws, n_units)).to(rows.inputs)

    def moved(part: slice) -> torch.Tensor:
        inputs = rows.inputs[row[part]]
        z = multiples[part][:, rows.unit_of.flatten()].view_as(inputs)
        return inputs - z * (inputs - rows.baseline)

    return np.reshape(evaluated(rows, rows.score, row, moved), (n, draws))


def unexplained(expected: FloatArray, change: FloatArray, flat: FloatArray) -> FloatArray:
    """``1 - E[uv]^2 / (E[u^2] E[v^2])`` over axis 1: the squared error after the best scaling, relative.

    Args:
        expected: By the attributions, ``u``, shape ``(b, draws, c)``.
        change: Of the score, ``v``, shape ``(b, draws, 1)``.
        flat: Root mean square of ``change`` that counts as none, shape ``(b, 1)``.
    """
    of_u, of_v = (expected**2).mean(axis=1), (change**2).mean(axis=1)
    moves = (of_u > 0) & (of_v > flat**2)
    both = (expected * change).mean(axis=1) ** 2
    return np.clip(1 - quotient(both, of_u * of_v, np.asarray(moves)), 0.0, 1.0)
