"""Permutation importance: what it costs when rows are given another row's value of one feature."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.global_view.asked import Asked
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.exchanged_values import exchanged_mean


@dataclass(frozen=True, slots=True)
class Permuted:
    """Importance of one feature by permutation.

    Attributes:
        value: Mean cost with the value of another row, minus mean cost.
        interval: Over rows, which both are asked about and lend values; ``None`` for a single row.
        n: Rows.
    """

    value: float
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Who lends a value to whom.

    Attributes:
        index: Rows that take part, shape ``(n,)``.
        donors: Places in ``index``, each row a permutation, shape ``(n_permutations, n)``.
        strata: Code of the stratum that a row's donors come from, shape ``(n,)``.
    """

    index: IntArray
    donors: IntArray
    strata: IntArray


def exchange_all(n: int, n_permutations: int, rng: np.random.Generator) -> Exchange:
    """Uniform permutations of all ``n`` rows."""
    donors = np.stack([rng.permutation(n) for _ in range(n_permutations)])
    return Exchange(np.arange(n), donors, np.zeros(n, dtype=np.int64))


def exchange_within(strata: IntArray, n_permutations: int, rng: np.random.Generator) -> Exchange | None:
    """Uniform permutations within strata; ``None`` where no stratum has two rows.

    Args:
        strata: Code of each row, shape ``(n,)``; rows that are alone in theirs take no part.
        n_permutations: How many.
        rng: Draws them.
    """
    codes = np.unique(strata, return_inverse=True)[1].reshape(-1)
    index = np.flatnonzero(np.bincount(codes)[codes] > 1)
    if not len(index):
        return None
    own = np.unique(codes[index], return_inverse=True)[1].reshape(-1)
    # Sorted by stratum, and at random within: laid over the rows sorted by stratum it is a permutation.
    order = np.argsort(own, kind="stable")
    donors = np.empty((n_permutations, len(index)), dtype=np.int64)
    for k in range(n_permutations):
        donors[k, order] = np.lexsort((rng.random(len(index)), own))
    return Exchange(index, donors, own)


def control_strata(rows: Dataset) -> IntArray | None:
    """One code per combination of levels of all control features; ``None`` without any."""
    if not rows.control_features:
        return None
    codes = np.zeros(len(rows), dtype=np.int64)
    for column in rows.control_features.values():
        both = codes * len(column.levels) + column.codes
        codes = np.unique(both, return_inverse=True)[1].reshape(-1)
    return codes


def base_costs(asked: Asked) -> FloatArray:
    """Cost of what the subject says of the rows as they are, shape ``(n,)``."""
    index = np.arange(len(asked.rows))
    return asked.costs(asked.outputs(asked.inputs, index), index)


def cost_changes(asked: Asked, columns: Sequence[int], exchange: Exchange, base: FloatArray) -> FloatArray:
    """Cost with the donor's values minus cost with the own, shape ``(n_permutations, n)``.

    Args:
        asked: Subject and rows.
        columns: Exchanged together.
        exchange: Who lends to whom.
        base: From :func:`base_costs`.
    """
    own, places = asked.inputs[torch.from_numpy(exchange.index)], torch.tensor(list(columns))
    found = []
    for donors in exchange.donors:
        changed = own.clone()
        changed[:, places] = own[torch.from_numpy(donors)][:, places]
        outputs = asked.outputs(changed, exchange.index)
        found.append(asked.costs(outputs, exchange.index) - base[exchange.index])
    return np.stack(found)


def permuted(
    asked: Asked, columns: Sequence[int], exchange: Exchange, base: FloatArray, confidence: float
) -> Permuted:
    """Importance of the feature that ``columns`` hold.

    Within strata a permutation leaves a row its own value once in as many times as the stratum has rows; the
    changes are scaled up accordingly, so that small strata do not count for less.

    Source:
        Breiman (2001), Machine Learning 45:5-32; Fisher, Rudin and Dominici (2019), JMLR 20:177; within
        strata: Strobl et al. (2008), BMC Bioinformatics 9:307.
    """
    changes = cost_changes(asked, columns, exchange, base)
    if exchange.strata.any():
        size = np.bincount(exchange.strata)[exchange.strata]
        changes = changes * (size / (size - 1))
    person = asked.rows.person
    value, interval = exchanged_mean(
        changes,
        exchange.donors,
        strata=exchange.strata,
        units=None if person is None else person[exchange.index],
        confidence=confidence,
    )
    return Permuted(value, interval, len(exchange.index))


def n_alone(exchange: Exchange | None, n: int) -> int:
    """How many of ``n`` rows take no part, because they are alone in their stratum."""
    taking_part: BoolArray = np.zeros(n, dtype=np.bool_)
    if exchange is not None:
        taking_part[exchange.index] = True
    return int((~taking_part).sum())
