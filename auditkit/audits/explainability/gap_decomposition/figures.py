"""What was found about one sensitive feature, and the figures of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.gap_decomposition.compared_groups import Comparison
from auditkit.audits.explainability.gap_decomposition.proxy_index import ProxyIndex
from auditkit.data.dataset import FloatArray
from auditkit.records import Interval, Measurement, Message, Unit
from auditkit.statistics.group_means import MeanDifferences
from auditkit.statistics.linear_probe import ProbeResult

GAP, PART, REST, INDEX, LEAKAGE = (
    "score_gap",
    "gap_contribution",
    "unattributed_gap",
    "proxy_index",
    "leakage_auc",
)
NAT: tuple[str, ...] = (GAP, PART, REST)


@dataclass(frozen=True, slots=True)
class AttributeFound:
    """Everything about one sensitive feature.

    Attributes:
        comparison: The groups.
        names: Of the features.
        differences: Columns are the features, what was not attributed, and the score itself; one row per
            group compared.
        indices: By feature; empty where no feature moves the score.
        leakage: Or why there is none.
        confidence: Of all figures.
    """

    comparison: Comparison
    names: tuple[str, ...]
    differences: MeanDifferences
    indices: Mapping[str, ProxyIndex]
    leakage: ProbeResult | Message
    confidence: float

    def parts(self, group: int) -> FloatArray:
        """Contribution of every feature to the gap of one group."""
        return np.asarray(self.differences.values[group, :-2])

    def interval(self, group: int, column: int) -> Interval:
        """Of one difference; holds together with all others of the attribute."""
        return Interval(
            low=float(self.differences.low[group, column]),
            high=float(self.differences.high[group, column]),
            confidence=self.confidence,
            method="simultaneous-max-t",
        )

    def is_shown(self, group: int, column: int) -> bool:
        """Whether a difference is shown not to be 0."""
        low, high = self.differences.low[group, column], self.differences.high[group, column]
        return bool(low > 0 or high < 0)

    def ranked(self) -> list[int]:
        """Features by their largest contribution to any gap."""
        largest = np.abs(self.differences.values[:, :-2]).max(axis=0)
        return [int(index) for index in np.argsort(-largest, kind="stable")]


def measurements_of(found: AttributeFound, top: int) -> list[Measurement]:
    """All figures of one attribute; of features the first ``top``."""
    measured: list[Measurement] = []
    ranked = found.ranked()[:top]
    for group, level in enumerate(found.comparison.groups):
        where = {found.comparison.attribute: level}
        measured.append(_difference(found, group, -1, GAP, where, note=_against(found.comparison)))
        measured.append(_difference(found, group, -2, REST, where))
        measured += [
            _difference(found, group, index, PART, {**where, "feature": found.names[index]})
            for index in ranked
        ]
    return [*measured, *_indices(found, [found.names[index] for index in ranked]), _leakage(found)]


def _against(comparison: Comparison) -> Message:
    if comparison.reference is not None:
        return Message(text="Compared with {reference}.", values={"reference": comparison.reference})
    return Message(text="Compared with all rows of other groups.")


def _difference(
    found: AttributeFound,
    group: int,
    column: int,
    metric: str,
    where: dict[str, str],
    *,
    note: Message | None = None,
) -> Measurement:
    contrast = list(found.comparison.groups.values())[group]
    return Measurement(
        metric=metric,
        value=float(found.differences.values[group, column]),
        unit="nat",
        n=int(contrast.first.sum() + contrast.second.sum()),
        better="zero",
        group=where,
        interval=found.interval(group, column),
        note=note,
    )


def _indices(found: AttributeFound, names: list[str]) -> list[Measurement]:
    attribute, n = found.comparison.attribute, int(found.comparison.known.sum())
    if not found.indices:
        return [_missing(INDEX, attribute, n, Message(text="no feature moves the score"))]
    measured = []
    for name in names:
        one = found.indices[name]
        is_itself = name == attribute
        measured.append(
            Measurement(
                metric=INDEX,
                value=one.value,
                n=n,
                better="lower",
                group={"feature": name},
                across=(attribute,),
                interval=one.interval
                or Interval(low=0.0, high=1.0, confidence=found.confidence, method="range"),
                note=Message(
                    text="The attribute itself: {share} % of all attribution.",
                    values={"share": round(100 * one.share, 1)},
                )
                if is_itself
                else Message(
                    text="{share} % of all attribution, times {association}, its association with the group.",
                    values={
                        "share": round(100 * one.share, 1),
                        "association": round(one.association, 3),
                    },
                ),
            )
        )
    return measured


def _leakage(found: AttributeFound) -> Measurement:
    attribute, one = found.comparison.attribute, found.leakage
    if isinstance(one, Message):
        return _missing(LEAKAGE, attribute, int(found.comparison.known.sum()), one)
    return Measurement(
        metric=LEAKAGE,
        value=one.auc,
        n=one.n,
        better="lower",
        across=(attribute,),
        interval=one.interval,
        note=Message(
            text="Chance of so much without any relation: {p}.", values={"p": float(f"{one.p:.2g}")}
        ),
    )


def all_missing(attribute: str, n: int, reason: Message) -> list[Measurement]:
    """The places of all figures of an attribute that cannot be divided."""
    return [_missing(metric, attribute, n, reason) for metric in (GAP, PART, REST, INDEX, LEAKAGE)]


def _missing(metric: str, attribute: str, n: int, reason: Message) -> Measurement:
    unit: Unit = "nat" if metric in NAT else "1"
    return Measurement(
        metric=metric,
        value=None,
        unit=unit,
        n=n,
        better="zero" if metric in NAT else "lower",
        across=(attribute,),
        missing=reason,
    )
