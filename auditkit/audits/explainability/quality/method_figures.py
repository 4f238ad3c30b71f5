"""What one method's scores come to: figures, and on which side of the thresholds they lie."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.crossed_means import CrossedMean, crossed_mean
from auditkit.audits.explainability.quality.defined import mean_of_defined
from auditkit.audits.explainability.quality.figures import Figures, Share
from auditkit.audits.explainability.quality.removal import Removal
from auditkit.audits.explainability.quality.resampling import RowMean, row_means
from auditkit.audits.explainability.quality.scores import MethodRows, Scores
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Measurement

RANDOM = ".random"
"""Ending of the names of means over random orders."""


@dataclass(frozen=True, slots=True)
class MethodMeans:
    """Means of every score of a method.

    Attributes:
        complete: Share of rows that add up; ``None`` where that is not promised.
        rows: Means over rows by metric, with the imputer behind a slash where there is one.
        similarity: To explanations of models drawn anew; ``None`` where there are none.
        drop: From explaining the same model again to that.
        entropy_rise: Of the histogram of an explanation.
    """

    complete: Share | None
    rows: Mapping[str, RowMean]
    similarity: CrossedMean | None = None
    drop: CrossedMean | None = None
    entropy_rise: CrossedMean | None = None


def means_of(
    method: MethodRows,
    scores: Scores,
    person: IntArray | None,
    *,
    n_draws: int,
    rng: np.random.Generator,
) -> MethodMeans:
    """All means of one method, those over the same rows from the same resamples."""
    person_again = None if person is None else person[scores.again]
    over_all = row_means(_over_all(method, scores.by_chance), person, n_draws=n_draws, rng=rng)
    over_some = row_means(_over_some(method), person_again, n_draws=n_draws, rng=rng)
    means = MethodMeans(
        complete=None if method.complete is None else Share(method.complete, person),
        rows=over_all | over_some,
    )
    if method.randomised is None:
        return means
    drawn, unchanged = method.randomised.whole, method.stability.ranks[:, None]
    return replace(
        means,
        similarity=crossed_mean(drawn.similarity, person_again),
        drop=crossed_mean(unchanged - drawn.similarity, person_again),
        entropy_rise=crossed_mean(drawn.entropy_rise, person_again),
    )


def _over_all(method: MethodRows, by_chance: Mapping[str, Removal]) -> dict[str, FloatArray]:
    explains = (method.attributions != 0).any(axis=1)
    found: dict[str, FloatArray] = {}
    for imputer, areas in method.removal.items():
        chance = by_chance[imputer]
        for metric, own, random in (
            (metrics.GAIN, areas.gain, chance.gain),
            (metrics.DELETION, areas.deletion, chance.deletion),
            (metrics.INSERTION, areas.insertion, chance.insertion),
        ):
            found[f"{metric}/{imputer}"] = np.where(explains, own, np.nan)
            found[f"{metric}{RANDOM}/{imputer}"] = np.where(explains, random, np.nan)
        found[f"{metrics.GAIN_OVER}/{imputer}"] = np.where(explains, areas.gain - chance.gain, np.nan)
    for metric, over, table in (
        (metrics.SENSITIVITY_N, metrics.SENSITIVITY_N_OVER, method.sensitivity),
        (metrics.INFIDELITY, metrics.INFIDELITY_OVER, method.infidelity),
    ):
        random = mean_of_defined(table[:, 1:].T)
        found |= {metric: table[:, 0], f"{metric}{RANDOM}": random, over: table[:, 0] - random}
    complexity = method.complexity
    return found | {
        metrics.GINI: complexity.gini,
        metrics.ENTROPY: complexity.entropy,
        metrics.NEEDED: complexity.needed,
    }


def _over_some(method: MethodRows) -> dict[str, FloatArray]:
    moved = method.moved
    return {
        metrics.MAX_SENSITIVITY: moved.relative,
        f"{metrics.MAX_SENSITIVITY}{RANDOM}": moved.random,
        metrics.MAX_SENSITIVITY_OVER: moved.relative - moved.random,
        metrics.OUTPUT_SENSITIVITY: moved.per_output,
        metrics.SEED_RANKS: method.stability.ranks,
        metrics.SEED_OVERLAP: method.stability.overlap,
    }


def measurements_of(
    method: MethodRows, means: MethodMeans, n_again: int, confidence: float
) -> list[Measurement]:
    """The figures of one method, in the order of the trust table."""
    group, n = {"method": method.method.name}, len(method.attributions)
    of_all, of_some = Figures(group, n, confidence), Figures(group, n_again, confidence)
    found = [] if means.complete is None else [_complete(means.complete, group, confidence)]
    of_removal = (metrics.GAIN_OVER, metrics.GAIN, metrics.DELETION, metrics.INSERTION)
    for imputer in method.removal:
        found += [of_all.of(m, means.rows[f"{m}/{imputer}"], imputer=imputer) for m in of_removal]
    over_all = (
        metrics.SENSITIVITY_N,
        metrics.SENSITIVITY_N_OVER,
        metrics.INFIDELITY,
        metrics.INFIDELITY_OVER,
    )
    found += [of_all.of(metric, means.rows[metric]) for metric in over_all]
    over_some = (metrics.MAX_SENSITIVITY, metrics.MAX_SENSITIVITY_OVER, metrics.OUTPUT_SENSITIVITY)
    found += [of_some.of(metric, means.rows[metric]) for metric in over_some]
    for metric, mean in (
        (metrics.RANDOMISED, means.similarity),
        (metrics.DROP, means.drop),
        (metrics.ENTROPY_RISE, means.entropy_rise),
    ):
        if mean is not None:
            found.append(of_some.of(metric, mean))
    found += [of_some.of(metric, means.rows[metric]) for metric in (metrics.SEED_RANKS, metrics.SEED_OVERLAP)]
    shape = (metrics.GINI, metrics.ENTROPY, metrics.NEEDED)
    return found + [of_all.of(metric, means.rows[metric]) for metric in shape]


def _complete(share: Share, group: Mapping[str, str], confidence: float) -> Measurement:
    return Measurement(
        metric=metrics.COMPLETE,
        value=share.value,
        n=len(share.hits),
        better=metrics.FACTS[metrics.COMPLETE].better,
        group=dict(group),
        interval=share.interval(confidence),
    )
