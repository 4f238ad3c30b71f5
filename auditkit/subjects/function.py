"""A Python function as a subject: ``function: package.module:predict``.

The function is called with rows as they were read, never with all of them at once:

- a table: a pandas ``DataFrame`` with the columns of the data in their order (``data.features``, or all that
  have no other role). Numbers are int64 where all are whole and none is missing, else float64; texts are what
  pandas makes of texts; NaN stands where a value is missing.
- pictures: a float32 array of shape ``(n, height, width)`` with grey values from 0 to 1.
- texts: a ``list`` of ``str``.

It returns one of:

- labels, shape ``(n,)``: whole numbers or texts that are labels of the data;
- probabilities of the positive label, shape ``(n,)``, where there are two labels and ``data.positive``;
- probabilities of every label, shape ``(n, k)``: in the order of the attribute ``classes`` of the function,
  if it has one, else of the sorted labels of the data (numbers by size, texts by alphabet).

An answer about a row must not depend on the rows beside it. Naming a function is trusting it: its module is
imported and it runs as any code of yours.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch

from auditkit.data.dataset import FloatArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import CheckpointError, UsageError, closest
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import AnswerReader, digest_of, labels_in_data
from auditkit.subjects.black_box import BlackBox, as_read, capabilities_of, first_rows, steadiness
from auditkit.subjects.sources import Request

Predict = Callable[[Any], Any]


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


def load(request: Request) -> FunctionSubject:
    """The function behind ``subject.function``, tried on the first rows of the data.

    Raises:
        CheckpointError: It cannot be imported, or is no function.
        UsageError: It raises, or does not answer as the contract says.
    """
    reference, folder = str(request.config.function), request.folder.resolve()
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
        digest=digest_of(reference, _source(function), preprocessing.model_dump_json(), ask(rows.inputs)),
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


def call(reference: str, folder: Path, inputs: torch.Tensor, preprocessing: Preprocessing) -> Any:
    """Call the function with rows as they were read.

    Raises:
        UsageError: It raised; with its own error as cause.
    """
    function = resolve(reference, folder)
    try:
        with _importable(folder):
            return function(as_read(inputs, preprocessing))
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"subject.function: {reference} raised {type(error).__name__}: {error} when called with "
            f"{len(inputs)} rows. Run with --debug for its traceback"
        ) from error


def resolve(reference: str, folder: Path) -> Predict:
    """The function that ``package.module:name`` means.

    Modules beside the config come first, then those of the working directory, then installed ones.

    Raises:
        CheckpointError: No such module or function, or the module raised when it was imported.
    """
    where = f"subject.function: {reference!r}"
    module_name, separator, name = reference.partition(":")
    if not (separator and name and all(part.isidentifier() for part in module_name.split("."))):
        raise CheckpointError(f"{where}: expected package.module:function, such as scoring:predict")
    module = _import(module_name, folder, where)
    function: Any = module
    for part in name.split("."):
        if not hasattr(function, part):
            known = [key for key in vars(module) if not key.startswith("_")]
            raise CheckpointError(f"{where}: {module_name} has no {name!r}. {closest(name, known)}")
        function = getattr(function, part)
    if not callable(function):
        raise CheckpointError(f"{where}: is a {type(function).__name__}, expected a function")
    predict: Predict = function
    return predict


def _source(function: Predict) -> bytes:
    """The text of the module that defines it; empty where there is none."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return Path(file).read_bytes() if file and Path(file).is_file() else b""


def _import(name: str, folder: Path, where: str) -> Any:
    _refuse_namesake(name.partition(".")[0], folder, where)
    try:
        with _importable(folder):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise CheckpointError(f"{where}: {name} needs the module {error.name!r}: install it") from error
        raise CheckpointError(
            f"{where}: no module {name!r} beside the config ({folder}), in the working directory or installed"
        ) from None
    except (Exception, SystemExit) as error:
        raise CheckpointError(f"{where}: importing {name} raised {type(error).__name__}: {error}") from error


def _refuse_namesake(top: str, folder: Path, where: str) -> None:
    """Refuse to answer with another module of the same name that is already imported."""
    known = getattr(sys.modules.get(top), "__file__", None)
    found = PathFinder.find_spec(top, _places(folder))
    if known and found and found.origin and Path(known).resolve() != Path(found.origin).resolve():
        raise CheckpointError(
            f"{where}: another module {top!r} is already imported from {known}, not {found.origin}; rename it"
        )


def _places(folder: Path) -> list[str]:
    return list(dict.fromkeys((str(folder), str(Path.cwd()))))


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules beside the config can be imported inside the block, and only there."""
    before = list(sys.path)
    sys.path[:0] = _places(folder)
    try:
        yield
    finally:
        sys.path[:] = before


def _order(reader: AnswerReader, *, given: bool) -> tuple[Message, ...]:
    """Say which order of labels was assumed where the function does not tell it."""
    if given or reader.form != "rows":
        return ()
    text = "It does not name its labels; its probabilities are taken to be of {labels}, in this order."
    return (Message(text=text, values={"labels": ", ".join(reader.classes)}),)
