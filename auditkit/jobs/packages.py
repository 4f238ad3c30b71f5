"""Installed packages against the versions that auditkit needs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*\(?([^;)]*)\)?\s*(;.*)?$")
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")
_BOUND = re.compile(r"^(>=|<)\s*([0-9][0-9.]*)$")


@dataclass(frozen=True, slots=True)
class Package:
    """One required package.

    Attributes:
        name: As on the package index.
        needs: What is required, for example ``">=2.10"``.
        found: The installed version, or ``None``.
    """

    name: str
    needs: str
    found: str | None

    @property
    def fits(self) -> bool:
        """Whether it is there in a version within the bounds."""
        return self.found is not None and within(self.found, self.needs)


def required_packages(distribution: str = "auditkit") -> Iterator[Package]:
    """What ``distribution`` requires without extras; nothing where it is not installed."""
    return (package for extra, package in _requirements(distribution) if extra is None)


def packages_of_extras(distribution: str = "auditkit") -> dict[str, list[Package]]:
    """What each extra of ``distribution`` requires."""
    found: dict[str, list[Package]] = {}
    for extra, package in _requirements(distribution):
        if extra is not None:
            found.setdefault(extra, []).append(package)
    return found


def _requirements(distribution: str) -> Iterator[tuple[str | None, Package]]:
    try:
        lines = requires(distribution) or []
    except PackageNotFoundError:
        return
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is not None:
            extra = _EXTRA.search(match[3] or "")
            package = Package(match[1], match[2].strip(), installed_version(match[1]))
            yield (extra[1] if extra else None), package


def installed_version(name: str) -> str | None:
    """The version of an installed distribution, or ``None``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def required_python(distribution: str = "auditkit") -> str:
    """The Python versions that ``distribution`` supports; empty where that is unknown."""
    try:
        found = metadata(distribution)
    except PackageNotFoundError:
        return ""
    return str(found.json.get("requires_python", ""))


def within(found: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as ``">=1.4,<3"``; other kinds of bounds count as met.

    >>> within("2.13.0+cpu", ">=2.10"), within("2.9.1", ">=2.10"), within("3.0", ">=1.4,<3")
    (True, False, False)
    """
    for bound in filter(None, (part.strip() for part in bounds.split(","))):
        match = _BOUND.match(bound)
        if match is None:
            continue
        is_at_least = _release(found) >= _release(match[2])
        if is_at_least != (match[1] == ">="):
            return False
    return True


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without trailing zeros, so that 3.0 is 3."""
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", text)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
