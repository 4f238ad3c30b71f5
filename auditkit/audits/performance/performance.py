"""How often is the subject right, and how much does it cost it to be wrong?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.performance.class_rates import (
    accuracy,
    balanced_accuracy,
    class_rates,
    confusion_heatmap,
    recall_chart,
)
from auditkit.audits.performance.performance_changes import (
    accuracy_change,
    auc_change,
    mean_change,
    recall_changes,
)
from auditkit.audits.performance.scores import (
    auc_measurement,
    brier_scores,
    mean_measurement,
    require_weight,
)
from auditkit.data.dataset import Dataset
from auditkit.records import Better, Evidence, Measurement, Message, Unit
from auditkit.statistics.counts import CountTable, positive_class
from auditkit.subjects.subject import Predictions, Subject

MOST_CLASSES_SHOWN = 30
"""A confusion matrix or chart of more classes cannot be read."""


class Performance(PairedAudit):
    """Accuracy, balanced accuracy, log loss and rates per class; with two classes also AUC and Brier score.

    A reader may conclude how well the subject does on rows like these. They may not conclude how it does on
    rows of another kind, place or time.

    Attributes:
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="performance",
        version=1,
        area="performance",
        question="How often is the subject right on rows it has not seen?",
        limits=(
            "Figures hold for rows drawn as these were, not for rows of another kind, place or time.",
            "Intervals treat rows as independent; repeated rows of one person make them too short.",
        ),
        sources=(
            "Wilson (1927), JASA 22:209-212",
            "DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845",
            "Tango (1998), Statistics in Medicine 17:891-908",
            "Brier (1950), Monthly Weather Review 78:1-3",
        ),
    )

    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        require_weight(self.info.name, data)
        predictions = subject.predict(data, batch_size=context.batch_size)
        stated = "probabilities" in subject.capabilities
        table = table_of(data, predictions)
        positive = positive_class(len(data.classes), data.positive_index)
        measurements = [
            accuracy(table, data.classes, self.confidence),
            balanced_accuracy(table, data.classes, self.confidence),
            self._log_loss(predictions, data) if stated else _absent("log_loss", data, "lower", "nat"),
            *class_rates(table, data.classes, self.confidence),
        ]
        if len(data.classes) == 2 and positive is not None:
            measurements += (
                [
                    auc_measurement(predictions, data, positive, self.confidence),
                    self._brier(predictions, data, positive),
                ]
                if stated
                else [_absent("auc", data, "higher"), _absent("brier", data, "lower")]
            )
        evidence: list[Evidence] = []
        if len(data.classes) <= MOST_CLASSES_SHOWN:
            evidence.append(confusion_heatmap(table, data.classes))
            evidence.append(recall_chart(table, data.classes, self.confidence))
        return AuditOutput(measurements, evidence, _notes(data))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Paired changes, variant minus baseline."""
        require_weight(self.info.name, data)
        before = baseline.predict(data, batch_size=context.batch_size)
        after = variant.predict(data, batch_size=context.batch_size)
        stated = all("probabilities" in subject.capabilities for subject in (baseline, variant))
        positive = positive_class(len(data.classes), data.positive_index)
        measurements = [
            accuracy_change(before, after, data, self.confidence),
            self._log_loss_change(before, after, data)
            if stated
            else _absent("log_loss.change", data, "lower", "nat"),
            *recall_changes(before, after, data, self.confidence),
        ]
        if len(data.classes) == 2 and positive is not None:
            measurements += (
                [
                    auc_change(before, after, data, positive, self.confidence),
                    self._brier_change(before, after, data, positive),
                ]
                if stated
                else [_absent("auc.change", data, "higher"), _absent("brier.change", data, "lower")]
            )
        return AuditOutput(measurements, notes=_notes(data))

    def _log_loss(self, predictions: Predictions, data: Dataset) -> Measurement:
        return mean_measurement(
            "log_loss", predictions.loss(data.y_true), data, self.confidence, better="lower", unit="nat"
        )

    def _brier(self, predictions: Predictions, data: Dataset, positive: int) -> Measurement:
        return mean_measurement(
            "brier", brier_scores(predictions, data.y_true, positive), data, self.confidence, better="lower"
        )

    def _log_loss_change(self, before: Predictions, after: Predictions, data: Dataset) -> Measurement:
        losses = before.loss(data.y_true), after.loss(data.y_true)
        return mean_change("log_loss", *losses, data, self.confidence, unit="nat")

    def _brier_change(
        self, before: Predictions, after: Predictions, data: Dataset, positive: int
    ) -> Measurement:
        old, new = (brier_scores(predictions, data.y_true, positive) for predictions in (before, after))
        return mean_change("brier", old, new, data, self.confidence)


def _absent(metric: str, data: Dataset, better: Better, unit: Unit = "1") -> Measurement:
    """A figure that a subject without probabilities does not have."""
    reason = Message(text="The subject answers with labels alone; this figure needs probabilities.")
    return Measurement(metric=metric, value=None, unit=unit, n=len(data), better=better, missing=reason)


def table_of(data: Dataset, predictions: Predictions) -> CountTable:
    """Rows per label and prediction."""
    return CountTable.count(
        np.zeros(len(data), dtype=np.int64),
        data.y_true,
        predictions.y_pred,
        n_groups=1,
        n_classes=len(data.classes),
        sample_weight=data.sample_weight,
    )


def _notes(data: Dataset) -> list[Message]:
    if data.sample_weight is None:
        return []
    return [
        Message(
            text="Rows are weighted; intervals rest on the effective number of rows. AUC ignores the weights."
        )
    ]
