"""An architecture of the user: a class of theirs, named ``package.module:Class`` in the config.

Importing a module runs it, so a name is imported only because a config says it, never because a file does.
"""

import copyreg
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import ConfigDict, create_model
from torch import nn

from auditkit.errors import ConfigError, closest
from auditkit.models.architecture import SIZES, ArchitectureKind, Parameters

KEY = "subject.architecture.name"

AMBIGUOUS = ("height", "width", "length")
"""Sizes whose names also mean other things; a value or a default of the user's own stands."""

_OPEN = (inspect.Parameter.empty, None)


class OwnParameters(Parameters):
    """Of a class of the user: whatever its constructor takes."""

    model_config = ConfigDict(frozen=True, extra="allow")


def is_own(name: str) -> bool:
    """Whether a name is that of a class to import."""
    return ":" in name


def own_kind(name: str, given: Collection[str] = ()) -> ArchitectureKind:
    """The architecture that a class of the user is.

    Its constructor is called with exactly the parameters that the config gives. Of the sizes that the data
    decide, those are added that it has parameters for and that the config leaves out.

    Args:
        name: ``package.module:Class``.
        given: Names of the parameters in the config.

    Raises:
        ConfigError: It cannot be imported, or is no ``nn.Module``.
    """
    cls = own_class(name)
    taken = _parameters(cls)
    sizes: dict[str, Any] = {
        size: (int | None, None)
        for size in SIZES
        if size in taken and not (size in AMBIGUOUS and (size in given or taken[size].default not in _OPEN))
    }
    parameters = create_model("OwnParameters", __base__=OwnParameters, **sizes)

    def build(values: OwnParameters) -> nn.Module:
        return _made(
            cls, name, {key: value for key, value in values.model_dump().items() if value is not None}
        )

    return ArchitectureKind(parameters, build, takes="anything")


def own_class(name: str, folders: Sequence[Path] = ()) -> type[nn.Module]:
    """The class behind ``package.module:Class``.

    Args:
        name: Of the class.
        folders: Where the module is looked for first, before the working directory and Python's own path.
            Without any, a module that is loaded already is taken.

    Raises:
        ConfigError: The module cannot be imported, lacks the class, or the class is no ``nn.Module``.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise ConfigError(f"{KEY}: {name!r} is not a class; write package.module:Class")
    loaded = None if folders else sys.modules.get(module_name)
    module = loaded or _imported(module_name, (*folders, Path.cwd()))
    cls = getattr(module, attribute, None)
    if cls is None:
        known = [key for key, value in vars(module).items() if _is_module_class(value)]
        raise ConfigError(f"{KEY}: {module_name} has no {attribute!r}. {closest(attribute, known)}")
    if not _is_module_class(cls):
        raise ConfigError(
            f"{KEY}: {name} is {type(cls).__name__}, expected a class derived from torch.nn.Module"
        )
    _make_picklable(cls, name, _root(module))
    found: type[nn.Module] = cls
    return found


def call_problems(cls: type[nn.Module], name: str, parameters: Mapping[str, Any]) -> list[str]:
    """What the constructor would not take; sizes that are left out may come from the data."""
    taken = _parameters(cls)
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())
    unknown = [key for key in parameters if key not in taken and not open_ended]
    missing = [
        key
        for key, parameter in taken.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        and key not in parameters
        and key not in SIZES
    ]
    return [
        *(f"{name} has no parameter {key!r}. {closest(key, taken)}" for key in unknown),
        *(f"{name} needs {key}; write {key}: VALUE under subject.architecture" for key in missing),
    ]


def require_answers(module: nn.Module, name: str, rows: torch.Tensor) -> None:
    """Refuse a class of the user whose forward fails on rows of the data; those of the project do not.

    Args:
        module: Made from the class; left in the mode it was in.
        name: As in the config.
        rows: A few of them, encoded.

    Raises:
        ConfigError: With what it raised, and what it was given.
    """
    if not is_own(name):
        return
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()(rows.clone())
    except Exception as error:  # the code of a user raises whatever it likes
        kind = str(rows.dtype).removeprefix("torch.")
        raise ConfigError(
            f"subject.architecture: {name} fails on {len(rows)} rows of the data, a tensor of shape "
            f"{tuple(rows.shape)} and type {kind}: {type(error).__name__}: {error}. Let its forward take "
            "such tensors; drop columns under data, or name others as features, if it expects fewer or more"
        ) from error
    finally:
        module.train(was_training)


def _is_module_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _parameters(cls: type[nn.Module]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(cls).parameters)
    except (TypeError, ValueError):
        return {}


def _made(cls: type[nn.Module], name: str, parameters: Mapping[str, Any]) -> nn.Module:
    try:
        return cls(**parameters)
    except Exception as error:  # the code of a user raises whatever it likes
        given = ", ".join(f"{key}={value!r}" for key, value in parameters.items()) or "no parameters"
        raise ConfigError(
            f"subject.architecture: {name} cannot be made with {given}: {type(error).__name__}: {error}. "
            "Correct the parameters beside the name, or the class"
        ) from error


def _imported(name: str, folders: Sequence[Path]) -> ModuleType:
    """The module, from the first folder that has it, else from Python's path. That path stays as it is."""
    place = next((folder for folder in folders if _file_in(folder, name)), None)
    if place is not None:
        _forget_another(name, place)
    try:
        with _first_on_path(place):
            return importlib.import_module(name)
    except Exception as error:  # the code of a user raises whatever it likes
        looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        remedy = (
            f"Looked in {looked} and where Python looks; correct the name, or put the file there"
            if isinstance(error, ModuleNotFoundError)
            else "Correct the module"
        )
        raise ConfigError(
            f"{KEY}: {name} cannot be imported: {type(error).__name__}: {error}. {remedy}"
        ) from error


def _file_in(folder: Path, name: str) -> Path | None:
    stem = folder.joinpath(*name.split("."))
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _forget_another(name: str, place: Path) -> None:
    """Take a module of another project out of the loaded ones, so that this project's own is imported.

    Raises:
        ConfigError: The name belongs to Python or to an installed package.
    """
    top = name.partition(".")[0]
    loaded, wanted = sys.modules.get(name), _file_in(place, name)
    if top in sys.stdlib_module_names:
        raise ConfigError(f"{KEY}: {top} is a module of Python itself; give the file another name")
    if loaded is None or wanted is None or Path(str(loaded.__file__)).resolve() == wanted.resolve():
        return
    installed = [Path(path) for path in sysconfig.get_paths().values()]
    if any(Path(str(loaded.__file__)).is_relative_to(path) for path in installed):
        raise ConfigError(f"{KEY}: {top} is also an installed package ({loaded.__file__}); rename the file")
    for key in [key for key in sys.modules if key == top or key.startswith(f"{top}.")]:
        del sys.modules[key]


@contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    entry = str(folder.resolve())
    importlib.invalidate_caches()
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _root(module: ModuleType) -> str:
    """The folder from which a module was imported."""
    file, depth = Path(str(module.__file__)).resolve(), module.__name__.count(".")
    return str(file.parents[depth + (file.name == "__init__.py")])


def _make_picklable(cls: type[nn.Module], name: str, folder: str) -> None:
    """Let another process, whose path lacks the folder of the config, import the class before its values."""

    def reduced(module: nn.Module) -> tuple[Any, ...]:
        return _blank, (name, folder), dict(vars(module))

    copyreg.pickle(cls, reduced)


def _blank(name: str, folder: str) -> nn.Module:
    cls = own_class(name, [Path(folder)])
    return cls.__new__(cls)
