"""Figures of changed levels: how many decisions change, whose, and in which direction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from auditkit.audits.fairness.attribute_flip_counts import Flips
from auditkit.data.dataset import BoolArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.clustered import clustered_change, clustered_mean, clustered_rate
from auditkit.statistics.multiplicity import holm

OVERALL = ("flip_rate", "score_change")
"""Figures of an attribute as a whole."""

NO_SPREAD = Message(text="Fewer than two rows (persons) have a known level.")


@dataclass(frozen=True, slots=True)
class Direction:
    """Rows of one level, given another.

    Attributes:
        origin: Their level.
        target: The level they were given.
        gained: Rows that become favourable.
        lost: Rows that are favourable no more.
        n: Rows of the level.
        net: Share gained minus share lost, by weight.
        interval: Of ``net``.
        p: Exact test of as many gained as lost, adjusted for all pairs; ``None`` where rows are not
            independent or weighted.
    """

    origin: str
    target: str
    gained: int
    lost: int
    n: int
    net: float
    interval: Interval
    p: float | None


def all_missing(attribute: str, n: int, reason: Message) -> list[Measurement]:
    """The places of the figures of an attribute that cannot be exchanged."""
    return [
        Measurement(metric=name, value=None, n=n, better="zero", across=(attribute,), missing=reason)
        for name in OVERALL
    ]


def not_an_input(attribute: str, n: int) -> list[Measurement]:
    """What holds by construction: what is not read cannot change anything."""
    note = Message(
        text="{attribute} is not among the inputs, nor does it decide one: exchanging it changes nothing by "
        "construction. Inputs that tell it in part may still matter.",
        values={"attribute": attribute},
    )
    return [
        Measurement(
            metric=name,
            value=0.0,
            n=n,
            better="zero",
            provenance="derived",
            across=(attribute,),
            interval=Interval.exact(0.0),
            note=note,
        )
        for name in OVERALL
    ]


def directions(flips: Flips, confidence: float) -> tuple[Direction, ...]:
    """Every pair of levels with rows; none without a favourable class."""
    if flips.favourable is None:
        return ()
    found: list[Direction] = []
    for origin in np.unique(flips.codes):
        rows = np.asarray(flips.codes == origin, dtype=np.bool_)
        weights, units = flips.part(rows)
        for position, target in enumerate(flips.given):
            if target == origin:
                continue
            steps = flips.favourable[rows, position]
            net, interval = clustered_change(steps, weights=weights, units=units, confidence=confidence)
            gained, lost = int((steps > 0).sum()), int((steps < 0).sum())
            plain = weights is None and units is None
            p = min(1.0, 2 * float(binom.cdf(min(gained, lost), gained + lost, 0.5))) if plain else None
            names = flips.names[int(origin)], flips.names[int(target)]
            found.append(Direction(*names, gained, lost, int(rows.sum()), net, interval, p))
    return _adjusted(found)


def _adjusted(found: Sequence[Direction]) -> tuple[Direction, ...]:
    p = [one.p for one in found if one.p is not None]
    if len(p) < len(found) or not p:
        return tuple(found)
    return tuple(
        Direction(one.origin, one.target, one.gained, one.lost, one.n, one.net, one.interval, float(adjusted))
        for one, adjusted in zip(found, holm(p), strict=True)
    )


def measurements_of(flips: Flips, pairs: Sequence[Direction], confidence: float) -> list[Measurement]:
    """All figures of one attribute."""
    return [
        _rate(flips, None, confidence),
        _score_change(flips, confidence),
        *(_rate(flips, int(code), confidence) for code in np.unique(flips.codes)),
        *_direction_measurements(flips, pairs),
    ]


def _rate(flips: Flips, code: int | None, confidence: float) -> Measurement:
    """Share of rows with another class under some other level; of one group or of all."""
    own = np.ones(len(flips), dtype=np.bool_) if code is None else flips.codes == code
    # a row that already has the only level to be given was never asked again
    rows: BoolArray = np.asarray(own & flips.others.any(axis=1), dtype=np.bool_)
    group = {} if code is None else {flips.attribute: flips.names[code]}
    across = (flips.attribute,) if code is None else ()
    if not rows.any():
        reason = Message(text="Its rows have the only level that was to be given.")
        return Measurement(
            metric="flip_rate", value=None, n=0, better="zero", group=group, across=across, missing=reason
        )
    weights, units = flips.part(rows)
    changed = flips.any_change[rows]
    value, interval = clustered_rate(changed, weights=weights, units=units, confidence=confidence)
    return Measurement(
        metric="flip_rate",
        value=value,
        n=int(rows.sum()),
        better="zero",
        group=group,
        across=across,
        interval=interval,
        note=Message(
            text="{changed} of {n} rows are predicted otherwise under another level.",
            values={"changed": int(changed.sum()), "n": int(rows.sum())},
        ),
    )


def _score_change(flips: Flips, confidence: float) -> Measurement:
    """Mean over rows of the mean movement under their other levels."""
    rows = np.asarray(flips.others.any(axis=1), dtype=np.bool_)
    value, interval, reason = None, None, None
    if flips.moved is None:
        reason = Message(text="The subject states no probabilities.")
    elif not rows.any():
        reason = NO_SPREAD
    else:
        mean = flips.moved[rows].sum(axis=1) / flips.others[rows].sum(axis=1)
        weights, units = flips.part(rows)
        value, interval = clustered_mean(mean, weights=weights, units=units, confidence=confidence)
        if interval is None:
            value, reason = None, NO_SPREAD
        else:
            low, high = max(0.0, min(interval.low, value)), min(1.0, max(interval.high, value))
            interval = interval.model_copy(update={"low": low, "high": high})
    return Measurement(
        metric="score_change",
        value=value,
        n=int(rows.sum()),
        better="zero",
        across=(flips.attribute,),
        interval=interval,
        missing=reason,
    )


def _direction_measurements(flips: Flips, pairs: Sequence[Direction]) -> list[Measurement]:
    across = (flips.attribute,)
    if flips.favourable is None:
        reason = Message(text="No positive label is declared, so no change is favourable.")
        return [
            Measurement(
                metric="favourable_change",
                value=None,
                n=len(flips),
                better="zero",
                across=across,
                missing=reason,
            )
        ]
    return [
        Measurement(
            metric="favourable_change",
            value=one.net,
            n=one.n,
            better="zero",
            group={"from": one.origin, "to": one.target},
            across=across,
            interval=one.interval,
            note=_note(one),
        )
        for one in pairs
    ]


def _note(one: Direction) -> Message:
    values: dict[str, str | int | float] = {"gained": one.gained, "lost": one.lost}
    if one.p is None:
        return Message(
            text="{gained} rows become favourable, {lost} are so no more. Rows are weighted or share a "
            "person, so there is no exact test.",
            values=values,
        )
    return Message(
        text="{gained} rows become favourable, {lost} are so no more. p = {p}, by McNemar's exact test, "
        "adjusted for all pairs.",
        values={**values, "p": float(f"{one.p:.2g}")},
    )
