"""Several methods side by side: what each finds important, and whether they agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from auditkit.audits.explainability.attribution_evidence import share_estimate
from auditkit.audits.explainability.explained_features import Importance
from auditkit.audits.explainability.method_agreement import (
    chance_overlap,
    heaviest,
    orders_agree,
    top_overlap,
)
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.records import Dots, Estimate, Evidence, Interval, Mark, Measurement, Message, Table
from auditkit.statistics.intervals import mean_interval

SPEARMAN = "method_agreement.spearman"
OVERLAP = "method_agreement.top_overlap"

_NO_ORDER = Message(text="no row has attributions that differ between features in both methods")
_ONE_METHOD = Message(text="only one of the methods can be used here")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods.

    Attributes:
        first: Name of one.
        second: Name of the other.
        spearman: Of each row, shape ``(n,)``, NaN where one orders nothing.
        overlap: Same, of the heaviest units.
    """

    first: str
    second: str
    spearman: FloatArray
    overlap: FloatArray


MeasuredPair = tuple[Pair, Measurement, Measurement]
"""A pair with its mean rank correlation and its mean share of the heaviest units."""


def pairs_of(values: Mapping[str, FloatArray], present: BoolArray) -> tuple[Pair, ...]:
    """Every two methods, in the order of the config."""
    return tuple(
        Pair(
            a,
            b,
            orders_agree(values[a], values[b], present),
            top_overlap(values[a], values[b], present),
        )
        for a, b in combinations(values, 2)
    )


def measured_pairs(
    pairs: tuple[Pair, ...], present: BoolArray, confidence: float
) -> tuple[MeasuredPair, ...]:
    """The two figures of every pair."""
    note = _chance_note(present)
    return tuple((pair, *_of_pair(pair, note, confidence)) for pair in pairs)


def agreement_figures(
    pairs: tuple[MeasuredPair, ...], present: BoolArray, confidence: float
) -> list[Measurement]:
    """Mean agreement over all pairs of methods, then of each pair where there are several."""
    if not pairs:
        return [
            Measurement(metric=metric, value=None, n=0, better="higher", missing=_ONE_METHOD)
            for metric in (SPEARMAN, OVERLAP)
        ]
    of_all = Pair("", "", _mean(pairs, "spearman"), _mean(pairs, "overlap"))
    overall = _of_pair(of_all, _chance_note(present), confidence)
    of_each = [figure for _, *of_pair in pairs for figure in of_pair]
    return [*overall, *(of_each if len(pairs) > 1 else ())]


def _mean(pairs: tuple[MeasuredPair, ...], of: str) -> FloatArray:
    """Over those pairs that are defined for a row, shape ``(n,)``."""
    values = np.stack([getattr(pair, of) for pair, _, _ in pairs])
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def _chance_note(present: BoolArray) -> Message:
    return Message(
        text="two unrelated orders have a share of {chance} of the {k} heaviest in common",
        values={"chance": round(chance_overlap(present), 3), "k": int(np.median(heaviest(present)))},
    )


def _of_pair(pair: Pair, note: Message, confidence: float) -> tuple[Measurement, Measurement]:
    group = {"first": pair.first, "second": pair.second} if pair.first else {}
    spearman = _figure(SPEARMAN, pair.spearman, (-1.0, 1.0), group, confidence)
    overlap = _figure(OVERLAP, pair.overlap, (0.0, 1.0), group, confidence)
    return spearman, overlap if overlap.value is None else overlap.model_copy(update={"note": note})


def _figure(
    metric: str, values: FloatArray, within: tuple[float, float], group: dict[str, str], confidence: float
) -> Measurement:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Measurement(metric=metric, value=None, n=0, better="higher", group=group, missing=_NO_ORDER)
    return Measurement(
        metric=metric,
        value=float(np.clip(defined.mean(), *within)),
        n=len(defined),
        better="higher",
        group=group,
        interval=_interval(defined, within, confidence),
    )


def _interval(values: FloatArray, within: tuple[float, float], confidence: float) -> Interval | None:
    found = mean_interval(values, confidence=confidence)
    if found is None:
        return None
    low, high = np.clip([found.low, found.high], *within)
    return found.model_copy(update={"low": float(low), "high": float(high)})


def agreement_evidence(pairs: tuple[MeasuredPair, ...], present: BoolArray) -> tuple[Evidence, ...]:
    """The first method against each other one as a chart, and all pairs as a table, least agreement first.

    Args:
        pairs: In the order of the config.
        present: Units that a row has, shape ``(n, m)``.
    """
    defined = [entry for entry in pairs if entry[1].value is not None]
    ranked = sorted(defined, key=lambda entry: entry[1].value or 0.0)
    of_first = [entry for entry in ranked if entry[0].first == pairs[0][0].first]
    charts = (_chart(of_first),) if of_first else ()
    return (*charts, _table(ranked, present)) if ranked else ()


def _chart(ranked: list[MeasuredPair]) -> Dots:
    pair, least, _ = ranked[0]
    said = {"first": pair.first, "second": pair.second, "value": f"{least.value or 0.0:.2f}"}
    return Dots(
        title=Message(
            text="{second} agrees least with {first} on what weighs most: rank correlation {value}",
            values=dict(said),
        )
        if len(ranked) > 1
        else Message(
            text="{first} and {second} order the inputs of a row with rank correlation {value}",
            values=dict(said),
        ),
        caption=Message(
            text="Mean over rows of Spearman's correlation of absolute attributions: 1 for the same order, "
            "0 for unrelated ones. Methods that agree may be wrong together."
        ),
        axis=Message(text="rank correlation with {method}", values={"method": pair.first}),
        marks=tuple(Mark(label=pair.second, estimate=_estimate(figure)) for pair, figure, _ in ranked),
        reference=0.0,
        reference_label=Message(text="unrelated"),
        low=min(0.0, *(figure.interval.low if figure.interval else 0.0 for _, figure, _ in ranked)),
        high=1.0,
    )


def _table(ranked: list[MeasuredPair], present: BoolArray) -> Table:
    return Table(
        title=Message(text="Agreement of every two methods on the inputs of a row"),
        caption=Message(
            text="Two unrelated orders have a share of {chance} of the {k} heaviest inputs in common.",
            values={"chance": round(chance_overlap(present), 3), "k": int(np.median(heaviest(present)))},
        ),
        columns=(
            Message(text="Method"),
            Message(text="Other method"),
            Message(text="Rank correlation"),
            Message(text="Heaviest inputs in common"),
        ),
        rows=tuple(
            (pair.first, pair.second, _estimate(spearman), _estimate(overlap))
            for pair, spearman, overlap in ranked
        ),
    )


def _estimate(figure: Measurement) -> Estimate:
    low, high = (figure.interval.low, figure.interval.high) if figure.interval else (None, None)
    return Estimate(value=figure.value, low=low, high=high, n=figure.n, missing=figure.missing)


def shares_by_method(ranked: Mapping[str, tuple[Importance, ...]], n: int) -> Table:
    """Share of each feature by each method, in the order of the first."""
    by_name = {method: {entry.feature: entry for entry in entries} for method, entries in ranked.items()}
    return Table(
        title=Message(text="Share of all attribution by feature, as each method has it"),
        columns=(
            Message(text="Feature"),
            *(Message(text="{method}", values={"method": method}) for method in ranked),
        ),
        rows=tuple(
            (entry.feature, *(share_estimate(by_name[method][entry.feature], n) for method in ranked))
            for entry in next(iter(ranked.values()))
        ),
    )
