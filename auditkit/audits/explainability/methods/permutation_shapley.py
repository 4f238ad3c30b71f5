"""Shapley values from the order in which players join, with standard errors."""

from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import Final

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.game import Game
from auditkit.audits.explainability.methods.method import AttributionMethod, anywhere
from auditkit.audits.explainability.methods.players import players_of, remark_on_players
from auditkit.audits.explainability.methods.shapley_budget import MOST_PLAYERS, default_budget, stream_of
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.randomness import numpy_rng

FEWEST_PAIRS: Final = 2
"""Of one pair nothing tells how much pairs differ."""


@dataclass(frozen=True, slots=True)
class PermutationShapley:
    """Estimates of Shapley values.

    Attributes:
        values: Shape ``(n, m)``; each row sums to the change of its score from the baseline.
        standard_errors: Of the values, same shape; 0 where every order was taken.
    """

    values: FloatArray
    standard_errors: FloatArray


def permutation_shapley(
    rows: ExplainedRows,
    rng: torch.Generator,
    *,
    n_coalitions: int | None = None,
    most_players: int = MOST_PLAYERS,
) -> PermutationShapley:
    """What each player adds on joining, averaged over orders, each of which is also gone through backwards.

    Args:
        rows: To explain.
        rng: Draws orders, unless all are taken.
        n_coalitions: Most scores per row, except that there are never fewer than two pairs of orders;
            default 2048 for a table and a model with gradients, else 512.
        most_players: Pixels and tokens beyond so many are replaced in groups.

    Source:
        Castro, Gomez and Tejada (2009), Computers & Operations Research 36:1726-1730; Mitchell et al. (2022),
        JMLR 23(43), arXiv:2104.12199, section 4 (antithetic orders).
    """
    budget = default_budget(rows) if n_coalitions is None else n_coalitions
    seed, players = stream_of(rng), players_of(rows, most_players)
    values, errors = np.zeros(rows.present.shape), np.zeros(rows.present.shape)
    for n_players, index in players.by_number():
        game = Game(rows, index, players.of_unit[index], n_players)
        orders, is_complete = _orders(n_players, budget, numpy_rng(seed, str(n_players)))
        gains = _gains(game, orders)
        values[index] = players.shared_out(index, gains.mean(axis=1))
        if not is_complete:
            errors[index] = players.shared_out(index, _standard_errors(gains))
    return PermutationShapley(values, errors)


def _orders(n_players: int, budget: int, rng: np.random.Generator) -> tuple[IntArray, bool]:
    """Orders, shape ``(k, p)``, each directly before its reverse; and whether they are all there are."""
    n_pairs = max(FEWEST_PAIRS, (budget - 2) // (2 * max(1, n_players - 1)))
    if factorial(min(n_players, 20)) <= 2 * n_pairs:
        return np.array(list(permutations(range(n_players))), dtype=np.int64), True
    orders = rng.random((n_pairs, n_players)).argsort(axis=1)
    return np.stack([orders, orders[:, ::-1]], axis=1).reshape(2 * n_pairs, n_players), False


def _gains(game: Game, orders: IntArray) -> FloatArray:
    """What each player adds on joining in each order, shape ``(r, k, p)``."""
    scores = game.scores(_prefixes(orders)).reshape(len(game.index), len(orders), game.n_players + 1)
    gains = np.empty((len(game.index), *orders.shape))
    np.put_along_axis(gains, orders[None], np.diff(scores, axis=2), axis=2)
    return gains


def _prefixes(orders: IntArray) -> BoolArray:
    """Who has joined after 0 ... p steps of each order, shape ``(k (p + 1), p)``."""
    joined_at = np.argsort(orders, axis=1)
    steps = np.arange(orders.shape[1] + 1)
    return np.asarray(joined_at[:, None, :] < steps[:, None]).reshape(-1, orders.shape[1])


def _standard_errors(gains: FloatArray) -> FloatArray:
    """Pairs are independent of one another, the two orders of a pair are not."""
    pairs = gains.reshape(gains.shape[0], -1, 2, gains.shape[2]).mean(axis=2)
    return np.asarray(pairs.std(axis=1, ddof=1) / np.sqrt(pairs.shape[1]))


def _attribute(rows: ExplainedRows, rng: torch.Generator) -> FloatArray:
    return permutation_shapley(rows, rng).values


PERMUTATION_SHAPLEY: Final = AttributionMethod(
    name="permutation-shapley",
    attribute=_attribute,
    obstacle=anywhere,
    remark=lambda rows: remark_on_players(rows, MOST_PLAYERS),
    adds_up=True,
    sources=(
        "Castro, Gomez and Tejada (2009), Polynomial calculation of the Shapley value based on sampling, "
        "Computers & Operations Research 36:1726-1730",
        "Mitchell et al. (2022), Sampling Permutations for Shapley Value Estimation, arXiv:2104.12199",
    ),
)
