"""What was found about one sensitive feature, and the figures of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.proxies_features import FeatureInformation
from auditkit.audits.fairness.proxies_neutral import CarriedGap
from auditkit.audits.fairness.proxies_rows import AttributeRows
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.linear_probe import ProbeResult
from auditkit.statistics.multiplicity import holm

PROBES = ("inputs.auc", "inputs.auc.boosted", "layer.auc", "score.auc")
"""Metrics of the probes, in their order."""


@dataclass(frozen=True, slots=True)
class AttributeFound:
    """Everything about one sensitive feature.

    Attributes:
        rows: The rows it was foretold for.
        probes: By metric; a reason where there is no figure.
        features: Single inputs, the most telling first; a reason where there are none.
        gaps: By feature, or why there are none.
        confidence: Of all figures.
    """

    rows: AttributeRows
    probes: Mapping[str, ProbeResult | Message]
    features: tuple[FeatureInformation, ...] | Message
    gaps: Mapping[str, CarriedGap] | Message
    confidence: float

    def adjusted(self) -> dict[str, float]:
        """p-values of the probes, adjusted by Holm for their number."""
        measured = {name: one.p for name, one in self.probes.items() if isinstance(one, ProbeResult)}
        if not measured:
            return {}
        return dict(zip(measured, holm(list(measured.values())).tolist(), strict=True))

    def shown(self) -> dict[str, ProbeResult]:
        """Probes that foretell the level better than chance."""
        limit = 1 - self.confidence + 1e-12
        adjusted = self.adjusted()
        return {
            name: one
            for name, one in self.probes.items()
            if isinstance(one, ProbeResult) and adjusted[name] <= limit and one.auc > 0.5
        }


def all_missing(attribute: str, n: int, reason: Message) -> list[Measurement]:
    """The places of all figures of an attribute that cannot be foretold."""
    names = (*PROBES, "telling_features", "gap_carried")
    return [_missing(name, attribute, n, reason) for name in names]


def measurements_of(found: AttributeFound) -> list[Measurement]:
    """All figures of one attribute."""
    return [*_probe_measurements(found), _number_of_features(found), *_gap_measurements(found)]


def _probe_measurements(found: AttributeFound) -> list[Measurement]:
    attribute, adjusted = found.rows.attribute, found.adjusted()
    measured = []
    for name, one in found.probes.items():
        if isinstance(one, Message):
            measured.append(_missing(name, attribute, len(found.rows), one))
            continue
        measured.append(
            Measurement(
                metric=name,
                value=one.auc,
                n=one.n,
                better="lower",
                across=(attribute,),
                interval=one.interval,
                note=Message(
                    text="Levels: {levels}. Chance of so much without any relation: {p}, adjusted for the "
                    "probes of this attribute: {p_adjusted}.",
                    values={
                        "levels": "; ".join(found.rows.levels),
                        "p": float(f"{one.p:.2g}"),
                        "p_adjusted": float(f"{adjusted[name]:.2g}"),
                    },
                ),
            )
        )
    return measured


def _number_of_features(found: AttributeFound) -> Measurement:
    attribute, n = found.rows.attribute, len(found.rows)
    if isinstance(found.features, Message):
        return _missing("telling_features", attribute, n, found.features)
    number = sum(one.is_shown for one in found.features)
    return Measurement(
        metric="telling_features",
        value=number,
        unit="count",
        n=n,
        better="lower",
        kind="lower_bound",
        across=(attribute,),
        interval=Interval.exact(number),
        note=Message(
            text="{tested} inputs were examined one by one; others may tell it only together.",
            values={"tested": len(found.features)},
        ),
    )


def _gap_measurements(found: AttributeFound) -> list[Measurement]:
    attribute = found.rows.attribute
    if isinstance(found.gaps, Message):
        return [_missing("gap_carried", attribute, len(found.rows), found.gaps)]
    return [
        Measurement(
            metric="gap_carried",
            value=one.carried,
            n=one.n,
            better="zero",
            group={"feature": feature},
            across=(attribute,),
            interval=one.interval,
            note=Message(
                text="Of {gap} percentage points between {higher} and {lower}, who are selected most and "
                "least often.",
                values={
                    "gap": round(100 * one.gap, 1),
                    "higher": found.rows.levels[one.higher],
                    "lower": found.rows.levels[one.lower],
                },
            ),
        )
        for feature, one in found.gaps.items()
    ]


def _missing(name: str, attribute: str, n: int, reason: Message) -> Measurement:
    is_count = name == "telling_features"
    return Measurement(
        metric=name,
        value=None,
        unit="count" if is_count else "1",
        n=n,
        better="zero" if name == "gap_carried" else "lower",
        kind="lower_bound" if is_count else "estimate",
        across=(attribute,),
        missing=reason,
    )


def largest(found: Mapping[str, ProbeResult]) -> str:
    """The probe with the largest area."""
    names = list(found)
    return names[int(np.argmax([found[name].auc for name in names]))]
