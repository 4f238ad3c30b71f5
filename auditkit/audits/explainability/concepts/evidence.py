"""Chart, table and pictures of concepts."""

from collections.abc import Mapping

import numpy as np
import torch

from auditkit.audits.explainability.attribution_evidence import DECIMALS, grey_values
from auditkit.audits.explainability.concepts.figures import ConceptAtLayer, Found, layers_of
from auditkit.audits.explainability.concepts.sensitivity import Sensitivity
from auditkit.data.dataset import BoolArray
from auditkit.records import Bars, Cell, Estimate, Evidence, Mark, Message, Panel, Picture, Table

SHOWN_MARKS = 20
"""Bars in the chart, the largest; the table has all."""


def evidence_of(found: Found) -> list[Evidence]:
    """What each concept does to each class."""
    pairs = [(concept, name, one) for concept in found.concepts for name, one in concept.by_class.items()]
    evidence: list[Evidence] = [] if not pairs else [_bars(found, pairs)]
    return [*evidence, _table(found)]


def _bars(found: Found, pairs: list[tuple[ConceptAtLayer, str, Sensitivity]]) -> Bars:
    ordered = sorted(pairs, key=lambda entry: -abs(entry[2].effect))[:SHOWN_MARKS]
    several = len(layers_of(found.concepts)) > 1
    marks = tuple(
        Mark(
            label=f"{concept.concept} → {name}" + (f" ({concept.layer})" if several else ""),
            estimate=_effect(one),
            small=not found.is_shown(one),
        )
        for concept, name, one in ordered
    )
    return Bars(
        title=_title(found),
        caption=Message(
            text="First-order change of the score of a class on the way from rows without a concept to rows "
            "with it; intervals hold for all {m} comparisons together.",
            values={"m": found.comparisons},
        ),
        axis=Message(text="change of the score of the class (nat)"),
        marks=marks,
    )


def _title(found: Found) -> Message:
    shown = found.shown()
    if not shown:
        return Message(text="No concept is shown to move any class more than random rows do")
    concept, name, one = shown[0]
    values: dict[str, str | float] = {
        "concept": concept.concept,
        "class": name,
        "effect": f"{abs(one.effect):.2g}",
        "n": len(shown),
        "m": found.comparisons,
    }
    if one.effect > 0:
        return Message(
            text="{concept} speaks for {class} by {effect} nat; {n} of {m} pairs of concept and class are "
            "shown to be more than chance",
            values=values,
        )
    return Message(
        text="{concept} speaks against {class} by {effect} nat; {n} of {m} pairs of concept and class are "
        "shown to be more than chance",
        values=values,
    )


def _effect(one: Sensitivity) -> Estimate:
    interval = one.effect_interval
    return Estimate(value=one.effect, low=interval.low, high=interval.high, n=one.n, unit="nat")


def _table(found: Found) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for concept in found.concepts:
        head: tuple[Cell, ...] = (concept.concept, concept.layer or "–")
        accuracy = _accuracy(concept)
        if not concept.by_class:
            rows.append((*head, accuracy, "–", Estimate(value=None, missing=concept.reason), "–", "–", "–"))
        for name, one in concept.by_class.items():
            rows.append((*head, accuracy, name, *_cells(found, one)))
    return Table(
        title=Message(text="Every concept with every class, and what random concepts of equal size score"),
        columns=(
            Message(text="Concept"),
            Message(text="Layer"),
            Message(text="Held-out accuracy"),
            Message(text="Class"),
            Message(text="TCAV score"),
            Message(text="Random concepts"),
            Message(text="Effect"),
            Message(text="p, adjusted"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="TCAV score: share of rows of the class whose score rises along the direction of the "
            "concept. Random concepts: middle 95 % of the scores of random subsets of the same rows. p: of "
            "the effect, against such subsets, times the number of comparisons."
        ),
    )


def _cells(found: Found, one: Sensitivity) -> tuple[Cell, ...]:
    low, _, high = one.random_scores
    p = found.adjusted(one)
    score = (
        Estimate(value=None, n=one.n, missing=Message(text="no row's score moves along the concept"))
        if one.score is None or one.score_interval is None
        else Estimate(value=one.score, low=one.score_interval.low, high=one.score_interval.high, n=one.n)
    )
    return (score, f"{low:.2f} – {high:.2f}", _effect(one), "< 0.001" if p < 1e-3 else f"{p:.2g}")


def _accuracy(concept: ConceptAtLayer) -> Estimate:
    if isinstance(concept.accuracy, Message):
        return Estimate(value=None, n=concept.n, missing=concept.accuracy)
    value, interval = concept.accuracy
    return Estimate(value=value, low=interval.low, high=interval.high, n=concept.n)


Sides = Mapping[str, tuple[torch.Tensor, BoolArray]]
"""Inputs by concept, and which of them show it."""


def painted_pictures(concepts: Sides, preprocessing: object, shape: tuple[int, int]) -> Picture:
    """One picture with each concept, and beside it one under the same paint shuffled."""
    return Picture(
        title=Message(
            text="A concept is a pattern painted over pictures; its counterpart is the same paint shuffled"
        ),
        panels=_panels(concepts, Message(text="the same paint, shuffled"), preprocessing, shape),
        scale=Message(text="grey values as the model reads them"),
    )


def given_pictures(concepts: Sides, preprocessing: object, shape: tuple[int, int]) -> Picture:
    """One picture of each folder as the model reads it, and beside it one row of the data."""
    return Picture(
        title=Message(
            text="A concept is what the pictures of a folder have in common; its counterpart are rows of the "
            "data"
        ),
        panels=_panels(concepts, Message(text="a row of the data"), preprocessing, shape),
        scale=Message(text="grey values as the model reads them"),
    )


def _panels(
    concepts: Sides, counterpart: Message, preprocessing: object, shape: tuple[int, int]
) -> tuple[Panel, ...]:
    panels = []
    for name, (inputs, shows) in concepts.items():
        grey = grey_values(inputs.double().numpy(), preprocessing, shape)
        for label, side in (
            (Message(text="with {concept}", values={"concept": name}), shows),
            (counterpart, ~shows),
        ):
            pixels = np.round(grey[np.flatnonzero(side)[0]], DECIMALS) + 0.0
            panels.append(Panel(label=label, pixels=tuple(tuple(row) for row in pixels.tolist())))
    return tuple(panels)
