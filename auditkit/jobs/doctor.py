"""Job: is this installation usable, and what would it be able to do?"""

import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import torch

from auditkit import __version__
from auditkit.data import adult, compas, crows_pairs, identity_templates, mnist, shakespeare, sst2
from auditkit.data.published import PublishedFile, cache_folder, locate
from auditkit.energy.allocation import allocation
from auditkit.energy.balance import discover_probes
from auditkit.errors import AuditkitError, DataError, PluginError
from auditkit.jobs.packages import packages_of_extras, required_packages, required_python, within
from auditkit.jobs.prepare import resolve_device
from auditkit.registry import AUDITS, VARIANTS
from auditkit.reporting.html import read_template
from auditkit.reporting.language import LANGUAGES, texts_for

Status = Literal["ok", "absent", "warning", "problem"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
TEMPLATES = ("report.html.j2", "report.css")
REASONS = {
    "torch": "older ones run code hidden in a checkpoint (CVE-2026-24747)",
    "transformers": "older ones run code of a folder unasked (CVE-2026-4372, CVE-2026-5241)",
    "keras": "older ones run code of a file unasked (CVE-2026-1462)",
}
"""Why a floor must not be ignored."""

NOT_FOR_USERS = ("dev", "bench")
"""Extras that only working on auditkit needs."""

DATA = {
    "adult": tuple(adult.FILES.values()),
    "compas": (compas.FILE,),
    "mnist": tuple(file for files in mnist.FILES.values() for file in files),
    "sst2": tuple(sst2.FILES.values()),
    "shakespeare": (shakespeare.FILE,),
    "crows_pairs": (crows_pairs.FILE,),
    "identity_templates": tuple(identity_templates.FILES.values()),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    ``absent`` things are not needed; a ``warning`` should be looked into; with a ``problem`` auditkit cannot
    be relied on.
    """

    name: str
    status: Status
    text: str


def examine(folder: Path | None = None) -> tuple[Check, ...]:
    """Everything that decides whether auditkit works here. Nothing is downloaded, nothing is left behind.

    Args:
        folder: Where runs would be written; default the working directory.
    """
    device = torch.device(resolve_device("auto"))
    return (
        _python(),
        Check("auditkit", "ok", f"{__version__} in {Path(__file__).parents[1]}"),
        *_packages(),
        *_extras(),
        _torch(device),
        _threads(),
        *_extensions(),
        _templates(),
        *(_translation(language) for language in LANGUAGES),
        _writable(folder or Path.cwd()),
        _cache(),
        *(_data(name, files) for name, files in DATA.items()),
        *_energy(device),
        _memory(),
        _browser(),
    )


def is_usable(checks: tuple[Check, ...]) -> bool:
    """Whether no check found a problem."""
    return all(check.status != "problem" for check in checks)


def _python() -> Check:
    found, needs = platform.python_version(), required_python()
    status: Status = "ok" if within(found, needs) else "problem"
    return Check(
        "python", status, f"{found} ({platform.system()} {platform.machine()}; needs {needs or 'any'})"
    )


def _packages() -> Iterator[Check]:
    packages = list(required_packages())
    if not packages:
        yield Check(
            "packages", "warning", "auditkit is not installed as a distribution; versions are unknown"
        )
        return
    for package in packages:
        if not package.fits:
            why = f": {REASONS[package.name]}" if package.name in REASONS else ""
            text = (
                f"{package.name} {package.found or 'is absent'}, needs {package.needs or 'any version'}{why}"
            )
            yield Check("packages", "problem", f"{text}. pip install --upgrade {package.name}")
    fitting = sum(package.fits for package in packages)
    if fitting == len(packages):
        yield Check("packages", "ok", f"all {fitting} required packages are there in fitting versions")


def _extras() -> Iterator[Check]:
    """Optional libraries; an absent one is no fault, one with a known hole is."""
    for extra, packages in packages_of_extras().items():
        if extra in NOT_FOR_USERS:
            continue
        absent = [package.name for package in packages if package.found is None]
        unfit = [package for package in packages if package.found is not None and not package.fits]
        for package in unfit:
            why = f": {REASONS[package.name]}" if package.name in REASONS else ""
            text = f"{package.name} {package.found}, needs {package.needs}{why}"
            yield Check(f"extra {extra}", "problem", f"{text}. pip install --upgrade {package.name}")
        if absent:
            text = f'{", ".join(absent)} not installed: pip install "auditkit[{extra}]"'
            yield Check(f"extra {extra}", "absent", text)
        elif not unfit:
            found = ", ".join(f"{package.name} {package.found}" for package in packages)
            yield Check(f"extra {extra}", "ok", found)


def _torch(device: torch.device) -> Check:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "computes on the CPU"
    return Check("torch", "ok", f"{torch.__version__} ({build}), {where}")


def _threads() -> Check:
    threads, granted = torch.get_num_threads(), allocation().n_cpus
    text = f"{threads} for {granted:g} CPUs granted to this process"
    if threads > granted:
        return Check(
            "threads", "warning", f"{text}; they wait for one another. Set OMP_NUM_THREADS={granted:.0f}"
        )
    return Check("threads", "ok", text)


def _extensions() -> Iterator[Check]:
    for extensions, word in ((AUDITS, "audits"), (VARIANTS, "variants")):
        try:
            names = extensions.names()
        except PluginError as error:
            yield Check(word, "problem", str(error))
            continue
        working = []
        for name in names:
            try:
                extensions.load(name)
                working.append(name)
            except PluginError as error:
                is_ours = extensions.distribution(name).startswith("auditkit ")
                yield Check(word, "problem" if is_ours else "warning", str(error))
        yield Check(word, "ok" if working else "problem", ", ".join(working) or "none can be loaded")


def _templates() -> Check:
    try:
        for name in TEMPLATES:
            read_template(name)
    except AuditkitError as error:
        return Check("templates", "problem", str(error))
    return Check("templates", "ok", "the templates of the report are there")


def _translation(language: Literal["en", "zh"]) -> Check:
    try:
        texts_for(language)
    except OSError as error:
        return Check(f"language {language}", "warning", f"its texts cannot be read: {error}")
    return Check(f"language {language}", "ok", "reports can be written in it")


def _writable(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("folder", "problem", f"{folder}: runs cannot be written here: {error}")
    free_gib = shutil.disk_usage(folder).free / 2**30
    return Check("folder", "ok", f"{folder}: can be written, {free_gib:.0f} GiB free")


def _cache() -> Check:
    folder = cache_folder()
    return Check(
        "cache",
        "ok" if folder.is_dir() else "absent",
        f"{folder}{'' if folder.is_dir() else ' is made on demand'}",
    )


def _data(name: str, files: tuple[PublishedFile, ...]) -> Check:
    """Whether a published data set is on this machine."""
    try:
        places = {str(locate(file, open_url=_stay_offline).parent) for file in files}
    except DataError:
        return Check(f"data {name}", "absent", "not on this machine; downloaded when a config asks for it")
    return Check(f"data {name}", "ok", ", ".join(sorted(places)))


def _stay_offline(_url: str) -> IO[bytes]:
    raise OSError("doctor does not download")


def _energy(device: torch.device) -> Iterator[Check]:
    found = discover_probes(device)
    for probe in found.probes:
        yield Check("energy", "ok", f"{probe.component} counter: {probe.name}")
    for reason in found.missing:
        yield Check("energy", "absent", f"{reason}; the energy of the CPU is estimated from its time")
    if device.type != "cuda":
        yield Check("energy", "absent", "no GPU counter: no CUDA device is visible to torch")


def _memory() -> Check:
    limit_b = allocation().memory_limit_b
    if limit_b is None:
        return Check("memory", "ok", "no limit is set by a control group")
    return Check("memory", "ok", f"a control group allows {limit_b / 2**30:.1f} GiB")


def _browser() -> Check:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        return Check("browser", "absent", "no Chromium; reports are HTML that any browser shows and prints")
    return Check("browser", "ok", f"{found} can print reports as PDF")
