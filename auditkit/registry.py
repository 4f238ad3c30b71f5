"""Audits and variants by name, from entry points, loaded only when asked for.

Our own extensions come through the same door as those of third parties.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from auditkit.audits.audit import Audit, reading_from
from auditkit.config import validation_problems
from auditkit.errors import PluginError, Problem, closest
from auditkit.variants.dp_choices import DpChoices
from auditkit.variants.variant import Variant

E = TypeVar("E", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Extensions(Generic[E]):
    """The extensions of one entry-point group.

    Attributes:
        group: Entry-point group, for example ``auditkit.audits``.
        word: What one of them is called in messages.
        kind: The class that each must subclass.
        key: The field of its ``info`` that repeats the name.
    """

    group: str
    word: str
    kind: type[E]
    key: str

    def names(self) -> list[str]:
        """All names, sorted; nothing is imported."""
        return sorted(self._entry_points())

    def distribution(self, name: str) -> str:
        """``NAME VERSION`` of the distribution that provides it."""
        dist = self._entry_points()[name].dist
        return f"{dist.name} {dist.version}" if dist else "unknown"

    def load(self, name: str) -> type[E]:
        """Import the class called ``name``.

        Raises:
            PluginError: The name is unknown, cannot be imported, or is not what the group asks for.
        """
        points = self._entry_points()
        if name not in points:
            raise PluginError(f"no {self.word} is called {name!r}. {closest(name, points)}")
        point = points[name]
        try:
            loaded = point.load()
        except Exception as error:
            raise PluginError(
                f"{self.word} {name!r} of {self.distribution(name)} ({point.value}) cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not (isinstance(loaded, type) and issubclass(loaded, self.kind)):
            raise PluginError(
                f"{self.word} {name!r} of {self.distribution(name)}: {point.value} is not a subclass of "
                f"{self.kind.__module__}.{self.kind.__name__}"
            )
        self._check(name, loaded, point)
        return loaded

    def _check(self, name: str, loaded: type[E], point: EntryPoint) -> None:
        """Refuse a class that could not be used, with the name of its distribution."""
        where = f"{self.word} {name!r} of {self.distribution(name)} ({point.value})"
        absent = sorted(getattr(loaded, "__abstractmethods__", ()))
        if absent:
            raise PluginError(f"{where} does not define {', '.join(absent)}")
        info = getattr(loaded, "info", None)
        own = getattr(info, self.key, None)
        if own != name:
            raise PluginError(
                f"{where} says info.{self.key}={own!r}, expected {name!r} as in its entry point. "
                "Give both the same name"
            )

    def make(self, name: str, parameters: Mapping[str, Any], *, folder: Path | None = None) -> E:
        """An instance with validated parameters; see :meth:`problems` for a check beforehand.

        Args:
            name: Of the extension.
            parameters: As in the config.
            folder: That of the config file, where relative paths among the parameters start.
        """
        return self.load(name).model_validate(dict(parameters), context=reading_from(folder))

    def problems(self, name: str, parameters: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
        """What is wrong with asking for ``name`` with ``parameters``; both stand at ``path``."""
        if name not in self._entry_points():
            yield Problem(f"no {self.word} is called {name!r}. {closest(name, self.names())}", path)
            return
        if parameters is not None and not isinstance(parameters, dict):
            yield Problem(f"expected a mapping of parameters, got {parameters!r}", path)
            return
        try:
            self.make(name, parameters or {})
        except PluginError as error:
            yield Problem(str(error), path)
        except ValidationError as error:
            yield from validation_problems(error, self.load(name), path)

    def _entry_points(self) -> dict[str, EntryPoint]:
        points: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            known = points.get(point.name)
            if known is not None and known.value != point.value:
                raise PluginError(
                    f"two distributions provide {self.word} {point.name!r}: {_owner(known)} and "
                    f"{_owner(point)}. Uninstall one of them"
                )
            points[point.name] = point
        return points


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name if point.dist else 'unknown'} ({point.value})"


AUDITS: Extensions[Audit] = Extensions("auditkit.audits", "audit", Audit, "name")  # type: ignore[type-abstract]  # never instantiated itself
VARIANTS: Extensions[Variant] = Extensions("auditkit.variants", "variant kind", Variant, "kind")  # type: ignore[type-abstract]  # never instantiated itself


def check_extensions(values: Mapping[str, Any]) -> Iterable[Problem]:
    """Problems with the audits, variants, private training and policy addresses that a config names."""
    audits = values.get("audits")
    if isinstance(audits, dict):
        for name, parameters in audits.items():
            yield from AUDITS.problems(name, parameters, ("audits", name))
    variants = values.get("variants")
    if isinstance(variants, dict):
        for name, entry in variants.items():
            if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
                parameters = {key: value for key, value in entry.items() if key != "kind"}
                yield from VARIANTS.problems(entry["kind"], parameters, ("variants", name))
    if values.get("retrain") is not None:
        yield from _retrain_problems(values["retrain"])
    policy = values.get("policy")
    if isinstance(policy, list):
        yield from _policy_problems(policy)


def _retrain_problems(section: Any) -> Iterator[Problem]:
    if not isinstance(section, dict):
        return  # the config itself says that a mapping is expected
    of_command = [key for key in section if key in {"epsilon", "delta"}]
    for key in of_command:
        yield Problem(f"is given with the command: auditkit retrain CONFIG --{key} ...", ("retrain", key))
    try:
        DpChoices.model_validate({key: value for key, value in section.items() if key not in of_command})
    except ValidationError as error:
        yield from validation_problems(error, DpChoices, ("retrain",))


def _policy_problems(policy: list[Any]) -> Iterator[Problem]:
    names = AUDITS.names()
    for index, rule in enumerate(policy):
        figure = rule.get("figure") if isinstance(rule, dict) else None
        if not isinstance(figure, str):
            continue
        audit, separator, _ = figure.partition("/")
        path = ("policy", index, "figure")
        if not separator:
            yield Problem(f"expected AUDIT/METRIC such as performance/accuracy, got {figure!r}", path)
        elif audit not in names:
            yield Problem(f"no audit is called {audit!r}. {closest(audit, names)}", path)
