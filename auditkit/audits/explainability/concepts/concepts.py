"""Do decisions lean on concepts that a person can name?"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.concepts.activations import Positions, Reader
from auditkit.audits.explainability.concepts.definition import ConceptDefinition
from auditkit.audits.explainability.concepts.evidence import evidence_of, given_pictures, painted_pictures
from auditkit.audits.explainability.concepts.examination import Examination
from auditkit.audits.explainability.concepts.examples import Examples, definitions_for, examples_of
from auditkit.audits.explainability.concepts.explained_rows import rows_of_classes
from auditkit.audits.explainability.concepts.figures import (
    ConceptAtLayer,
    Found,
    measurements_of,
    nothing_examined,
)
from auditkit.audits.explainability.concepts.layers import Place, places_of
from auditkit.audits.explainability.concepts.notes import no_concept, notes_of
from auditkit.audits.explainability.concepts.sensitivity import Plan
from auditkit.audits.explainability.concepts.vectors import Direction
from auditkit.audits.explainability.explained_score import Explained, LogOddsScore, score_of
from auditkit.data.dataset import Dataset
from auditkit.errors import AuditkitError
from auditkit.records import Message, Picture
from auditkit.subjects.subject import Subject, WhiteBox, preprocessing_of

PROBED = 16
"""Rows with which layers are looked for."""


class Concepts(Audit):
    """Testing with concept activation vectors: is a class more likely for rows that show a concept?

    A reader may conclude that the inner representation of rows with the concept differs from that of rows
    without it in a direction along which the score of the class changes. They may not conclude that the
    concept itself is the cause: what goes with it in the examples moves along. See ``info.limits``.

    Attributes:
        concepts: By name, which rows show them; for pictures the painted ones without any.
        classes: Explained ones; of two the favourable one, of more all with enough rows.
        layers: Full names of layers; without any, what the last layer with weights reads.
        direction: From rows without the concept to rows with it.
        positions: What becomes of the positions of a picture or text inside the model.
        explained: Which score of the class.
        n_random: Random concepts at least; more where the number of comparisons needs them.
        n_bootstrap: Samples behind the intervals.
        max_examples: Rows with a concept, and as many without.
        max_rows: Explained rows of each class.
        confidence: Of all intervals; one minus the chance of showing any concept that is none.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="concepts",
        version=2,
        area="explainability",
        question="Do its decisions lean on concepts that a person can name?",
        requires=frozenset({"predictions", "gradients", "layers"}),
        limits=(
            "A concept is what its examples have in common, and what differs from the other rows with it: a "
            "column that goes along with the class moves the score also where the model never reads it.",
            "The effect is a first-order change at the activations of the rows, not what would happen if the "
            "concept were taken away.",
            "A concept that no direction tells at one layer may be there all the same, spread otherwise or "
            "at another layer.",
            "Rows count equally here, whatever their sample weight.",
        ),
        sources=(
            "Kim et al. (2018), Interpretability Beyond Feature Attribution: TCAV, arXiv:1711.11279",
            "Schmalwasser, Penzel, Denzler and Niebling (2025), FastCAV, arXiv:2505.17883",
            "Phipson and Smyth (2010), Permutation p-values should never be zero, doi:10.2202/1544-6115.1585",
            "Nadeau and Bengio (2003), Machine Learning 52:239-281",
        ),
    )

    concepts: Mapping[str, ConceptDefinition] = Field(
        default_factory=dict, description="By name, which rows show it"
    )
    classes: tuple[str, ...] = Field((), description="Classes to explain; default the favourable one or all")
    layers: tuple[str, ...] = Field((), description="Full names of layers; default what the last one reads")
    direction: Direction = Field("mean-difference", description="From rows without the concept to those with")
    positions: Positions = Field("mean", description="Positions inside the model: averaged, or side by side")
    explained: Explained = Field("logit", description="Score of the class that is explained")
    n_random: int = Field(999, ge=30, le=100_000, description="Random concepts at least")
    n_bootstrap: int = Field(200, ge=50, le=10_000)
    max_examples: int = Field(200, ge=10, le=5000, description="Rows with the concept, and as many without")
    max_rows: int = Field(200, ge=10, description="Rows of each class")
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Every concept at every layer for every class."""
        model = _white_box(subject)
        definitions = definitions_for(self.concepts, data)
        if not definitions:
            return AuditOutput(nothing_examined(no_concept(data, preprocessing_of(subject))))
        rows = rows_of_classes(data, self.classes, self.max_rows, context.numpy_rng("rows"))
        if not len(rows.inputs):
            return AuditOutput(nothing_examined(Message(text="no class has enough rows to be explained")))
        probe = data.inputs[:PROBED].to(model.device)
        with torch.no_grad():
            score = score_of(model, self.explained, model.logits(probe))
        places = places_of(model, self.layers, probe)
        plan = self._plan(len(definitions) * len(places) * len(rows.classes))
        examples = {
            name: examples_of(
                one, model, data, most=self.max_examples, rng=context.numpy_rng("examples", name)
            )
            for name, one in definitions.items()
        }
        examination = Examination(rows, score, examples, plan, context)
        found: list[ConceptAtLayer] = []
        readers = [
            one if isinstance(one, Message) else self._reader(model, one, data, context) for one in places
        ]
        for reader in readers:
            found += (
                examination.without_layer(reader) if isinstance(reader, Message) else examination.at(reader)
            )
        together = Found(tuple(found), rows.classes, plan.comparisons, self.confidence)
        usable = [reader for reader in readers if isinstance(reader, Reader)]
        notes = notes_of(together, usable, definitions, probe, log_odds=isinstance(score, LogOddsScore))
        evidence = [*evidence_of(together), *_pictures(examples, definitions, model, data)]
        return AuditOutput(measurements_of(together), evidence, notes)

    def _reader(self, model: WhiteBox, place: Place, data: Dataset, context: AuditContext) -> Reader:
        tokens = data.features.tokens
        padding = None if tokens is None else tokens.padding
        return Reader(model, place, self.positions, padding, context.batch_size)

    def _plan(self, comparisons: int) -> Plan:
        """Random concepts enough for a chance that survives the adjustment."""
        needed = math.ceil(2 * comparisons / (1 - self.confidence))
        return Plan(
            self.direction, max(self.n_random, needed), self.n_bootstrap, comparisons, self.confidence
        )


def _pictures(
    examples: Mapping[str, Examples | Message],
    definitions: Mapping[str, ConceptDefinition],
    model: WhiteBox,
    data: Dataset,
) -> list[Picture]:
    shape, steps = data.features.image_shape, preprocessing_of(model)
    if shape is None:
        return []
    sides = {name: (one.inputs, one.shows) for name, one in examples.items() if isinstance(one, Examples)}
    painted = {name: one for name, one in sides.items() if definitions[name].pattern is not None}
    given = {name: one for name, one in sides.items() if definitions[name].is_folder}
    return [
        *([painted_pictures(painted, steps, shape)] if painted else []),
        *([given_pictures(given, steps, shape)] if given else []),
    ]


def _white_box(subject: Subject) -> WhiteBox:
    if not isinstance(subject, WhiteBox):
        raise AuditkitError(
            f"concepts: {subject.card.name} has no layers to be seen; audit a torch module or leave this "
            "audit out"
        )
    return subject
