"""An ONNX file run by onnxruntime as a subject: ``onnx: model.onnx``.

It is given the rows as a checkpoint of ours would be (``inputs: encoded``, the default: tables standardised
and one-hot, pictures standardised, texts as token ids, by steps fitted on the training rows) or as they were
read (``inputs: raw``: the numbers of a table, pictures from 0 to 1). One input is expected, of shape
``(n, d)``, ``(n, height, width)`` or with a channel of 1; a model of a raw table may instead have one input
per column. It answers with logits or probabilities of shape ``(n, k)``, in the order of the sorted labels;
with one number per row about the second label; or, as scikit-learn exports do, with labels and probabilities.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import CheckpointError, UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import AnswerReader, digest_of, labels_in_data
from auditkit.subjects.black_box import BlackBox, capabilities_of, first_rows, steadiness
from auditkit.subjects.onnx_check import OnnxListing, check_onnx
from auditkit.subjects.onnx_outputs import Output, find_output, read
from auditkit.subjects.onnx_session import ask, start_session
from auditkit.subjects.sources import Request

_LIMIT_B = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class OnnxSubject(BlackBox):
    """A session of onnxruntime over the bytes of the file; started again in other processes."""

    content: bytes = field(repr=False)
    place: str
    output: Output
    reader: AnswerReader
    session: Any = field(repr=False, compare=False)

    def log_probabilities(self, inputs: torch.Tensor) -> FloatArray:
        """What it answers about ``inputs``, checked.

        Raises:
            UsageError: The model failed on these rows, or its answer is not what its first ones promised.
        """
        answers = ask(self.session, self.output.name, inputs, self.preprocessing, self.reader.where)
        return read(answers, self.output.scale, self.reader, len(inputs))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the session."""
        return {key: value for key, value in vars(self).items() if key != "session"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Everything, with a session of this process."""
        vars(self).update(state)
        vars(self)["session"] = start_session(self.content, self.place, Path(self.reader.where))


def load(request: Request) -> OnnxSubject:
    """The model behind ``subject.onnx``, tried on the first rows of the data.

    Raises:
        UnsafeError: It keeps weights in other files or calls operators of libraries.
        CheckpointError: Absent, damaged, or its inputs and outputs do not fit the data.
        MissingExtraError: onnxruntime is not installed.
    """
    path = request.path("onnx")
    where = str(path)
    content = _content(path)
    listing = check_onnx(content, path)
    _check_inputs_are_said(listing, request, where)
    if request.preprocessing is None:
        raise UsageError(f"{where}: needs data to be tried on; name them under data:")
    session = start_session(content, request.device, path)
    rows = first_rows(request.probe, where)
    preprocessing, notes = _with_labels(session, rows, request, where)
    classes = preprocessing.classes
    output, how = find_output(
        session.get_outputs(),
        listing.makers,
        lambda name: ask(session, name, rows.inputs, preprocessing, where),
        classes,
        where,
    )
    reader = AnswerReader(where, "labels" if output.scale == "labels" else "rows", classes)

    def ask_once(inputs: torch.Tensor) -> FloatArray:
        return read(
            ask(session, output.name, inputs, preprocessing, where), output.scale, reader, len(inputs)
        )

    card = SubjectCard(
        name=request.name,
        title=request.config.name or path.stem,
        source=where,
        digest=digest_of(content, preprocessing.model_dump_json()),
        architecture="ONNX model" + (f" by {listing.producer}" if listing.producer else ""),
        n_parameters=None,
        size_b=len(content),
        classes=classes,
        capabilities=tuple(sorted(capabilities_of(gives_probabilities=reader.gives_probabilities))),
        statements=(
            _said_of_inputs(preprocessing, raw=request.config.inputs == "raw"),
            *notes,
            *how,
            *steadiness(ask_once, rows.inputs),
        ),
    )
    return OnnxSubject(
        card=card,
        preprocessing=preprocessing,
        gives_probabilities=reader.gives_probabilities,
        content=content,
        place=request.device,
        output=output,
        reader=reader,
        session=session,
    )


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LIMIT_B:
            raise CheckpointError(f"{path}: larger than 2 GiB, which no ONNX file in one piece is")
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected an ONNX file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _check_inputs_are_said(listing: OnnxListing, request: Request, where: str) -> None:
    """Refuse to guess what a model of scikit-learn's operators was trained on."""
    if request.config.inputs is None and any(domain == "ai.onnx.ml" for domain, _ in listing.operators):
        raise CheckpointError(
            f"{where}: made from a model of another library (operators of ai.onnx.ml). Say what it reads: "
            "inputs: raw (the numbers as they were read) or inputs: encoded (standardised, one-hot)"
        )


def _with_labels(
    session: Any, rows: Dataset, request: Request, where: str
) -> tuple[Preprocessing, tuple[Message, ...]]:
    """The preprocessing with the labels in the order of the outputs, where the model names them."""
    assert request.preprocessing is not None  # noqa: S101 - seen to by the caller
    preprocessing = request.preprocessing
    named = [item.name for item in session.get_outputs() if item.type.startswith("seq(map(")]
    if named:
        answers = ask(session, named[0], rows.inputs, preprocessing, where)
        classes = labels_in_data(list(answers[0]), preprocessing.classes, where)
        return preprocessing.model_copy(update={"classes": classes}), ()
    text = "The file does not name its labels; its outputs are taken to be of {labels}, in this order."
    order = Message(text=text, values={"labels": ", ".join(preprocessing.classes)})
    return preprocessing, (order,)


def _said_of_inputs(preprocessing: Preprocessing, *, raw: bool) -> Message:
    if raw:
        return Message(text="It is given rows as they were read (inputs: raw).")
    return Message(
        text="It is given rows encoded by steps fitted on the training rows (inputs: encoded); the file does "
        "not say whether it was trained on rows like these."
    )
