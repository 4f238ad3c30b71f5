"""Shapley values by weighted least squares, with one set of coalitions for all rows."""

from typing import Final

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.coalition_design import Design, coalition_design
from auditkit.audits.explainability.methods.game import Game, play
from auditkit.audits.explainability.methods.method import AttributionMethod, anywhere
from auditkit.audits.explainability.methods.players import players_of, remark_on_players
from auditkit.audits.explainability.methods.shapley_budget import MOST_PLAYERS, default_budget, stream_of
from auditkit.data.dataset import FloatArray
from auditkit.randomness import numpy_rng


def kernel_shap(
    rows: ExplainedRows,
    rng: torch.Generator,
    *,
    n_coalitions: int | None = None,
    most_players: int = MOST_PLAYERS,
) -> FloatArray:
    """Shapley values of the units, shape ``(n, m)``; they sum to the change of the score from the baseline.

    Rows with the same number of players share their coalitions, so that one factorisation serves them all.

    Args:
        rows: To explain.
        rng: Draws coalitions, unless all are taken.
        n_coalitions: Scores per row, those of the row and of the baseline included (at least 4 per player);
            values are exact where ``2 ** p`` is no more. Default 2048 for a table and a model with
            gradients, else 512.
        most_players: Pixels and tokens beyond so many are replaced in groups.
    """
    budget = default_budget(rows) if n_coalitions is None else n_coalitions
    seed = stream_of(rng)

    def solved(game: Game) -> FloatArray:
        return _values(game, budget, numpy_rng(seed, str(game.n_players)))

    return play(rows, players_of(rows, most_players), solved)


def _values(game: Game, budget: int, rng: np.random.Generator) -> FloatArray:
    n_players = game.n_players
    ends = np.array([[False] * n_players, [True] * n_players])
    if n_players == 1:
        return np.asarray(np.diff(game.scores(ends), axis=1))
    design = coalition_design(n_players, budget, rng)
    scores = game.scores(np.concatenate([ends, design.coalitions]))
    return least_squares(design, scores[:, 2:] - scores[:, :1], scores[:, 1] - scores[:, 0])


def least_squares(design: Design, gains: FloatArray, change: FloatArray) -> FloatArray:
    """Values that sum to ``change`` exactly and meet the gains of the coalitions as well as can be.

    Args:
        design: The coalitions.
        gains: Score of each coalition less that of the empty one, shape ``(r, s)``.
        change: Score of all players less that of none, shape ``(r,)``.

    Returns:
        Shape ``(r, p)``.
    """
    joins = design.coalitions.astype(np.float64)
    weighted = joins * design.weights[:, None]
    inverse = np.linalg.pinv(joins.T @ weighted, hermitian=True)
    free = gains @ weighted @ inverse
    per_unit_of_price = inverse.sum(axis=1)
    price = (free.sum(axis=1) - change) / per_unit_of_price.sum()
    return np.asarray(free - price[:, None] * per_unit_of_price)


def _attribute(rows: ExplainedRows, rng: torch.Generator) -> FloatArray:
    return kernel_shap(rows, rng)


KERNEL_SHAP: Final = AttributionMethod(
    name="kernel-shap",
    attribute=_attribute,
    obstacle=anywhere,
    remark=lambda rows: remark_on_players(rows, MOST_PLAYERS),
    adds_up=True,
    sources=(
        "Lundberg and Lee (2017), A Unified Approach to Interpreting Model Predictions, arXiv:1705.07874",
        "Covert and Lee (2021), Improving KernelSHAP, arXiv:2012.01536",
    ),
)
