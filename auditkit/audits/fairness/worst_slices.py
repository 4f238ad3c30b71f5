"""Where is the subject wrong more often than on the rest of the rows?"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.slice_confirmation import Tested, confirm
from auditkit.audits.fairness.slice_features import Features, slice_features
from auditkit.audits.fairness.slice_halves import halves
from auditkit.audits.fairness.slice_items import Items, items_of
from auditkit.audits.fairness.slice_search import Search
from auditkit.audits.fairness.worst_slices_evidence import contribution_table, gap_chart, slice_table
from auditkit.audits.fairness.worst_slices_figures import (
    nothing_measured,
    number_measurement,
    overall_measurement,
    slice_measurements,
)
from auditkit.data.dataset import BoolArray, Dataset
from auditkit.records import Evidence, Message
from auditkit.subjects.subject import Subject, preprocessing_of

FEWEST_ROWS = 50
"""Of a slice in the exploring half, unless set."""

SMALLEST_SHARE = 0.01
"""Of the exploring half that a slice must hold, unless set."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was explored and what was tested.

    Attributes:
        items: Conditions of which slices are made.
        tested: The slices that were tested.
        errors: Of the confirming rows, whether each is an error.
        n_explored: Slices looked at.
        n_exploring: Rows they were looked at in.
        spare: Confirming rows left out because their person has another one.
        min_rows: Fewest exploring rows of a slice.
    """

    items: Items
    tested: tuple[Tested, ...]
    errors: BoolArray
    n_explored: int
    n_exploring: int
    spare: int
    min_rows: int


class WorstSlices(Audit):
    """Slices of the rows, such as ``age: 18 to 24, sex: female``, in which errors are more frequent.

    One half of the rows is searched, the other half tests what was found there. A reader may conclude that
    the subject is wrong more often in a confirmed slice than outside it. They may not conclude that all
    such slices were found, nor why it is so.

    Attributes:
        depth: Most conditions in a slice.
        min_rows: Fewest rows of a slice, and of its rest, in the exploring half; unset, 50 or 1 % of it,
            whichever is more.
        bins: Levels of a number.
        top: Most slices that are tested.
        confidence: One minus the chance of confirming any slice that is not worse; of all intervals together.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="worst-slices",
        version=1,
        area="fairness",
        question="Where is it wrong more often than on the rest of the rows?",
        limits=(
            "Only slices made of the levels and bins named here are examined; others may be worse.",
            "A slice that is not confirmed may be worse: the gap that this sample would show is given.",
            "Errors are counted against the labels of the data. A slice may stand out because its labels are "
            "wrong or hard to tell.",
            "The halves are drawn by chance: another draw may find other slices of the same rows.",
        ),
        sources=(
            "Chung, Kraska, Polyzotis, Tae and Whang (2019), Slice finder, IEEE ICDE",
            "Sagadeeva and Boehm (2021), SliceLine, ACM SIGMOD",
            "Fisher (1935), JRSS 98:39-82",
            "Holm (1979), Scandinavian Journal of Statistics 6:65-70",
            "Newcombe (1998), Statistics in Medicine 17:873-890",
            "Shapley (1953), A value for n-person games",
        ),
    )

    depth: int = Field(2, ge=1, le=3)
    min_rows: int | None = Field(None, ge=1)
    bins: int = Field(4, ge=2, le=10)
    top: int = Field(10, ge=1, le=100)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Search one half of the rows, test in the other."""
        if _is_weighted(data):
            reason = Message(
                text="Rows are weighted; the exact test of a slice counts every row once. Leave the weights "
                "out to examine the rows as they are."
            )
            return AuditOutput([nothing_measured(reason, len(data))])
        errors = subject.predict(data, batch_size=context.batch_size).y_pred != data.y_true
        features = slice_features(data, preprocessing_of(subject), bins=self.bins)
        outcome = self._outcome(features, errors, data, context)
        return self._output(outcome, features)

    def _outcome(
        self, features: Features, errors: BoolArray, data: Dataset, context: AuditContext
    ) -> Outcome:
        n_half = len(data) // 2
        min_rows = self.min_rows or max(FEWEST_ROWS, math.ceil(SMALLEST_SHARE * n_half))
        items = items_of(features, len(data), min_rows=min_rows)
        parts = halves(items.rows, errors, data.person, context)
        search = Search(depth=self.depth, min_rows=min_rows, top=self.top, confidence=self.confidence)
        found = search.run(
            items.rows[:, parts.explore], items.feature, errors[parts.explore], parts.item_colours
        )
        confirming = errors[parts.confirm]
        tested = confirm(found.slices, items.rows[:, parts.confirm], confirming, confidence=self.confidence)
        return Outcome(items, tested, confirming, found.n_explored, len(parts.explore), parts.spare, min_rows)

    def _output(self, outcome: Outcome, features: Features) -> AuditOutput:
        overall = overall_measurement(outcome.errors, self.confidence)
        if outcome.n_explored == 0:
            return AuditOutput([overall, nothing_measured(_why_no_slice(outcome, features), overall.n)])
        confirmed = [one for one in outcome.tested if one.confirmed]
        measurements = [
            overall,
            number_measurement(outcome.tested, outcome.errors, outcome.min_rows, self.top, self.confidence),
        ]
        for one in confirmed:
            measurements.extend(slice_measurements(outcome.items, one))
        evidence: list[Evidence] = []
        if outcome.tested:
            evidence.append(gap_chart(outcome.items, outcome.tested))
            evidence.append(slice_table(outcome.items, outcome.tested, len(outcome.errors)))
        if any(len(one.items) > 1 for one in confirmed):
            evidence.append(contribution_table(outcome.items, confirmed))
        return AuditOutput(measurements, evidence, _notes(outcome, features))


def _is_weighted(data: Dataset) -> bool:
    weight = data.sample_weight
    return weight is not None and not (weight[0] > 0 and bool(np.all(weight == weight[0])))


def _why_no_slice(outcome: Outcome, features: Features) -> Message:
    if not features.columns:
        return Message(
            text="Nothing divides the rows: there are no named inputs and no sensitive or control features."
        )
    return Message(
        text="No slice of {features} has at least {min_rows} of the {n} exploring rows inside and outside.",
        values={
            "features": ", ".join(features.columns),
            "min_rows": outcome.min_rows,
            "n": outcome.n_exploring,
        },
    )


def _notes(outcome: Outcome, features: Features) -> list[Message]:
    notes = [
        Message(
            text="{explored} slices of at least {min_rows} rows were explored in {n_exploring} rows. "
            "{tested} of them were tested in {n_confirming} other rows, from which all figures come.",
            values={
                "explored": outcome.n_explored,
                "min_rows": outcome.min_rows,
                "n_exploring": outcome.n_exploring,
                "tested": len(outcome.tested),
                "n_confirming": len(outcome.errors),
            },
        )
    ]
    if outcome.spare:
        notes.append(
            Message(
                text="Of persons with several rows, one row each is tested; {n} rows were left out for that.",
                values={"n": outcome.spare},
            )
        )
    if features.unreadable:
        notes.append(
            Message(
                text="Not examined, because nothing tells what their columns mean: {features}.",
                values={"features": ", ".join(features.unreadable)},
            )
        )
    if outcome.items.left_out:
        notes.append(
            Message(
                text="{n} levels with fewer rows were left out: the {kept} with the most rows are examined.",
                values={"n": outcome.items.left_out, "kept": len(outcome.items)},
            )
        )
    return notes
