"""A model that is asked and answers, and shows nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.data.preprocessing import ImagePreprocessing, Preprocessing, RawTablePreprocessing
from auditkit.data.raw import frame_of, texts_of
from auditkit.errors import UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import difference
from auditkit.subjects.subject import Capability, Predictions

ROWS_ASKED = 256
"""Rows on which the form of the answers is found when a model is loaded."""

_SAME = 1e-6

RawInputs: TypeAlias = pd.DataFrame | npt.NDArray[np.float32] | list[str]


@dataclass(frozen=True, kw_only=True)
class BlackBox(ABC):
    """Base of the subjects that only answer.

    Attributes:
        card: Identity, with a digest over what decides the answers.
        preprocessing: How rows become inputs.
        gives_probabilities: Whether it states more than labels.
    """

    card: SubjectCard
    preprocessing: Preprocessing
    gives_probabilities: bool

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Predictions; with probabilities also the loss of a row."""
        return capabilities_of(gives_probabilities=self.gives_probabilities)

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Log-probabilities of all rows; where it gives labels alone, near certainty about them."""
        starts = range(0, len(data), batch_size)
        parts = [self.log_probabilities(data.inputs[start : start + batch_size]) for start in starts]
        return Predictions(np.concatenate(parts))

    @abstractmethod
    def log_probabilities(self, inputs: torch.Tensor) -> FloatArray:
        """What it answers about ``inputs``, shape ``(n, k)``, in the order of the card's classes."""


def capabilities_of(*, gives_probabilities: bool) -> frozenset[Capability]:
    """What can be asked of a model that answers with probabilities, or with labels alone."""
    return frozenset({"predictions", "probabilities", "losses"} if gives_probabilities else {"predictions"})


def first_rows(probe: Dataset | None, where: str) -> Dataset:
    """The rows on which a model is tried.

    Raises:
        UsageError: There are none, because the model was loaded without data.
    """
    if probe is None:
        raise UsageError(f"{where}: needs data to be tried on; name them under data:")
    return probe.take(np.arange(min(ROWS_ASKED, len(probe))))


def as_read(inputs: torch.Tensor, preprocessing: Preprocessing) -> RawInputs:
    """A data frame, grey values of shape ``(n, height, width)`` in [0, 1], or a list of texts."""
    if isinstance(preprocessing, RawTablePreprocessing):
        return frame_of(inputs, preprocessing)
    if isinstance(preprocessing, ImagePreprocessing):
        return np.array(inputs.detach().cpu().numpy(), dtype=np.float32)
    return texts_of(inputs)


def steadiness(ask: Callable[[torch.Tensor], FloatArray], inputs: torch.Tensor) -> tuple[Message, ...]:
    """What to say of a model that answers otherwise when the same rows are asked again, in two halves."""
    middle = (len(inputs) + 1) // 2
    once = ask(inputs)
    again = np.concatenate([ask(part) for part in (inputs[:middle], inputs[middle:]) if len(part)])
    largest = difference(once, again)
    if largest <= _SAME:
        return ()
    text = (
        "Asked again about the same rows, grouped otherwise, it answered differently "
        "(by up to {difference}); figures may differ from run to run."
    )
    return (Message(text=text, values={"difference": float(f"{largest:.2g}")}),)
