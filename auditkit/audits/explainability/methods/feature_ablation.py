"""What the score loses when one unit is replaced by the baseline and all others stay."""

from typing import Final

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.game import Game, play
from auditkit.audits.explainability.methods.method import AttributionMethod, anywhere
from auditkit.audits.explainability.methods.players import players_of, remark_on_players
from auditkit.data.dataset import BoolArray, FloatArray

MOST_ALONE: Final = 256
"""Units replaced one by one; a single pixel of a larger picture hardly moves the score anyway."""


def losses_without(game: Game, left_out: BoolArray) -> FloatArray:
    """Score of the row less its score without each of these sets of players.

    Args:
        game: The rows.
        left_out: Sets of players, shape ``(s, p)``.

    Returns:
        Shape ``(r, s)``.
    """
    everyone = np.ones((1, game.n_players), dtype=np.bool_)
    scores = game.scores(np.concatenate([everyone, ~left_out]))
    return np.asarray(scores[:, :1] - scores[:, 1:])


def feature_ablation(rows: ExplainedRows, *, most_alone: int = MOST_ALONE) -> FloatArray:
    """Losses without each unit, shape ``(n, m)``; of texts, without each token.

    Args:
        rows: To explain; each costs one score per unit and one more.
        most_alone: Pixels and tokens beyond so many are replaced in groups, which share their loss.
    """
    players = players_of(rows, most_alone)
    return play(rows, players, lambda game: losses_without(game, np.eye(game.n_players, dtype=np.bool_)))


def _attribute(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return feature_ablation(rows)


FEATURE_ABLATION: Final = AttributionMethod(
    name="feature-ablation",
    attribute=_attribute,
    obstacle=anywhere,
    remark=lambda rows: remark_on_players(rows, MOST_ALONE),
    sources=(
        "Zeiler and Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
        "Li, Monroe and Jurafsky (2016), Understanding Neural Networks through Representation Erasure, "
        "arXiv:1612.08220",
    ),
)
