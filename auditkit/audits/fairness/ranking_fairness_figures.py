"""Measurements of exposure and of places at the top."""

import numpy as np

from auditkit.audits.fairness.ranking_fairness_rows import RankedGroups, Top
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.intervals import critical_value, rate
from auditkit.statistics.simultaneous import pair_confidence, smallest_ratio

MOST_GROUPS_COMPARED = 500
"""More groups than this make too many pairs for any reader."""


def absent(metric: str, better: Better, ranked: RankedGroups, reason: Message) -> Measurement:
    """The place of a figure across groups that does not exist."""
    return Measurement(
        metric=metric,
        value=None,
        n=len(ranked.groups),
        better=better,
        across=ranked.grouping.attributes,
        missing=reason,
    )


def too_few(ranked: RankedGroups) -> Message:
    """Why there is no figure across groups."""
    return Message(
        text="Fewer than two known groups of {attribute} have rows for which the figure is defined.",
        values={"attribute": ranked.grouping.title},
    )


def exposure_measurements(ranked: RankedGroups, draws: FloatArray, confidence: float) -> list[Measurement]:
    """Mean exposure of every group, and two ratios of the lowest to the highest group.

    Args:
        ranked: The rows.
        draws: Replicates of their totals, shape ``(n_draws, n_groups, 4)``.
        confidence: Of the intervals.
    """
    totals = ranked.totals.of_lists().sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = draws[:, :, 1] / draws[:, :, 0]
    spread = np.array([np.std(own[np.isfinite(own)]) if np.isfinite(own).any() else 0.0 for own in mean.T])
    reach = critical_value(confidence) * spread
    measured = []
    for group, name in enumerate(ranked.grouping.groups):
        value = float(totals[group, 1] / totals[group, 0])
        interval = Interval(
            low=max(0.0, value - float(reach[group])),
            high=min(1.0, value + float(reach[group])),
            confidence=confidence,
            method="bootstrap-normal",
        )
        measured.append(
            Measurement(
                metric="exposure",
                value=value,
                n=int(ranked.sizes[group]),
                better="neither",
                group=name,
                interval=interval if ranked.sizes[group] > 1 else None,
                note=None if ranked.sizes[group] > 1 else Message(text="A single row gives no interval."),
            )
        )
    # in a random order every group has its expected exposure, whatever lists its rows are in
    return [
        *measured,
        _ratio("exposure.ratio", ranked, totals[:, [1, 2]], draws[:, :, [1, 2]], confidence),
        _ratio("exposure_per_relevance.ratio", ranked, totals[:, [1, 3]], draws[:, :, [1, 3]], confidence),
    ]


def _ratio(
    metric: str, ranked: RankedGroups, parts: FloatArray, draws: FloatArray, confidence: float
) -> Measurement:
    """Lowest by highest of the quotients ``parts[:, 0] / parts[:, 1]`` of groups."""
    compared = ranked.known[(parts[ranked.known] > 0).all(axis=1)]
    compared = compared[ranked.sizes[compared] > 1]
    if len(compared) < 2:
        return absent(metric, "one", ranked, too_few(ranked))
    if len(compared) > MOST_GROUPS_COMPARED:
        return absent(metric, "one", ranked, _too_many(len(compared)))
    logs = np.log(parts[compared, 0] / parts[compared, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = np.log(draws[:, compared, 0] / draws[:, compared, 1])
    usable = np.isfinite(replicates).all(axis=1)
    if usable.mean() <= 0.95:
        reason = Message(text="Groups are too small: the figure is undefined in too many resamples.")
        return absent(metric, "one", ranked, reason)
    covariance = np.cov(replicates[usable], rowvar=False)
    first, second = np.triu_indices(len(compared), 1)
    gap = logs[first] - logs[second]
    variance = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
    # copies of the first row keep the first place, so resampling alone understates what order by chance does
    by_chance = _variance_by_chance(ranked) / ranked.sizes[compared]
    spread = np.sqrt(np.maximum(variance, by_chance[first] + by_chance[second]))
    low = np.abs(gap) - critical_value(pair_confidence(len(compared), confidence)) * spread
    high = np.abs(gap) + critical_value(confidence) * spread
    lowest, highest = int(compared[logs.argmin()]), int(compared[logs.argmax()])
    return Measurement(
        metric=metric,
        value=float(np.exp(logs.min() - logs.max())),
        n=int(ranked.sizes[compared].sum()),
        better="one",
        across=ranked.grouping.attributes,
        interval=Interval(
            low=float(np.exp(-high.max())),
            high=float(np.exp(-max(0.0, low.max()))),
            confidence=confidence,
            method="simultaneous-bootstrap-log-ratio",
        ),
        note=_pair_note(ranked, lowest, highest, compared),
    )


def _variance_by_chance(ranked: RankedGroups) -> float:
    """Of one row's exposure relative to that expected in its list, over random orders."""
    exposure, list_of = ranked.ranking.exposure(), ranked.ranking.list_of
    mean = np.bincount(list_of, weights=exposure) / ranked.ranking.sizes
    return float(np.var(exposure / mean[list_of]))


def _pair_note(ranked: RankedGroups, lowest: int, highest: int, compared: IntArray) -> Message:
    labels = ranked.grouping.labels
    left_out = [labels[group] for group in np.setdiff1d(ranked.known, compared)]
    values: dict[str, str | int | float] = {"lowest": labels[lowest], "highest": labels[highest]}
    if not left_out:
        return Message(text="Lowest: {lowest}. Highest: {highest}.", values=values)
    return Message(
        text="Lowest: {lowest}. Highest: {highest}. Not compared, because the figure is undefined there: "
        "{left_out}.",
        values={**values, "left_out": "; ".join(left_out)},
    )


def top_measurements(ranked: RankedGroups, top: int | float, confidence: float) -> list[Measurement]:
    """Skew of every known group at the top, and the ratio of the chances to get there."""
    found = Top.of(ranked, top)
    name = f"top_{top:g}"
    if found is None:
        reason = Message(
            text="No list has more rows than the {top} places asked for.", values={"top": f"{top:g}"}
        )
        return [absent(f"{name}.ratio", "one", ranked, reason)]
    return [
        *(_skew(ranked, found, int(group), confidence) for group in ranked.known),
        _top_ratio(ranked, found, confidence),
    ]


def _skew(ranked: RankedGroups, top: Top, group: int, confidence: float) -> Measurement:
    """Logarithm of the share at the top by the share that a random order gives."""
    name, label = f"skew_at_{top.name}", ranked.grouping.groups[group]
    count, expected = float(top.count[group]), float(top.expected[group])
    if count < 1:
        return Measurement(
            metric=name,
            value=None,
            n=top.places,
            better="zero",
            group=label,
            missing=Message(
                text="Less than one of the {places} places at the top went to the group, so the logarithm "
                "has no lower limit. {expected} were to be expected.",
                values={"places": top.places, "expected": f"{expected:.1f}"},
            ),
        )
    ends = rate(min(count, float(top.places)), float(top.places), confidence=confidence)
    share = expected / top.places
    value = float(np.log(count / expected))
    return Measurement(
        metric=name,
        value=value,
        n=top.places,
        better="zero",
        group=label,
        interval=Interval(
            low=min(value, float(np.log(ends.low / share))),
            high=max(value, float(np.log(ends.high / share))),
            confidence=confidence,
            method=ends.method,
        ),
        note=Message(
            text="{count} of {places} places; {expected} were to be expected.",
            values={"count": f"{count:.4g}", "places": top.places, "expected": f"{expected:.1f}"},
        ),
    )


def _top_ratio(ranked: RankedGroups, top: Top, confidence: float) -> Measurement:
    """Lowest by highest chance of a place at the top, each relative to a random order."""
    metric = f"top_{top.name}.ratio"
    compared = ranked.known[top.expected[ranked.known] > 0]
    if len(compared) > MOST_GROUPS_COMPARED:
        return absent(metric, "one", ranked, _too_many(len(compared)))
    size = np.maximum(top.expected[compared] * top.rows / top.places, top.count[compared])
    gap = smallest_ratio(top.count[compared], size, confidence=confidence) if len(compared) > 1 else None
    if gap is None:
        return absent(metric, "one", ranked, too_few(ranked))
    lowest, highest = int(compared[gap.lowest]), int(compared[gap.highest])
    return Measurement(
        metric=metric,
        value=gap.value,
        n=top.rows,
        better="one",
        across=ranked.grouping.attributes,
        interval=gap.interval,
        note=_pair_note(ranked, lowest, highest, compared),
    )


def _too_many(groups: int) -> Message:
    return Message(
        text="{groups} groups are more than the {most} that are compared.",
        values={"groups": groups, "most": MOST_GROUPS_COMPARED},
    )
