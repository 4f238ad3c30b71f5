"""Reading a config: YAML 1.2 with positions, overrides, validation; all problems at once."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from auditkit.config.model import RunConfig
from auditkit.errors import ConfigError, Problem, closest

KeyPath = tuple[str | int, ...]
Check = Callable[[Mapping[str, Any]], Iterable[Problem]]

MOST_KEYS = 100_000
"""No config has more; a short file of nested aliases can expand to billions."""


@dataclass(frozen=True, slots=True)
class Document:
    """A config file as plain values, with the position of every key.

    ``positions`` maps a key path to ``file:line:column`` (both counted from 1); keys set on the command
    line are placed at ``--set``.
    """

    file: str
    values: dict[str, Any]
    positions: dict[KeyPath, str]

    def locate(self, path: KeyPath) -> str:
        """The position of ``path``, or of the nearest key above it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.positions:
                return self.positions[path[:end]]
        return self.file


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read a YAML file and apply ``a.b=c`` overrides.

    Raises:
        ConfigError: The file is absent, not UTF-8, not YAML, has a duplicate key, is not a mapping, or
            an override is malformed.
    """
    node = _parse(path)
    positions: dict[KeyPath, str] = {}
    try:
        values = _plain(node, (), str(path), positions)
    except RecursionError:
        raise ConfigError(f"{path}: is nested without end; an alias refers to itself") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys such as 'version: 1', got {_kind(values)}")
    for override in overrides:
        _apply_override(values, positions, override)
    return Document(str(path), values, positions)


def load_config(
    path: Path | str, *, overrides: Sequence[str] = (), checks: Sequence[Check] = ()
) -> tuple[RunConfig, Document]:
    """Load and check a config.

    Args:
        path: The YAML file.
        overrides: ``a.b=c`` strings; the value is read as YAML.
        checks: Further checks on the plain values, such as the names and parameters of audits; each
            yields problems with a key path.

    Raises:
        ConfigError: With every problem found, each at its file, line and column.
    """
    document = read_document(Path(path), overrides)
    problems = [problem for check in checks for problem in check(document.values)]
    config = None
    try:
        config = RunConfig.model_validate(document.values)
    except ValidationError as error:
        problems = [*validation_problems(error, RunConfig), *problems]
    if problems or config is None:
        located = [
            Problem(problem.message, problem.path, document.locate(problem.path)) for problem in problems
        ]
        raise ConfigError(_in_file_order(located))
    return config, document


def validation_problems(
    error: ValidationError, model: type[BaseModel], prefix: KeyPath = ()
) -> list[Problem]:
    """Pydantic's errors in our words; for a typo with the closest key. ``prefix``: where the model stands."""
    return [
        Problem(
            _sentence(item, model), (*prefix, *(part for part in item["loc"] if "function-" not in str(part)))
        )
        for item in error.errors(include_url=False)
    ]


def _sentence(item: Any, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        return f"unknown key {name!r}. {closest(name, _fields_at(model, item['loc'][:-1]))}"
    if item["type"] == "missing":
        return "is required and missing"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    if item["type"] == "value_error":
        return text
    return f"{text}, got {item['input']!r}"


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Names of the fields of the model that stands at ``loc``."""
    current: Any = model
    is_named = False
    for part in loc:
        if isinstance(part, int):
            continue  # an item of a list has the model that the list was declared with
        if is_named:
            is_named = (
                False  # the name that a user gave to an item, whose model the mapping was declared with
            )
            continue
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = _model_in(field.annotation) if field else None
            is_named = field is not None and _is_mapping(field.annotation)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return True
    return any(_is_mapping(argument) for argument in get_args(annotation))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def _in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    def position(problem: Problem) -> tuple[int, int]:
        match = re.search(r":(\d+):(\d+)$", problem.location)
        return (int(match[1]), int(match[2])) if match else (0, 0)

    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=position)


def _parse(path: Path) -> Any:
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `auditkit init {path}` writes a commented one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        message = (error.problem or error.context or "not YAML").strip().splitlines()[0]
        raise ConfigError([Problem(message, (), where)]) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


def _plain(node: Any, path: KeyPath, file: str, positions: dict[KeyPath, str]) -> Any:
    """Ruamel's nodes as plain Python values; fills ``positions``."""
    if len(positions) > MOST_KEYS:
        raise ConfigError(f"{file}: has more than {MOST_KEYS:,} keys once its aliases are resolved")
    if isinstance(node, CommentedMap):
        plain = {}
        for key, value in node.items():
            inner = (*path, str(key))
            _note_position(node, key, file, inner, positions)
            plain[str(key)] = _plain(value, inner, file, positions)
        return plain
    if isinstance(node, CommentedSeq):
        items = []
        for index, value in enumerate(node):
            inner = (*path, index)
            _note_position(node, index, file, inner, positions)
            items.append(_plain(value, inner, file, positions))
        return items
    return _scalar(node)


def _note_position(node: Any, key: Any, file: str, path: KeyPath, positions: dict[KeyPath, str]) -> None:
    """Where ``key`` stands; merged keys (``<<``) and tagged nodes have no place of their own."""
    place = (node.lc.data or {}).get(key)
    positions[path] = f"{file}:{place[0] + 1}:{place[1] + 1}" if place else positions.get(path[:-1], file)


def _scalar(node: Any) -> Any:
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def _apply_override(values: dict[str, Any], positions: dict[KeyPath, str], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".") if key.strip() else []
    if not separator or not parts or not all(parts):
        raise ConfigError(f"--set {override}: expected KEY=VALUE such as data.split=test")
    try:
        value = _plain(YAML(typ="rt", pure=True).load(text), (), "--set", {})
    except (YAMLError, RecursionError):
        raise ConfigError(f"--set {override}: the value is not YAML") from None
    _assign(values, parts, value, override)
    positions[tuple(_as_index(part) for part in parts)] = f"--set {override}"


def _assign(values: dict[str, Any], parts: list[str], value: Any, override: str) -> None:
    current: Any = values
    for part in parts[:-1]:
        if isinstance(current, list):
            current = _item(current, part, override)
        elif isinstance(current, dict):
            if not isinstance(current.get(part), dict | list):
                current[part] = {}
            current = current[part]
    last = parts[-1]
    if isinstance(current, list):
        _item(current, last, override)
        current[int(last)] = value
    elif isinstance(current, dict):
        current[last] = value
    else:
        raise ConfigError(f"--set {override}: {current!r} is a single value and has no key {last!r}")


def _item(items: list[Any], part: str, override: str) -> Any:
    if not _is_index(part) or int(part) >= len(items):
        raise ConfigError(f"--set {override}: {part!r} is not an index of a list of {len(items)}")
    return items[int(part)]


def _as_index(part: str) -> str | int:
    return int(part) if _is_index(part) else part


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit()


def _kind(value: Any) -> str:
    return "an empty file" if value is None else f"a {type(value).__name__}"
