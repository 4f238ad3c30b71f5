"""A Python function as a subject: ``function: package.module:predict``.

The function is called with rows as they were read, never with all of them at once:

- a table: a pandas ``DataFrame`` with the columns of the data in their order (``data.features``, or all that
  have no other role). Numbers are int64 where all are whole and none is missing, else float64; texts are what
  pandas makes of texts; NaN stands where a value is missing.
- pictures: a float32 array of shape ``(n, height, width)`` with grey values from 0 to 1.
- texts: a ``list`` of ``str``.

It returns one of:

- labels, shape ``(n,)``: whole numbers or texts that are labels of the data;
- with ``data.task: regression``: numbers, shape ``(n,)``, in the unit of the target, and nothing else;
- probabilities of the positive label, shape ``(n,)``, where there are two labels and ``data.positive``;
- probabilities of every label, shape ``(n, k)``: in the order of the attribute ``classes`` of the function,
  if it has one, else of the sorted labels of the data (numbers by size, texts by alphabet).

An answer about a row must not depend on the rows beside it. Naming a function is trusting it: its module is
imported and it runs as any code of yours.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from auditkit.data.dataset import FloatArray
from auditkit.errors import UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import AnswerReader, digest_of, labels_in_data
from auditkit.subjects.black_box import BlackBox, capabilities_of, first_rows, steadiness
from auditkit.subjects.calling import call, resolve, source_of
from auditkit.subjects.sources import Request
from auditkit.subjects.values import ValueFunction, value_function


@dataclass(frozen=True, kw_only=True)
class FunctionSubject(BlackBox):
    """A function behind the contract of this module. It is found again by its name in other processes."""

    reference: str
    folder: Path
    reader: AnswerReader

    def log_probabilities(self, inputs: torch.Tensor) -> FloatArray:
        """What it answers about ``inputs``, checked.

        Raises:
            UsageError: It raised, or its answer is not what the contract says.
        """
        answers = call(self.reference, self.folder, inputs, self.preprocessing)
        return self.reader.log_probabilities(answers, len(inputs))


def load(request: Request) -> FunctionSubject | ValueFunction:
    """The function behind ``subject.function``, tried on the first rows of the data.

    Raises:
        CheckpointError: It cannot be imported, or is no function.
        UsageError: It raises, or does not answer as the contract says.
    """
    reference, folder = str(request.config.function), request.folder.resolve()
    if request.probe is not None and request.probe.task == "regression":
        return value_function(request, reference, folder)
    function = resolve(reference, folder)
    if request.preprocessing is None:
        raise UsageError(f"{reference}: needs data to be tried on; name them under data:")
    rows = first_rows(request.probe, reference)
    own = getattr(function, "classes", None)
    classes = request.classes if own is None else labels_in_data(list(own), request.classes, reference)
    preprocessing = request.preprocessing.model_copy(update={"classes": classes})
    answers = call(reference, folder, rows.inputs, preprocessing)
    reader = AnswerReader.for_answers(
        answers,
        len(rows),
        where=reference,
        classes=classes,
        positive=None if rows.positive is None else classes.index(rows.positive),
    )

    def ask(inputs: torch.Tensor) -> FloatArray:
        return reader.log_probabilities(call(reference, folder, inputs, preprocessing), len(inputs))

    card = SubjectCard(
        name=request.name,
        title=request.config.name or reference,
        source=f"function: {reference}",
        digest=digest_of(reference, source_of(function), preprocessing.model_dump_json(), ask(rows.inputs)),
        architecture="Python function",
        n_parameters=None,
        size_b=None,
        classes=classes,
        capabilities=tuple(sorted(capabilities_of(gives_probabilities=reader.gives_probabilities))),
        statements=(
            *reader.statements(answers),
            *_order(reader, given=own is not None),
            *steadiness(ask, rows.inputs),
        ),
    )
    return FunctionSubject(
        card=card,
        preprocessing=preprocessing,
        gives_probabilities=reader.gives_probabilities,
        reference=reference,
        folder=folder,
        reader=reader,
    )


def _order(reader: AnswerReader, *, given: bool) -> tuple[Message, ...]:
    """Say which order of labels was assumed where the function does not tell it."""
    if given or reader.form != "rows":
        return ()
    text = "It does not name its labels; its probabilities are taken to be of {labels}, in this order."
    return (Message(text=text, values={"labels": ", ".join(reader.classes)}),)
