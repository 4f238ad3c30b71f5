"""What changes when only the sensitive feature of a row is changed?"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.attribute_flip_counts import Flips, flips_of
from auditkit.audits.fairness.attribute_flip_evidence import evidence_of
from auditkit.audits.fairness.attribute_flip_figures import (
    all_missing,
    directions,
    measurements_of,
    not_an_input,
)
from auditkit.audits.fairness.attribute_flip_levels import Encoding, find_encoding
from auditkit.audits.fairness.proxies_rows import rows_with_weight
from auditkit.data.dataset import UNKNOWN, Dataset
from auditkit.errors import UsageError, closest
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import positive_class
from auditkit.subjects.black_box import BlackBox
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject

FROM_TABLE = Message(text="The predictions come from a table: it cannot be asked about changed rows.")


class AttributeFlip(Audit):
    """Each row is given every other level of a sensitive feature, encoded as the data encode it.

    A reader may conclude how often the subject decides otherwise for that reason alone. They may not conclude
    that a subject without flips treats groups alike: what the attribute brought about stays as it was.

    Attributes:
        levels: By attribute, the levels that rows are given; default all, where they are few.
        most_levels: Most levels that are given without being named.
        small_group: Groups with fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="attribute-flip",
        version=1,
        area="fairness",
        question="What changes when only the sensitive feature of a row is changed?",
        requires=frozenset({"predictions", "sensitive_features"}),
        limits=(
            "The column alone is changed; everything that the attribute brought about in other inputs stays "
            "as it was. This is no causal counterfactual.",
            "Rows with an exchanged level may be of a kind that does not exist, where the subject was never "
            "trained.",
            "No flip does not mean equal treatment: other inputs may tell the attribute.",
            "Where a subject leaves decisions to chance, such as thresholds that are mixed at random, some "
            "flips are the draw's.",
        ),
        sources=(
            "Garg et al. (2019), Counterfactual fairness in text classification, AAAI/ACM AIES",
            "Wilson (1927), JASA 22:209-212",
            "Tango (1998), Statistics in Medicine 17:891-908",
            "McNemar (1947), Psychometrika 12:153-157",
            "Holm (1979), Scandinavian Journal of Statistics 6:65-70",
        ),
    )

    levels: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    most_levels: int = Field(10, ge=2, le=100)
    small_group: int = Field(30, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Every sensitive feature, one after the other."""
        self._require_known(data)
        rows = rows_with_weight(data, self.info.name)
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes: list[Message] = []
        for attribute in rows.sensitive_features:
            found = self._flips(attribute, subject, rows, context.batch_size)
            if not isinstance(found, Flips):
                measurements += found
                continue
            pairs = directions(found, self.confidence)
            own = measurements_of(found, pairs, self.confidence)
            measurements += own
            evidence += evidence_of(attribute, own, pairs, small_group=self.small_group)
            notes += _notes(found)
        return AuditOutput(measurements, evidence, notes)

    def _flips(
        self, attribute: str, subject: Subject, data: Dataset, batch_size: int
    ) -> Flips | list[Measurement]:
        """What was counted, or figures that follow without counting."""
        if isinstance(subject, PredictionsTable):
            return all_missing(attribute, len(data), FROM_TABLE)
        column = data.sensitive_features[attribute]
        known = np.array([level != UNKNOWN for level in column.levels], dtype=np.bool_)[column.codes]
        wanted = self.levels.get(attribute, ())
        encoding = find_encoding(data, attribute, wanted, most=self.most_levels)
        if isinstance(encoding, Message):
            return all_missing(attribute, len(data), encoding)
        if not encoding.features and _reads_inputs_alone(subject):
            return not_an_input(attribute, len(data))
        if not encoding.features and len(encoding.levels) > self.most_levels and not wanted:
            return all_missing(attribute, len(data), _too_many(encoding, self.most_levels))
        positive = positive_class(len(data.classes), data.positive_index)
        return flips_of(subject, data, encoding, positive=positive, known=known, batch_size=batch_size)

    def _require_known(self, data: Dataset) -> None:
        for name in self.levels:
            if name not in data.sensitive_features:
                raise UsageError(
                    f"{self.info.name}: levels names {name!r}, which is no sensitive feature. "
                    f"{closest(name, data.sensitive_features)}"
                )


def _reads_inputs_alone(subject: Subject) -> bool:
    """Other subjects, such as thresholds per group, may look the attribute up beside the inputs."""
    return isinstance(subject, TorchSubject | BlackBox)


def _too_many(encoding: Encoding, most: int) -> Message:
    return Message(
        text="{attribute} has {n} levels; at most {most} are given unnamed. Name some in the parameter "
        "levels.",
        values={"attribute": encoding.attribute, "n": len(encoding.levels), "most": most},
    )


def _notes(flips: Flips) -> list[Message]:
    notes = []
    others = [name for name in flips.features if name != flips.attribute]
    if others:
        notes.append(
            Message(
                text="{attribute} decides {features} in these rows; they are exchanged with it.",
                values={"attribute": flips.attribute, "features": ", ".join(others)},
            )
        )
    if not flips.features:
        notes.append(
            Message(
                text="{attribute} is not among the inputs; it is exchanged where the subject looks it up "
                "beside them.",
                values={"attribute": flips.attribute},
            )
        )
    if flips.n_unknown:
        notes.append(
            Message(
                text="{n} rows have no known {attribute}; they are not exchanged and not counted.",
                values={"n": flips.n_unknown, "attribute": flips.attribute},
            )
        )
    return notes
