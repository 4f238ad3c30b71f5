"""A table of predictions as a subject: ``predictions: table.parquet``. No model is needed.

The table holds, row by row, what was true (``data.target``) and what some model said of it: labels
(``data.prediction``), or scores of the positive label or of every label (``data.score``, in the scale
``data.score_scale``). Other columns have the roles that ``data`` gives them. Labels alone give no
probabilities; audits that need them say so. With ``data.task: regression`` target and prediction are numbers.
"""

from dataclasses import dataclass
from pathlib import Path

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import DataError, UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import certain
from auditkit.subjects.black_box import capabilities_of
from auditkit.subjects.sources import Request
from auditkit.subjects.subject import Capability, Predictions
from auditkit.subjects.values import ValueTable, value_table


@dataclass(frozen=True, slots=True)
class PredictionsTable:
    """Answers that are already there, beside the rows they are about.

    Attributes:
        card: Identity; the digest is over the table as it was read.
        preprocessing: The other columns as they were read.
        gives_probabilities: Whether the table states more than labels.
    """

    card: SubjectCard
    preprocessing: Preprocessing
    gives_probabilities: bool

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Predictions; with scores also probabilities and the loss of a row."""
        return capabilities_of(gives_probabilities=self.gives_probabilities)

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """What the table says of the rows of ``data``.

        Raises:
            DataError: ``data`` is not from such a table.
        """
        if self.gives_probabilities and data.scores is not None:
            return Predictions(data.scores)
        if not self.gives_probabilities and data.predicted is not None:
            return Predictions(certain(data.predicted, len(data.classes)))
        raise DataError(f"{data.name}: the rows carry no predictions of {self.card.title}")


def load(request: Request) -> PredictionsTable | ValueTable:
    """The predictions behind ``subject.predictions`` or ``subject.counts``.

    Raises:
        UsageError: The data are another table, or no column of predictions is named.
    """
    key = "predictions" if request.config.predictions is not None else "counts"
    path = request.path(key)
    if request.probe is None or request.preprocessing is None:
        raise UsageError(f"{path}: needs data.target, and data.prediction or data.score")
    _check_source(path, request, key)
    data = request.probe
    if data.task == "regression":
        return value_table(request, path, data, request.preprocessing)
    if data.scores is None and data.predicted is None:
        raise UsageError(
            f"{path}: which column holds the predictions? Name it: data.prediction (labels) or data.score "
            "(the score of the positive label, or {LABEL: COLUMN})"
        )
    gives_probabilities = data.scores is not None
    text = (
        "Its scores were read from a table; the model behind them was not seen."
        if gives_probabilities
        else "Its labels were read from a table without scores; figures that need probabilities are missing."
    )
    card = SubjectCard(
        name=request.name,
        title=request.config.name or path.stem,
        source=str(path),
        digest=data.digest(),
        architecture="table of predictions",
        n_parameters=None,
        size_b=None,
        classes=data.classes,
        capabilities=tuple(sorted(capabilities_of(gives_probabilities=gives_probabilities))),
        statements=(Message(text=text),),
    )
    return PredictionsTable(card, request.preprocessing, gives_probabilities)


def _check_source(path: Path, request: Request, key: str) -> None:
    """Refuse rows from elsewhere: they would not stand beside the predictions."""
    source = "" if request.probe is None else request.probe.source
    named = Request(config=request.config.model_copy(update={key: source}), folder=request.folder).path(key)
    if named.resolve() != path.resolve():
        raise UsageError(
            f"data.source: {source} is not the table of predictions {path}; leave data.source out, and keep "
            "labels and predictions in one table"
        )
