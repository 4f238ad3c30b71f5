"""How well a subject and a variant of it do on the same held-out rows, in the figures of the report."""

from dataclasses import dataclass
from typing import Literal

from auditkit.audits.performance.class_rates import accuracy
from auditkit.audits.performance.language_modelling import finite_losses
from auditkit.audits.performance.language_modelling_figures import of_pair, of_subject
from auditkit.audits.performance.performance import table_of
from auditkit.audits.performance.performance_changes import accuracy_change
from auditkit.audits.performance.scores import require_weight
from auditkit.data.dataset import Dataset
from auditkit.data.sequences import targets_of
from auditkit.records import Measurement
from auditkit.subjects.subject import Generative, Subject

CONFIDENCE = 0.95
ROWS_AT_ONCE, TEXTS_AT_ONCE = 256, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutFigures:
    """The accuracy of classifiers, or the perplexity of models of language, with its change.

    Attributes:
        quality: Which of them.
        before: Of the subject.
        after: Of the variant.
        change: Paired by row; of perplexity the quotient.
        n_rows: How many rows there are.
    """

    quality: Literal["accuracy", "perplexity"]
    before: Measurement
    after: Measurement
    change: Measurement
    n_rows: int


def held_out_figures(subject: Subject, data: Dataset, variant: Subject, own_rows: Dataset) -> HeldOutFigures:
    """Both on the same rows, which neither was trained on.

    Args:
        subject: Before.
        data: The rows as it reads them.
        variant: After.
        own_rows: The rows as that reads them.

    Raises:
        DataError: No row carries weight.
        AuditkitError: A model of language gives tokens no finite loss.
    """
    require_weight("held-out rows", data)
    if data.task == "language-modelling" and isinstance(subject, Generative):
        old, new = (
            finite_losses(one, rows, batch_size=TEXTS_AT_ONCE)
            for one, rows in ((subject, data), (variant, own_rows))
        )
        targets = targets_of(data).numpy()
        return HeldOutFigures(
            quality="perplexity",
            before=of_subject(old, targets, data, CONFIDENCE)[0],
            after=of_subject(new, targets, data, CONFIDENCE)[0],
            change=of_pair(old, new, data, CONFIDENCE)[0],
            n_rows=len(data),
        )
    first = subject.predict(data, batch_size=ROWS_AT_ONCE)
    second = variant.predict(own_rows, batch_size=ROWS_AT_ONCE)
    return HeldOutFigures(
        quality="accuracy",
        before=accuracy(table_of(data, first), data.classes, CONFIDENCE),
        after=accuracy(table_of(data, second), data.classes, CONFIDENCE),
        change=accuracy_change(first, second, data, CONFIDENCE),
        n_rows=len(data),
    )
