"""Inputs without what an attribute foretells of them in a line, and a subject that reads such inputs.

Source: the linear projection of Fairlearn's ``CorrelationRemover``.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from fairlearn.preprocessing import CorrelationRemover

from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import UsageError
from auditkit.records import SubjectCard
from auditkit.subjects.subject import Capability, Predictions
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.mitigate_task import NOT_KNOWN, BinaryTask, groups_of


@dataclass(frozen=True, slots=True)
class Decorrelator:
    """What is taken off the inputs of a row, by its group.

    Attributes:
        attribute: The sensitive feature.
        levels: Its levels in training.
        shifts: One row of inputs per level, shape ``(k, d)``; a last row of zeros for an unknown level.
    """

    attribute: str
    levels: tuple[str, ...]
    shifts: FloatArray

    @classmethod
    def fit(cls, data: Dataset, task: BinaryTask, strength: float) -> "Decorrelator":
        """Fitted on the rows with a known attribute.

        Args:
            data: The training rows, whose inputs are numbers.
            task: Of the same rows.
            strength: Share of the linear part that is removed, in ``[0, 1]``.
        """
        known = np.flatnonzero(task.known)
        inputs = flat_numbers(data, "correlation-remover")[known]
        indicators = np.eye(len(task.levels))[:, 1:]
        k = indicators.shape[1]
        remover = CorrelationRemover(sensitive_feature_ids=list(range(k)), alpha=strength)
        remover.fit(np.column_stack([indicators[task.group[known]], inputs]))
        shifts = strength * ((indicators - remover.sensitive_mean_) @ remover.beta_)
        return cls(task.attribute, task.levels, np.vstack([shifts, np.zeros(shifts.shape[1])]))

    def apply(self, data: Dataset) -> Dataset:
        """The same rows with the linear part removed; rows of an unknown level stay as they are.

        Raises:
            DataError: The data do not have the attribute.
        """
        group = groups_of(data, self.attribute, self.levels)
        shifts = torch.from_numpy(self.shifts[self._row_of(group)]).reshape(data.inputs.shape)
        return replace(data, inputs=(data.inputs.double() - shifts).to(data.inputs.dtype))

    def _row_of(self, group: IntArray) -> IntArray:
        return np.where(group == NOT_KNOWN, len(self.levels), group)


@dataclass(frozen=True, slots=True)
class DecorrelatedSubject:
    """A torch model that reads inputs without the linear part of an attribute.

    It asks for the attribute of every row. Its gradients are not shown: they would be those of inputs that
    nobody has.
    """

    card: SubjectCard
    inner: TorchSubject
    decorrelator: Decorrelator

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Predictions, probabilities and losses."""
        return CAPABILITIES

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw rows become inputs, before the linear part is removed."""
        return self.inner.preprocessing

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Log-probabilities of all rows.

        Raises:
            DataError: The data do not have the attribute.
        """
        return self.inner.predict(self.decorrelator.apply(data), batch_size=batch_size)


CAPABILITIES: frozenset[Capability] = frozenset({"predictions", "probabilities", "losses"})


def flat_numbers(data: Dataset, method: str) -> FloatArray:
    """The inputs as rows of numbers, shape ``(n, d)``.

    Raises:
        UsageError: They are tokens, or a table as it was read.
    """
    if data.features.tokens is not None or data.features.levels or not data.inputs.is_floating_point():
        what = "tokens" if data.features.tokens is not None else "rows as they were read"
        raise UsageError(f"mitigate: {method} needs inputs that are numbers, and the model reads {what}")
    return np.asarray(data.inputs.detach().cpu().double().flatten(1).numpy())
