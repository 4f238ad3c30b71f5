"""How the score of a class moves along a concept, against concepts that are random subsets of the rows.

The usual test compares the scores of many directions, each trained with other random counterexamples, with
those of random concepts by a t test. Directions of one concept share its rows, so their number is no number
of observations, and a random subset of the rows comes out as significant again and again. Here a concept is
one observation: it is compared with subsets of the same rows, of the same size, dealt out at random, which
makes the p-value exact (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585).

What is compared is the mean derivative along the direction. The share of rows with a positive derivative, the
score of Kim et al., is 0 or 1 for every direction where the model is linear from the layer on, random ones
included, and cannot tell them apart there.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from auditkit.audits.explainability.concepts.vectors import Direction, coefficients
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.clustered import clustered_rate
from auditkit.statistics.intervals import percentile_interval
from auditkit.statistics.units import permuted_codes

NEGLIGIBLE = 1e-6
"""Of the largest derivative: less is rounding."""

BLOCK = 500
"""Random concepts at once."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The examples of a concept at one place.

    Attributes:
        activations: Shape ``(n, d)``.
        shows: Which show the concept, shape ``(n,)``.
        units: Person or row of each.
    """

    activations: FloatArray
    shows: BoolArray
    units: IntArray


@dataclass(frozen=True, slots=True)
class Explained:
    """The rows of one class at one place.

    Attributes:
        gradients: Of the score of the class by the activations, shape ``(n, d)``.
        units: Person or row of each.
    """

    gradients: FloatArray
    units: IntArray


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is drawn, and how sure to be.

    Attributes:
        how: Which direction.
        n_random: Random concepts.
        n_bootstrap: Samples of persons or rows.
        comparisons: For which chances and intervals of effects are adjusted (Bonferroni).
        confidence: Of the intervals; of effects, of all of them together.
    """

    how: Direction
    n_random: int
    n_bootstrap: int
    comparisons: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a step from rows without the concept to rows with it does to the score of a class.

    Attributes:
        score: Share of rows of the class with a positive derivative; ``None`` where none has any.
        score_interval: Of it, over rows and over directions.
        effect: Mean derivative along the step, in nats.
        effect_interval: Simultaneous over all comparisons.
        p: Chance of so large an effect of a random concept, not adjusted.
        random_scores: Smallest, mean and largest of the middle 95 % of the scores of random concepts.
        n: Rows of the class.
        is_linear: Whether the gradient is the same for all of them.
    """

    score: float | None
    score_interval: Interval | None
    effect: float
    effect_interval: Interval
    p: float
    random_scores: tuple[float, float, float]
    n: int
    is_linear: bool


@dataclass(frozen=True, slots=True)
class _Products:
    """Products with the activations of the examples: everything that directions are needed for.

    Attributes:
        kernel: Of the examples with each other, shape ``(n, n)``.
        slopes: Of the gradients with the examples, shape ``(rows, n)``.
    """

    kernel: FloatArray
    slopes: FloatArray

    def derivatives(self, shows: BoolArray, how: Direction) -> FloatArray:
        """Of every row along the direction of every way of dealing out the concept, shape ``(rows, k)``."""
        return np.asarray(self.slopes @ coefficients(self.kernel, shows, how).T)


def random_concepts(pool: Pool, plan: Plan, rng: np.random.Generator) -> FloatArray:
    """Directions of random subsets of the examples, as sums over examples, shape ``(n_random, n)``.

    Args:
        pool: Examples; rows of one person are dealt out together.
        plan: How many, and which direction.
        rng: Deals them out.
    """
    kernel = pool.activations @ pool.activations.T
    dealt = permuted_codes(pool.shows.astype(np.int64), pool.units, plan.n_random, rng)
    shows = np.array(list(dealt), dtype=np.bool_)
    blocks = range(0, plan.n_random, BLOCK)
    return np.concatenate([coefficients(kernel, shows[at : at + BLOCK], plan.how) for at in blocks])


def sensitivity(
    pool: Pool, explained: Explained, plan: Plan, rng: np.random.Generator, *, dealt: FloatArray | None = None
) -> Sensitivity:
    """Score and effect of a concept for one class, with their chances under random concepts.

    Args:
        pool: Examples with the concept and without.
        explained: Rows of the class.
        plan: How much is drawn.
        rng: Draws random concepts where none are given, then samples of rows.
        dealt: From :func:`random_concepts`, the same for every class.
    """
    dealt = random_concepts(pool, plan, rng) if dealt is None else dealt
    products = _Products(pool.activations @ pool.activations.T, explained.gradients @ pool.activations.T)
    own = products.derivatives(pool.shows[None], plan.how)[:, 0]
    effect = float(own.mean())
    effects, scores = _along(products.slopes, dealt)
    reached = int((np.abs(effects) >= abs(effect) * (1 - NEGLIGIBLE)).sum())
    draws = _bootstrap(pool, explained.units, products, plan=plan, rng=rng)
    positive = _positive(own[:, None])[:, 0]
    score = float(positive.mean()) if bool(own.any()) else None
    low, high = np.quantile(scores, [0.025, 0.975])
    spread = float(np.ptp(explained.gradients, axis=0).max())
    return Sensitivity(
        score=score,
        score_interval=None if score is None else _score_interval(positive, draws[1], explained.units, plan),
        effect=effect,
        effect_interval=_effect_interval(effect, draws[0], pool, explained, plan),
        p=(1 + reached) / (1 + plan.n_random),
        random_scores=(float(low), float(scores.mean()), float(high)),
        n=len(own),
        is_linear=spread <= NEGLIGIBLE * float(np.abs(explained.gradients).max()),
    )


def _positive(derivatives: FloatArray) -> BoolArray:
    """Where a derivative is above 0 by more than rounding; column by column."""
    largest = np.abs(derivatives).max(axis=0)
    return np.asarray(derivatives > NEGLIGIBLE * largest, dtype=np.bool_)


def _along(slopes: FloatArray, directions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Effect and score of every direction."""
    found = [slopes @ directions[at : at + BLOCK].T for at in range(0, len(directions), BLOCK)]
    return (
        np.concatenate([one.mean(axis=0) for one in found]),
        np.concatenate([_positive(one).mean(axis=0) for one in found]),
    )


def _bootstrap(
    pool: Pool, rows: IntArray, products: _Products, *, plan: Plan, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Effects and scores of samples of the persons (or rows) with replacement; NaN where a side is empty.

    A person who is an example and is explained is drawn as often as either.
    """
    everyone, places = np.unique(np.concatenate([pool.units, rows]), return_inverse=True)
    examples, explained = np.split(places.reshape(-1), [len(pool.units)])
    times = rng.multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), size=plan.n_bootstrap)
    effects, scores = np.full((2, plan.n_bootstrap), np.nan)
    for draw, count in enumerate(times):
        drawn = np.repeat(np.arange(len(examples)), count[examples])
        shows, weights = pool.shows[drawn], count[explained].astype(np.float64)
        if not weights.sum() or shows.all() or not shows.any():
            continue
        kernel = products.kernel[np.ix_(drawn, drawn)] if plan.how == "ridge" else products.kernel
        found = coefficients(kernel, shows[None], plan.how)[0]
        derivatives = products.slopes @ np.bincount(drawn, weights=found, minlength=len(examples))
        effects[draw] = np.average(derivatives, weights=weights)
        scores[draw] = np.average(_positive(derivatives[:, None])[:, 0], weights=weights)
    return effects, scores


def _score_interval(positive: BoolArray, draws: FloatArray, units: IntArray, plan: Plan) -> Interval | None:
    """The wider end of the bootstrap's percentiles and of the interval of a rate on either side."""
    value, rate = clustered_rate(
        positive, units=None if len(np.unique(units)) == len(units) else units, confidence=plan.confidence
    )
    drawn = percentile_interval(draws, value, confidence=plan.confidence)
    if drawn is None:
        return None
    return Interval(
        low=min(rate.low, drawn.low),
        high=max(rate.high, drawn.high),
        confidence=plan.confidence,
        method=f"{drawn.method}, {rate.method}",
    )


def _effect_interval(
    effect: float, draws: FloatArray, pool: Pool, explained: Explained, plan: Plan
) -> Interval:
    """Student's, with the spread of the bootstrap and Bonferroni's adjustment."""
    defined = draws[np.isfinite(draws)]
    spread = float(defined.std(ddof=1)) if len(defined) > 1 else 0.0
    df = max(1, min(len(np.unique(pool.units)) - 2, len(np.unique(explained.units)) - 1))
    tail = (1 - plan.confidence) / plan.comparisons / 2
    reach = float(t.isf(tail, df)) * spread
    return Interval(
        low=effect - reach, high=effect + reach, confidence=plan.confidence, method="bootstrap-t, bonferroni"
    )
