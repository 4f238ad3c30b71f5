"""Finding and calling a function of the user, by the name that the config gives."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch

from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import CheckpointError, UsageError, closest
from auditkit.subjects.black_box import as_read

Predict = Callable[[Any], Any]


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


def source_of(function: Predict) -> bytes:
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
