"""Reading a skops file: refused before it is loaded where it holds more than was reviewed."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from auditkit.errors import CheckpointError, MissingExtraError, UnsafeError
from auditkit.records import Message
from auditkit.subjects.archive_check import checked_archive
from auditkit.subjects.sklearn_types import REVIEWED, check_trees

_AGAIN = "save it again with skops.io.dump(model, PATH)"
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill", ".sav")
_LIMIT_B = 4 * 2**30
_SHOWN = 12


def read_skops(path: Path) -> tuple[Any, bytes, tuple[Message, ...]]:
    """The model in a skops file, the bytes of the file, and what was said while it was read.

    Raises:
        UnsafeError: A pickle, a hostile archive, or types that were not reviewed.
        CheckpointError: Absent, damaged, no skops file, or no classifier in it.
        MissingExtraError: skops is not installed.
    """
    _check_suffix(path)
    content = _content(path)
    _check_archive(path)
    skops = _skops()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asked = set(skops.get_untrusted_types(data=content))
            refused = sorted(asked - set(REVIEWED))
            if refused:
                _refuse_types(path, refused)
            model = skops.loads(content, trusted=sorted(asked))
        check_trees(model, str(path))
        _check_classifier(model, str(path))
    except (UnsafeError, CheckpointError):
        raise
    except Exception as error:  # a damaged file raises whatever its content happens to mean
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"{path}: truncated, damaged or no skops file: {reason}; {_AGAIN}") from None
    return model, content, _statements(caught)


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() in _PICKLES:
        raise UnsafeError(
            f"{path}: a pickle, which could execute code when loaded. Nothing was executed. In the "
            f"environment where it was trained, {_AGAIN.replace('PATH', repr(path.stem + '.skops'))}"
        )


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LIMIT_B:
            raise CheckpointError(f"{path}: larger than {_LIMIT_B >> 30} GiB; not read")
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected a model saved by skops.io.dump") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if content[:1] == b"\x80" and not content.startswith(b"PK"):
        raise UnsafeError(
            f"{path}: a pickle, which could execute code when loaded. Nothing was executed; {_AGAIN}"
        )
    return content


def _check_archive(path: Path) -> None:
    """Refuse archives that would fill memory or that name places outside of them."""
    with checked_archive(path) as archive:
        if "schema.json" not in archive.members:
            raise CheckpointError(f"{path}: no skops file: schema.json is not in it; {_AGAIN}")


def _skops() -> Any:
    try:
        return import_module("skops.io")
    except ImportError:
        raise MissingExtraError("subject.sklearn", "sklearn") from None


def _refuse_types(path: Path, names: list[str]) -> None:
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise UnsafeError(
        f"{path}: holds types that were not reviewed and could execute code: {shown}. Nothing was loaded. "
        "Save a model of scikit-learn's own parts, or audit it through subject.function"
    )


def _statements(caught: list[warnings.WarningMessage]) -> tuple[Message, ...]:
    """What scikit-learn warned of while the model was read; above all another version of itself."""
    found = []
    for warning in caught:
        stored = getattr(warning.message, "original_sklearn_version", None)
        here = getattr(warning.message, "current_sklearn_version", None)
        if stored is not None:
            text = (
                "Saved by scikit-learn {stored}, asked with {here}; its answers may differ from those then."
            )
            found.append(Message(text=text, values={"stored": str(stored), "here": str(here)}))
        else:
            text = "While it was loaded there was a warning: {warning}"
            found.append(Message(text=text, values={"warning": str(warning.message).splitlines()[0][:200]}))
    return tuple(message for index, message in enumerate(found) if message not in found[:index])


def _check_classifier(model: Any, where: str) -> None:
    """Refuse what does not choose among labels.

    Raises:
        CheckpointError: Not a fitted classifier of one target.
    """
    labels = getattr(model, "classes_", None)
    if not hasattr(model, "predict") or labels is None:
        raise CheckpointError(
            f"{where}: holds {kind_of(model)}, expected a fitted classifier (with predict and classes_)"
        )
    if isinstance(labels, list):
        raise CheckpointError(f"{where}: has {len(labels)} targets, expected a classifier of one")


def kind_of(model: Any) -> str:
    """The class of a model; of a pipeline that of its last step."""
    last = model.steps[-1][1] if hasattr(model, "steps") and model.steps else None
    return type(model).__name__ + (f" ({type(last).__name__})" if last is not None else "")
