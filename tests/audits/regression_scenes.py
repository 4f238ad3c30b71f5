"""Regressions whose predictions are written down."""

from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.audit import Audit, AuditContext, AuditOutput
from auditkit.data.dataset import Dataset, GroupColumn
from auditkit.records import Measurement, SubjectCard
from auditkit.subjects.subject import no_labels


@dataclass(frozen=True)
class Written:
    """Foretells what stands in the data."""

    name: str = "baseline"

    @property
    def card(self):
        return SubjectCard(
            name=self.name,
            title="written",
            source="memory",
            digest="0" * 64,
            architecture="table",
            n_parameters=None,
            size_b=None,
            classes=(),
            capabilities=("values",),
        )

    @property
    def capabilities(self):
        return frozenset({"values"})

    def predict(self, data, *, batch_size):
        raise no_labels("written")

    def predict_values(self, data, *, batch_size):
        return data.predicted_outcome


def value_data(outcome, foretold, *, groups=None, weight=None, person=None) -> Dataset:
    """Rows with outcomes, predictions and, where given, the group of each row."""
    outcome = np.asarray(outcome, dtype=np.float64)
    return Dataset(
        name="written",
        source="memory",
        split=None,
        inputs=torch.arange(len(outcome), dtype=torch.float64)[:, None],
        y_true=np.zeros(len(outcome), dtype=np.int64),
        classes=(),
        sensitive_features={} if groups is None else {"group": GroupColumn.from_values(list(groups))},
        sample_weight=None if weight is None else np.asarray(weight, dtype=np.float64),
        person=None if person is None else np.asarray(person, dtype=np.int64),
        outcome=outcome,
        predicted_outcome=np.asarray(foretold, dtype=np.float64),
        task="regression",
    )


def measured(audit: Audit, data: Dataset) -> tuple[dict[str, Measurement], AuditOutput]:
    """Figures by metric, with the group behind it in brackets."""
    output = audit.measure(Written(), data, AuditContext(seed=1))
    return {_key(one): one for one in output.measurements}, output


def _key(one: Measurement) -> str:
    return one.metric + (f"[{one.group['group']}]" if one.group else "")
