"""What is the smallest change of a row that would turn the decision about it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.counterfactuals.best import Best, Search
from auditkit.audits.explainability.counterfactuals.constraints import Constraints, Direction
from auditkit.audits.explainability.counterfactuals.distances import Distance, Norm
from auditkit.audits.explainability.counterfactuals.evidence import evidence_of
from auditkit.audits.explainability.counterfactuals.features import FeatureTable
from auditkit.audits.explainability.counterfactuals.figures import NONE_FOUND, overall, unmeasured
from auditkit.audits.explainability.counterfactuals.found import Found, checked
from auditkit.audits.explainability.counterfactuals.groups import recourse
from auditkit.audits.explainability.counterfactuals.judge import ROWS_AT_ONCE, Deadline, Judge
from auditkit.audits.explainability.counterfactuals.notes import (
    drawn_note,
    gradient_obstacle,
    notes_of,
    unsuitable,
)
from auditkit.audits.explainability.counterfactuals.plausibility import Plausibility, plausibility
from auditkit.audits.explainability.counterfactuals.read_features import read_features
from auditkit.audits.explainability.counterfactuals.search import Pool, find_counterfactuals
from auditkit.audits.explainability.counterfactuals.targets import Targets, targets_of
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.subject import Subject, preprocessing_of

MOST_OTHERS = 2000
"""Rows of the data that others may follow, and among which neighbours are looked for."""


class Counterfactuals(Audit):
    """For each unfavourable decision the nearest row, within constraints, that the subject decides otherwise.

    A reader may conclude what would have to be different for the model to decide otherwise, and for whom that
    is farther away. They may not conclude that nothing nearer exists, nor that making the change true in the
    world would bring the decision about. See ``info.limits``.

    Attributes:
        immutable: Features that never change.
        change_sensitive: Whether sensitive features that are inputs may change as well.
        monotone: Numbers that only rise, or only fall.
        ranges: Smallest and largest value of a number, in its unit; default those of the rows.
        norm: Of the distance: the sum over features (L1, few changes), or the root of the sum of squares
            (L2).
        max_rows: Rows explained, drawn with the seed.
        n_steps: Of the search by gradients; it bounds the work whatever the clock says.
        time_budget_s: After so many seconds no more is searched. If that happens figures depend on the clock.
        neighbours: Rows to which a counterfactual is compared.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="counterfactuals",
        version=2,
        area="explainability",
        question="What is the smallest change of a row that would turn the decision about it?",
        requires=frozenset({"predictions"}),
        limits=(
            "A counterfactual describes the model, not the world: making it true need not bring the decision "
            "about, and what else would change with it is not known.",
            "Features change one by one; those that hang together, such as a title and its rank, do not "
            "follow one another. The distance to rows that exist tells how far this leads astray.",
            "It is the nearest one that was found. A nearer one may exist, so distances are upper bounds, "
            "and no counterfactual found is no proof that there is none.",
            "A distance counts deviations of the rows and 1 for another level; it does not know what a "
            "change costs a person.",
            "Distances of groups are about the rows for which a counterfactual was found; their share is to "
            "be read beside them.",
        ),
        sources=(
            "Wachter, Mittelstadt and Russell (2017), arXiv:1711.00399",
            "Mothilal, Sharma and Tan (2020), arXiv:1905.07697",
            "Moosavi-Dezfooli, Fawzi and Frossard (2016), arXiv:1511.04599",
            "Ustun, Spangher and Liu (2019), Actionable recourse in linear classification, arXiv:1809.06514",
            "Wilson (1927), JASA 22:209-212",
        ),
    )

    immutable: tuple[str, ...] = Field((), description="Features that never change")
    change_sensitive: bool = Field(False, description="Whether sensitive features that are inputs may change")
    monotone: Mapping[str, Direction] = Field(
        default_factory=dict, description="Numbers that only rise (increasing) or only fall (decreasing)"
    )
    ranges: Mapping[str, tuple[float, float]] = Field(
        default_factory=dict, description="Smallest and largest value of a number; default those of the rows"
    )
    norm: Norm = Field("L1", description="L1: sum of deviations, few changes; L2: root of the sum of squares")
    max_rows: int = Field(200, ge=1, description="Rows explained, drawn with the seed")
    n_steps: int = Field(60, ge=1, description="Steps of the search by gradients")
    time_budget_s: float = Field(300.0, gt=0, description="After so many seconds no more is searched")
    neighbours: int = Field(5, ge=1, description="Rows to which a counterfactual is compared")
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Search, check again, and measure what was found."""
        reason = unsuitable(subject, data) or unsteady(subject, data)
        if reason is not None:
            return AuditOutput(unmeasured(reason))
        deadline = Deadline.after(self.time_budget_s)
        read = ReadRows.of(subject, data)
        constraints = self._constraints(data)
        constraints.check(read.table)
        every = read.targets(data)
        if not len(every.rows):
            nothing = Message(
                text="No row is predicted otherwise than {label}.", values={"label": str(data.positive)}
            )
            return AuditOutput(unmeasured(nothing))
        targets = every.drawn(self.max_rows, context.numpy_rng("rows"))
        others = _drawn(len(data), context.numpy_rng("others"))
        search = self._search(Asked(subject, data, targets, deadline), read, constraints)
        obstacles = gradient_obstacle(subject, data)
        pool = Pool(read.values[others], read.said[others].argmax(axis=1))
        n_searched = find_counterfactuals(search, pool, n_steps=None if obstacles else self.n_steps)
        found = checked(search, constraints, read.said[targets.rows], n_searched)
        figures, evidence = self._shown(found, self._plausible(found, targets, read, others, search), read)
        drawn = drawn_note(len(found), len(every.rows))
        notes = [targets.meaning, *drawn, *obstacles, *notes_of(found, constraints, data, self.time_budget_s)]
        return AuditOutput(figures, evidence, notes)

    def _constraints(self, data: Dataset) -> Constraints:
        sensitive = () if self.change_sensitive else tuple(data.sensitive_features)
        return Constraints(
            immutable=frozenset(self.immutable),
            sensitive=frozenset(sensitive),
            monotone=dict(self.monotone),
            ranges=dict(self.ranges),
        )

    def _search(self, asked: "Asked", read: "ReadRows", constraints: Constraints) -> Search:
        rows = asked.targets.rows
        own = read.values[rows]
        judge = Judge(
            subject=asked.subject,
            data=asked.data.take(rows),
            table=read.table,
            own=own,
            own_inputs=read.inputs[rows],
            target=asked.targets.wanted,
            deadline=asked.deadline,
        )
        bounds = constraints.bounds(read.table, own)
        return Search(judge, bounds, Distance.of(read.table, self.norm), Best.none_of(own))

    def _plausible(
        self, found: Found, targets: Targets, read: "ReadRows", others: IntArray, search: Search
    ) -> Plausibility | Message:
        if not found.has.any():
            return NONE_FOUND
        place = np.full(len(read.values), -1, dtype=np.int64)
        place[others] = np.arange(len(others))
        own = place[targets.rows[found.has]]
        return plausibility(
            found.values[found.has], read.values[others], own, search.distance, k=self.neighbours
        )

    def _shown(
        self, found: Found, plausible: Plausibility | Message, read: "ReadRows"
    ) -> tuple[list[Measurement], list[Evidence]]:
        measured = overall(found, plausible, self.confidence)
        groups = [recourse(found, attribute, self.confidence) for attribute in found.data.sensitive_features]
        evidence = evidence_of(
            found, groups, measured[1], self.confidence, gives_probabilities=read.gives_probabilities
        )
        return [*measured, *(figure for group in groups for figure in group.measurements)], evidence


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask about which rows, and until when."""

    subject: Subject
    data: Dataset
    targets: Targets
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class ReadRows:
    """The rows as the reader knows them, and what the subject says of them.

    Attributes:
        table: The features.
        inputs: Shape ``(n, d)``.
        values: Shape ``(n, f)``.
        said: Log-probabilities, shape ``(n, k)``.
        gives_probabilities: Whether the subject states more than labels.
    """

    table: FeatureTable
    inputs: FloatArray
    values: FloatArray
    said: FloatArray
    gives_probabilities: bool

    @classmethod
    def of(cls, subject: Subject, data: Dataset) -> "ReadRows":
        """Decode the rows and ask about them as they are."""
        table = read_features(data, preprocessing_of(subject))
        inputs = data.inputs.detach().double().cpu().numpy()
        said = subject.predict(data, batch_size=ROWS_AT_ONCE).log_probabilities
        return cls(table, inputs, table.decode(inputs), said, "probabilities" in subject.capabilities)

    def targets(self, data: Dataset) -> Targets:
        """All rows that are to be explained."""
        return targets_of(
            self.said, data.classes, data.positive_index, gives_probabilities=self.gives_probabilities
        )


def _drawn(n: int, rng: np.random.Generator) -> IntArray:
    """At most :data:`MOST_OTHERS` of ``n`` rows, ascending."""
    if n <= MOST_OTHERS:
        return np.arange(n)
    return np.sort(rng.choice(n, MOST_OTHERS, replace=False)).astype(np.int64)
