"""The shape of the package, as promises that a test can break."""

import ast
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import auditkit
import auditkit.audits
import auditkit.variants
from auditkit.audits.audit import Audit
from auditkit.cli.app import VERBS
from auditkit.variants.variant import Variant

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "auditkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}

LATE_IMPORTS = {
    "cli": "so that --help imports neither torch nor pandas",
    "randomness.py": "so that NumPy streams do not need torch",
    "data/picture_file.py": "Pillow comes with Captum, which need not bring it for ever",
    "energy/memory.py": "resource exists on POSIX only",
    "privacy/second_accountant.py": "dp-accounting is an extra",
    "testing": "pytest is needed by authors of audits alone",
}
"""Where a function may import, and why."""

WATCHED = ("torch", "pandas", "captum", "opacus", "fairlearn", "sklearn", "duckdb", "scipy")


def declared(group: str) -> dict[str, str]:
    return PYPROJECT["project"]["entry-points"][group]


def defined(package, kind: type) -> dict[str, list[str]]:
    """Concrete subclasses of ``kind`` by the module that defines them."""
    found: dict[str, list[str]] = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for name, cls in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(cls, kind) and cls.__module__ == module.name and not inspect.isabstract(cls):
                found.setdefault(module.name, []).append(name)
    return found


# --- extensions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "package", "kind"),
    [("auditkit.audits", auditkit.audits, Audit), ("auditkit.variants", auditkit.variants, Variant)],
    ids=["audits", "variants"],
)
def test_every_audit_and_variant_has_an_entry_point_and_every_entry_point_a_class(group, package, kind):
    classes = {f"{module}:{name}" for module, names in defined(package, kind).items() for name in names}
    assert classes == set(declared(group).values())


def test_one_audit_is_one_file():
    assert {
        module: names for module, names in defined(auditkit.audits, Audit).items() if len(names) > 1
    } == {}


@pytest.mark.parametrize("group", ["auditkit.audits", "auditkit.variants"])
def test_the_installed_entry_points_are_those_of_pyproject(group):
    installed = {
        point.name: point.value
        for point in entry_points(group=group)
        if point.dist is not None and point.dist.name == "auditkit"
    }
    assert installed == declared(group), (
        "an editable install freezes entry points: reinstall (pip install -e .)"
    )


@pytest.mark.parametrize("name", sorted(declared("auditkit.audits")))
def test_an_audit_tells_what_it_asks_what_it_cannot_and_where_it_comes_from(name):
    module, _, cls = declared("auditkit.audits")[name].partition(":")
    audit = getattr(import_module(module), cls)
    assert audit.info.name == name
    assert audit.info.question.endswith("?")
    assert audit.info.limits
    assert audit.info.sources
    assert audit.__doc__


# --- importing -------------------------------------------------------------------------------------


def imported_by(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter holds after ``code``."""
    script = f"import sys\n{code}\nprint(*(name for name in {WATCHED!r} if name in sys.modules))"
    words = [sys.executable, "-c", script]
    return set(
        subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1].split()
    )


HELP = """
from auditkit.__main__ import main
assert main(["--help"]) == 0
"""


@pytest.mark.parametrize("code", ["import auditkit", HELP], ids=["import", "--help"])
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert imported_by(code) == set()


def test_help_prints_every_verb_with_its_line(capsys):
    from auditkit.__main__ import main

    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [verb for verb, line in VERBS.items() if f"{verb} {line}" not in text] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_command_of_its_name_and_help(verb):
    command = import_module(f"auditkit.cli.{verb}").command
    assert command.name == verb
    assert command.help


@pytest.mark.parametrize("name", auditkit.__all__)
def test_every_public_name_loads(name):
    assert getattr(auditkit, name) is not None
    assert name in dir(auditkit)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = auditkit.nonsense


# --- files -----------------------------------------------------------------------------------------


def test_no_module_has_a_name_that_says_nothing():
    parts = {part for path in MODULES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert parts & EMPTY_NAMES == set()


def may_import_late(place: str) -> bool:
    return any(place in {name, f"{name}.py"} or place.startswith(f"{name}/") for name in LATE_IMPORTS)


def test_functions_import_only_where_there_is_a_reason():
    late = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        nodes = [node for function in functions for node in ast.walk(function)]
        imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        if imports and not may_import_late(path.relative_to(PACKAGE).as_posix()):
            late[str(path)] = imports
    assert late == {}


def test_every_module_says_what_it_is_for():
    trees = {str(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    assert [name for name, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_the_templates_are_where_the_wheel_takes_them_from():
    source = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert source == {"reports/templates": "auditkit/_templates"}
    names = {path.name for path in (ROOT / "reports" / "templates").iterdir()}
    assert {"report.html.j2", "report.css"} <= names
