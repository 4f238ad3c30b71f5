"""Gaps between groups over all thresholds at once: of selection rates and of ROC curves."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import expit

from auditkit.audits.fairness.score_figures import UNEVEN, too_few
from auditkit.audits.fairness.score_groups import GroupScores
from auditkit.audits.fairness.score_ranking import MOST_PAIRED, too_many
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.curve_noise import AreaNoise, ScoreBins, roc_noise, selection_noise
from auditkit.statistics.score_gaps import (
    dkw_reach,
    largest_gap_by_chance,
    largest_selection_gap,
    roc_gap_area,
    selection_gap_area,
)


@dataclass(frozen=True, slots=True)
class PairGaps:
    """One gap that is never negative, for every pair of groups; arrays of shape ``(n_pairs,)``.

    Attributes:
        pairs: The groups of each, shape ``(n_pairs, 2)``.
        value: The gap.
        reach: Half-width under which the intervals of all pairs hold together.
        by_chance: What chance alone makes of it on average.
        confidence: Of the intervals.
        method: Their name.
    """

    pairs: IntArray
    value: FloatArray
    reach: FloatArray
    by_chance: FloatArray
    confidence: float
    method: str

    @property
    def largest(self) -> int:
        """The pair with the largest gap."""
        return int(self.value.argmax())

    @property
    def clearest(self) -> int:
        """The pair with the largest lower end."""
        return int((self.value - self.reach).argmax())

    @property
    def is_shown(self) -> bool:
        """Whether some pair's interval excludes 0."""
        return bool((self.value > self.reach).any())


def largest_gaps(groups: GroupScores, confidence: float) -> PairGaps | Message:
    """Largest gap in selection rates at one common threshold, for every pair of known groups."""
    compared = np.intersect1d(groups.known, np.flatnonzero(groups.sizes))
    refusal = _refused(groups, compared)
    if refusal is not None:
        return refusal
    pairs = _pairs(compared)
    error = (1 - confidence) / len(pairs)
    sizes = [(int(groups.sizes[a]), int(groups.sizes[b])) for a, b in pairs]
    return PairGaps(
        pairs,
        np.array(
            [largest_selection_gap(groups.groups[a].log_odds, groups.groups[b].log_odds)[0] for a, b in pairs]
        ),
        np.array([dkw_reach(*size, error=error) for size in sizes]),
        np.array([largest_gap_by_chance(*size) for size in sizes]),
        confidence,
        "simultaneous-dkw",
    )


def selection_areas(
    groups: GroupScores, *, n_draws: int, confidence: float, rng: np.random.Generator
) -> PairGaps | Message:
    """Area between the selection rates over thresholds from 0 to 1, for every pair of known groups."""
    compared = np.intersect1d(groups.known, np.flatnonzero(groups.sizes))
    refusal = _refused(groups, compared)
    if refusal is not None:
        return refusal
    rows = [groups.groups[group] for group in compared]
    bins = ScoreBins.of(np.concatenate([one.log_odds for one in rows]))
    noise = selection_noise(
        [bins.count(one.log_odds) for one in rows],
        expit(bins.edges),
        n_draws=n_draws,
        confidence=confidence,
        rng=rng,
    )
    value = [selection_gap_area(rows[a].probability, rows[b].probability) for a, b in noise.pairs]
    error = (1 - confidence) / len(value)
    # the area over thresholds from 0 to 1 never exceeds the largest gap
    certain = [dkw_reach(len(rows[a]), len(rows[b]), error=error) for a, b in noise.pairs]
    return _areas(compared, np.array(value), noise, np.array(certain), confidence)


def roc_areas(
    groups: GroupScores, *, n_draws: int, confidence: float, rng: np.random.Generator
) -> PairGaps | Message:
    """Area between the ROC curves, for every pair of known groups that have both labels."""
    compared = groups.with_both_labels
    refusal = _refused(groups, compared)
    if refusal is not None:
        return refusal
    rows = [groups.groups[group] for group in compared]
    bins = ScoreBins.of(np.concatenate([one.log_odds for one in rows]))
    noise = roc_noise(
        [bins.count(one.high) for one in rows],
        [bins.count(one.low) for one in rows],
        n_draws=n_draws,
        confidence=confidence,
        rng=rng,
    )
    value = [roc_gap_area((rows[a].high, rows[a].low), (rows[b].high, rows[b].low)) for a, b in noise.pairs]
    error = (1 - confidence) / len(value) / 2
    # a ROC curve whose rates are off by u and v encloses at most u + v with the true one
    certain = [
        dkw_reach(len(rows[a].high), len(rows[b].high), error=error)
        + dkw_reach(len(rows[a].low), len(rows[b].low), error=error)
        for a, b in noise.pairs
    ]
    return _areas(compared, np.array(value), noise, np.array(certain), confidence)


def pair_gap_measurement(metric: str, gaps: PairGaps | Message, groups: GroupScores) -> Measurement:
    """The largest gap of all pairs."""
    if isinstance(gaps, Message):
        return Measurement(
            metric=metric,
            value=None,
            n=int(groups.sizes[groups.known].sum()),
            better="zero",
            across=groups.grouping.attributes,
            missing=gaps,
        )
    pair = gaps.pairs[gaps.largest]
    return Measurement(
        metric=metric,
        value=float(gaps.value[gaps.largest]),
        n=int(groups.sizes[pair].sum()),
        better="zero",
        across=groups.grouping.attributes,
        interval=Interval(
            low=max(0.0, float((gaps.value - gaps.reach).max())),
            high=min(1.0, float((gaps.value + gaps.reach).max())),
            confidence=gaps.confidence,
            method=gaps.method,
        ),
        note=Message(
            text="Between {first} and {second}. Chance alone makes about {by_chance} of two equal groups of "
            "their sizes.",
            values={
                "first": groups.grouping.labels[pair[0]],
                "second": groups.grouping.labels[pair[1]],
                "by_chance": f"{gaps.by_chance[gaps.largest]:.2g}",
            },
        ),
    )


def _refused(groups: GroupScores, compared: IntArray) -> Message | None:
    """Why no pairs are compared."""
    if any(rows.weight is not None for rows in groups.groups):
        return UNEVEN
    if len(compared) < 2:
        return too_few(groups)
    return too_many(len(compared)) if len(compared) > MOST_PAIRED else None


def _pairs(compared: IntArray) -> IntArray:
    return np.array(list(combinations(compared.tolist(), 2)), dtype=np.int64)


def _areas(
    compared: IntArray, value: FloatArray, noise: AreaNoise, certain: FloatArray, confidence: float
) -> PairGaps:
    """Resampling says nothing where all scores are equal; there the reach is one that always holds."""
    reach = np.where(noise.typical > 0, noise.reach, certain)
    return PairGaps(
        compared[noise.pairs], value, reach, noise.typical, confidence, "simultaneous-bootstrap-deviation"
    )
