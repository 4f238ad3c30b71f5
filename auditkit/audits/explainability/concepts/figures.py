"""What was found about concepts, and the figures of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditkit.audits.explainability.concepts.sensitivity import Sensitivity
from auditkit.records import Better, Interval, Measurement, Message, Unit

ACCURACY, SCORE, EFFECT, SHOWN = "concept_accuracy", "tcav_score", "concept_effect", "shown_concepts"


@dataclass(frozen=True, slots=True)
class ConceptAtLayer:
    """One concept at one layer.

    Attributes:
        concept: Its name.
        layer: Full name of the layer, or empty where no layer could be used.
        n: Examples, half of which show the concept.
        accuracy: Held-out accuracy of its direction and the interval, or why there is none.
        by_class: What it does to each class; empty where the direction does not tell the concept.
    """

    concept: str
    layer: str
    n: int
    accuracy: tuple[float, Interval] | Message
    by_class: dict[str, Sensitivity]

    @property
    def reason(self) -> Message | None:
        """Why there are no scores, or ``None``."""
        if isinstance(self.accuracy, Message):
            return self.accuracy
        if self.accuracy[1].low > 0.5:
            return None
        return Message(
            text="its direction does not tell held-out rows with the concept from rows without it better "
            "than chance"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that was examined.

    Attributes:
        concepts: One per concept and layer.
        classes: Names of the explained classes.
        comparisons: Concepts times layers times classes.
        confidence: Of all figures.
    """

    concepts: tuple[ConceptAtLayer, ...]
    classes: tuple[str, ...]
    comparisons: int
    confidence: float

    def adjusted(self, one: Sensitivity) -> float:
        """Chance of so large an effect anywhere, had every concept been a random subset."""
        return min(1.0, one.p * self.comparisons)

    def is_shown(self, one: Sensitivity) -> bool:
        """Whether that chance is small enough."""
        return self.adjusted(one) <= 1 - self.confidence + 1e-12

    def shown(self) -> list[tuple[ConceptAtLayer, str, Sensitivity]]:
        """Those that are shown to matter, the largest effect first."""
        found = [
            (concept, name, one)
            for concept in self.concepts
            for name, one in concept.by_class.items()
            if self.is_shown(one)
        ]
        return sorted(found, key=lambda entry: -abs(entry[2].effect))


def measurements_of(found: Found) -> list[Measurement]:
    """All figures."""
    several = len({concept.layer for concept in found.concepts}) > 1
    measured = []
    for concept in found.concepts:
        group = {"concept": concept.concept, **({"layer": concept.layer} if several else {})}
        measured.append(_accuracy(concept, group))
        for name in found.classes:
            measured += _of_class(found, concept, group, name)
    return [*measured, _number(found)]


def _accuracy(concept: ConceptAtLayer, group: dict[str, str]) -> Measurement:
    if isinstance(concept.accuracy, Message):
        return _missing(ACCURACY, concept.n, group, concept.accuracy)
    return Measurement(
        metric=ACCURACY,
        value=concept.accuracy[0],
        n=concept.n,
        better="neither",
        group=group,
        interval=concept.accuracy[1],
    )


def _of_class(
    found: Found, concept: ConceptAtLayer, group: dict[str, str], name: str
) -> tuple[Measurement, Measurement]:
    group = {**group, "class": name}
    one = concept.by_class.get(name)
    if one is None:
        reason = concept.reason or Message(text="too few rows of the class")
        return (
            _missing(SCORE, concept.n, group, reason),
            _missing(EFFECT, concept.n, group, reason, unit="nat"),
        )
    score = Measurement(
        metric=SCORE,
        value=one.score,
        n=one.n,
        better="neither",
        group=group,
        interval=one.score_interval,
        missing=None if one.score is not None else Message(text="no row's score moves along the concept"),
        note=Message(
            text="Random concepts of equal size score {low} to {high}, {mean} on average.",
            values={
                name: round(value, 2)
                for name, value in zip(("low", "mean", "high"), one.random_scores, strict=True)
            },
        ),
    )
    effect = Measurement(
        metric=EFFECT,
        value=one.effect,
        unit="nat",
        n=one.n,
        better="neither",
        group=group,
        interval=one.effect_interval,
        note=Message(
            text="Chance of so much with a random concept: {p}, adjusted for {m} comparisons: {p_adjusted}.",
            values={
                "p": float(f"{one.p:.2g}"),
                "m": found.comparisons,
                "p_adjusted": float(f"{found.adjusted(one):.2g}"),
            },
        ),
    )
    return score, effect


def _number(found: Found) -> Measurement:
    examined = sum(len(concept.by_class) for concept in found.concepts)
    if not examined:
        return _missing(SHOWN, 0, {}, Message(text="no concept could be examined"), unit="count")
    number = len(found.shown())
    return Measurement(
        metric=SHOWN,
        value=number,
        unit="count",
        n=examined,
        better="neither",
        kind="lower_bound",
        interval=Interval.exact(number),
        note=Message(
            text="Of {tested} pairs of a concept and a class that could be examined.",
            values={"tested": examined},
        ),
    )


def nothing_examined(reason: Message) -> list[Measurement]:
    """The places of the figures where there is no concept at all."""
    return [
        _missing(
            metric, 0, {}, reason, unit="count" if metric == SHOWN else "nat" if metric == EFFECT else "1"
        )
        for metric in (ACCURACY, SCORE, EFFECT, SHOWN)
    ]


def _missing(metric: str, n: int, group: dict[str, str], reason: Message, *, unit: Unit = "1") -> Measurement:
    better: Better = "neither"
    return Measurement(metric=metric, value=None, unit=unit, n=n, better=better, group=group, missing=reason)


def layers_of(concepts: Sequence[ConceptAtLayer]) -> list[str]:
    """Names of the layers, each once, in their order."""
    return list(dict.fromkeys(concept.layer for concept in concepts if concept.layer))
