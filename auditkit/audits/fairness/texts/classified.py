"""Sentences through a text classifier: encoded as it reads them, and what it says of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.data.dataset import Dataset, FeatureSpace, FloatArray, IntArray, TokenSpace
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.data.tokenizers import padded
from auditkit.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class Classifier:
    """A subject that classifies texts.

    Attributes:
        subject: The subject.
        steps: How it reads texts.
        data: Rows it was to be audited on; of them the names of the classes are taken.
        unfavourable: Index of the class that it is bad to be put into, or ``None`` where that is not known.
        batch_size: Rows at once.
    """

    subject: Subject
    steps: TextPreprocessing
    data: Dataset
    unfavourable: int | None
    batch_size: int

    def says(self, ids: Sequence[Sequence[int]]) -> "Said":
        """Classes and scores of sentences, none of them longer than the model reads."""
        tokenizer = self.steps.tokenizer
        rows = padded(ids, self.steps.length, tokenizer.padding)
        data = Dataset(
            name="sentences",
            source="memory",
            split=None,
            inputs=torch.tensor(rows, dtype=torch.int64),
            y_true=np.zeros(len(rows), dtype=np.int64),
            classes=self.data.classes,
            target=self.data.target,
            positive=self.data.positive,
            features=FeatureSpace((), tokens=TokenSpace(tokenizer.vocabulary, tokenizer.padding)),
        )
        found = self.subject.predict(data, batch_size=self.batch_size)
        scores = None if self.unfavourable is None else found.probabilities[:, self.unfavourable]
        return Said(found.y_pred, scores)


@dataclass(frozen=True, slots=True)
class Said:
    """What a classifier says of sentences.

    Attributes:
        classes: The most probable class of each.
        scores: Probability of the unfavourable class, or ``None`` where that is not known.
    """

    classes: IntArray
    scores: FloatArray | None
