"""Finding every text a reader may meet, in code and templates, by reading the source.

``python -m tests.reporting.extraction`` lists what the Chinese catalogue lacks and what it no longer needs.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po
from jinja2 import Environment

from auditkit.reporting.language import VALUE_CONTEXT

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "auditkit"
TEMPLATES = ROOT / "reports" / "templates"
CATALOGUE = PACKAGE / "reporting" / "locales" / "zh" / "LC_MESSAGES" / "auditkit.po"

METHODS = {"text", "rich"}
TEXT_KEYWORDS = {
    "AuditInfo": {"question", "limits"},
    "Measurement": {"missing", "note"},
    "Estimate": {"missing"},
    "AuditOutput": {"notes"},
    "Planted": {"fault"},
    "SubjectCard": {"statements"},
    "DataCard": {"statements"},
    "Certificate": {
        "assumptions",
        "adjacency",
        "unit_of_privacy",
        "released",
        "clipping",
        "sampler",
        "randomness",
        "not_covered",
        "preflight",
    },
    **{
        kind: {
            "title",
            "caption",
            "axis",
            "x_axis",
            "y_axis",
            "row_axis",
            "column_axis",
            "label",
            "scale",
            "body",
            "name",
            "columns",
            "reference_label",
        }
        for kind in (
            "Table",
            "Dots",
            "Bars",
            "Curve",
            "Heatmap",
            "Picture",
            "Tokens",
            "Note",
            "Panel",
            "Series",
        )
    },
}
"""Fields where a plain text becomes a message."""

FIRST_ARGUMENT = {"plural", "Fault", "EnergyPart", "_from_sensor"}
"""Calls whose first argument becomes a message."""

SHOWN_CONSTANTS = {"ACCOUNTANT", "TUNING_ACCOUNTANT"}
"""Names of constants that a certificate holds and a report shows in the reader's language."""

VALUE_TABLES = {"_NEEDS"}
"""Tables whose texts travel as values of a message."""


def templates_of(path: Path) -> Iterator[str]:
    """Texts in one Jinja template."""
    for _, _, message in Environment(extensions=["jinja2.ext.i18n"]).extract_translations(
        path.read_text(encoding="utf-8"), gettext_functions=("_", "text", "plural")
    ):
        yield message if isinstance(message, str) else next(one for one in message if isinstance(one, str))


@cache
def _tree(path: Path) -> ast.AST:
    """Of one module, parsed once for all that is looked for."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def messages_of(path: Path) -> tuple[str, ...]:
    """Texts in one module."""
    return tuple(_messages(_tree(path)))


def _messages(tree: ast.AST) -> Iterator[str]:
    assigned = _assignments(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node, assigned)
    for name in SHOWN_CONSTANTS & assigned.keys():
        for value in assigned[name]:
            yield from _constants(value, {})


def values_of(path: Path) -> Iterator[str]:
    """Texts in one module that travel as values of a message."""
    for name, nodes in _assignments(_tree(path)).items():
        if name in VALUE_TABLES:
            for node in nodes:
                yield from _constants(node, {})


def plurals() -> dict[str, str]:
    """The form for many by the form for one."""
    found: dict[str, str] = {}
    for path in sorted(TEMPLATES.glob("*.j2")):
        extracted = Environment(extensions=["jinja2.ext.i18n"]).extract_translations(
            path.read_text(encoding="utf-8"), gettext_functions=("plural",)
        )
        found.update({message[0]: message[1] for _, _, message in extracted})
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "plural"
            ):
                one, many = (list(_constants(argument, {})) for argument in node.args[:2])
                found.update(zip(one, many, strict=True))
    return found


def _assignments(tree: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for one, value in zip(target.elts, node.value.elts, strict=False):
                        if isinstance(one, ast.Name):
                            found.setdefault(one.id, []).append(value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found.setdefault(node.target.id, []).append(node.value)
    return found


def _of_call(node: ast.Call, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "Message":
        for keyword in node.keywords:
            if keyword.arg == "text":
                yield from _constants(keyword.value, assigned)
    elif name == "mark" or (isinstance(node.func, ast.Attribute) and name in METHODS):
        yield from (text for argument in node.args[:1] for text in _constants(argument, {}))
    elif name in FIRST_ARGUMENT:
        yield from _constants(node.args[0], {})
    for keyword in node.keywords:
        if keyword.arg in TEXT_KEYWORDS.get(name, ()):
            yield from _plain_texts(keyword.value, assigned)


def _plain_texts(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    """Texts given where a message is expected: constants and sequences of them, but no calls."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Tuple | ast.List):
        for one in node.elts:
            yield from _plain_texts(one, assigned)
    elif isinstance(node, ast.IfExp):
        yield from _plain_texts(node.body, assigned)
        yield from _plain_texts(node.orelse, assigned)
    elif isinstance(node, ast.Name):
        for value in assigned.get(node.id, []):
            yield from _plain_texts(value, {})


def _constants(node: ast.expr, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    """All texts an expression may stand for, names looked up once in the module."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
        return
    parts: list[ast.expr] = []
    if isinstance(node, ast.IfExp):
        parts = [node.body, node.orelse]
    elif isinstance(node, ast.Dict):
        parts = list(node.values)
    elif isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = list(node.elts)
    elif isinstance(node, ast.Subscript):
        parts = [node.value]
    elif isinstance(node, ast.Name):
        for value in assigned.get(node.id, []):
            yield from _constants(value, {})
    for part in parts:
        yield from _constants(part, assigned)


def all_messages() -> list[str]:
    """Every text in the order of files and lines, once."""
    found: dict[str, None] = {}
    for path in sorted(TEMPLATES.glob("*.j2")):
        found.update(dict.fromkeys(templates_of(path)))
    for path in sorted(PACKAGE.rglob("*.py")):
        found.update(dict.fromkeys(messages_of(path)))
    return [text for text in found if re.sub(r"\{[^}]*\}", "", text).strip()]


def all_values() -> list[str]:
    """Every text that travels as a value, once."""
    return list(dict.fromkeys(text for path in sorted(PACKAGE.rglob("*.py")) for text in values_of(path)))


def differences() -> list[str]:
    """What the catalogue lacks and what it no longer needs, one line each."""
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    known = {
        one.id if isinstance(one.id, str) else one.id[0]: one
        for one in catalogue
        if one.id and not one.context
    }
    values = {one.id for one in catalogue if one.context == VALUE_CONTEXT}
    wanted = all_messages()
    lines = [f"missing: {text!r}" for text in wanted if text not in known or not known[text].string]
    lines += [f"missing value: {text!r}" for text in all_values() if text not in values]
    return lines + [f"not used any more: {text!r}" for text in known if text not in set(wanted)]


if __name__ == "__main__":
    sys.stdout.write("\n".join(differences()) + "\n")
