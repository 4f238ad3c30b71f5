"""Examining concepts at one layer: does a direction tell them, and what does it do to each class?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.examples import Examples
from auditkit.audits.explainability.concepts.explained_rows import FEWEST, ClassRows
from auditkit.audits.explainability.concepts.figures import ConceptAtLayer
from auditkit.audits.explainability.concepts.sensitivity import (
    Explained,
    Plan,
    Pool,
    Sensitivity,
    random_concepts,
    sensitivity,
)
from auditkit.audits.explainability.concepts.vectors import FOLDS, held_out_accuracy
from auditkit.data.dataset import FloatArray
from auditkit.records import Message
from auditkit.statistics.units import folds_of


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that is the same for all concepts and layers.

    Attributes:
        rows: Explained ones.
        score: What is explained, as a function of inputs and class.
        examples: Of every concept, or why there are none.
        plan: How much is drawn.
        context: Randomness.
    """

    rows: ClassRows
    score: Callable[[Tensor, Tensor], Tensor]
    examples: Mapping[str, Examples | Message]
    plan: Plan
    context: AuditContext

    def at(self, reader: Reader) -> list[ConceptAtLayer]:
        """All concepts at one layer."""
        gradients = reader.gradients(self.rows.inputs, self.rows.target, self.score)
        return [self._concept(name, one, reader, gradients) for name, one in self.examples.items()]

    def without_layer(self, reason: Message) -> list[ConceptAtLayer]:
        """All concepts where a layer cannot be used."""
        return [ConceptAtLayer(name, "", 0, reason, {}) for name in self.examples]

    def _concept(
        self, name: str, examples: Examples | Message, reader: Reader, gradients: FloatArray
    ) -> ConceptAtLayer:
        layer = reader.place.name
        if isinstance(examples, Message):
            return ConceptAtLayer(name, layer, 0, examples, {})
        pool = Pool(reader.activations(examples.inputs), examples.shows, examples.units)
        folds = folds_of(
            examples.shows.astype(np.int64),
            examples.units,
            FOLDS,
            self.context.numpy_rng("folds", name),
        )
        accuracy = held_out_accuracy(
            pool.activations,
            pool.shows,
            folds,
            pool.units,
            how=self.plan.how,
            confidence=self.plan.confidence,
        )
        found = ConceptAtLayer(name, layer, len(pool.shows), accuracy, {})
        if found.reason is not None:
            return found
        return ConceptAtLayer(name, layer, found.n, accuracy, self._classes(name, layer, pool, gradients))

    def _classes(self, name: str, layer: str, pool: Pool, gradients: FloatArray) -> dict[str, Sensitivity]:
        dealt = random_concepts(pool, self.plan, self.context.numpy_rng("random concepts", name, layer))
        found = {}
        for index, label in enumerate(self.rows.classes):
            own = self.rows.of_class == index
            if int(own.sum()) >= FEWEST:
                explained = Explained(gradients[own], self.rows.units[own])
                rng = self.context.numpy_rng("samples", name, layer, str(index))
                found[label] = sensitivity(pool, explained, self.plan, rng, dealt=dealt)
        return found
