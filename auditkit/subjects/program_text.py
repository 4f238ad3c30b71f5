"""The text of an exported program: read as a closed language, so that loading it evaluates nothing.

``torch.export.load`` trusts the JSON of its archive. It evaluates the expressions of symbolic sizes, imports
what the layouts of inputs name, and compiles names and guards as Python. So every string is matched with what
it may be, expressions are parsed and not evaluated, and what a prediction does not need is left out.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from auditkit.errors import CheckpointError, UnsafeError

AGAIN = "Save it again with torch.export.save, from a source you trust"

_NAME = re.compile(r"[A-Za-z0-9_.]{0,500}\Z")
_SPECIAL = re.compile(r"(\A|\.)__\w*__(\Z|\.)")
_NOT_NUMBERS = ("NaN", "Infinity", "-Infinity")
_SYMBOL = re.compile(r"[suz]\d{1,6}\Z")
_CONSTANT = re.compile(r"[A-Za-z0-9_ .,=>+-]{0,200}\Z")
_ATEN = re.compile(r"torch\.ops\.aten\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+\Z")
_PLAIN = re.compile(r"(_operator|math)\.[a-z0-9_]{1,20}\Z|torch\.sym_[a-z_]{1,20}\Z")
_READS_FILES = ("torch.ops.aten.from_file",)
_FUNCTIONS = frozenset(
    {
        *("Symbol", "Integer", "Add", "Mul", "FloorDiv", "CeilDiv", "CleanDiv", "Mod", "PythonMod"),
        *("ModularIndexing", "Max", "Min", "Identity", "Eq", "Ne", "Lt", "Le", "Gt", "Ge"),
    }
)
_KEYWORDS = frozenset(("positive", "integer", "nonnegative"))
_LONGEST_EXPRESSION, _LARGEST_INTEGER, _MOST_NODES = 500, 2**62, 200_000
_OPEN_END = 2**63 - 1
"""How a slice without an end is written."""

_GRAPH = ("inputs", "outputs", "nodes", "tensor_values", "sym_int_values", "sym_bool_values")
_GRAPH_MORE = ("is_single_tensor_return", "custom_obj_values", "sym_float_values")
_OBJECTS = ("as_custom_obj", "custom_obj", "class_fqn", "custom_obj_name", "token")
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def parsed(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: Something else.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{where}: not JSON: {error}. {AGAIN}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: expected a JSON object. {AGAIN}")
    return value


def read_program(content: bytes, path: Path) -> dict[str, Any]:
    """The program with nothing in it but tensors, numbers, known operators and names.

    Left out are its metadata (where the code of the model stood), its guards and the layouts of submodules.

    Raises:
        UnsafeError: A string would be evaluated, imported or compiled.
        CheckpointError: Damaged, or with parts that are not read: subgraphs, operators of other libraries.
    """
    where = f"{path}: models/model.json"
    text = parsed(content, where)
    try:
        graph_module = text["graph_module"]
        graph = graph_module["graph"]
        whole = next(entry for entry in graph_module["module_call_graph"] if entry["fqn"] == "")
        neutral = {
            "graph_module": {
                "graph": {key: graph[key] for key in (*_GRAPH, *_GRAPH_MORE) if key in graph},
                "signature": graph_module["signature"],
                "module_call_graph": [whole],
                "metadata": {},
                "treespec_namedtuple_fields": {},
            },
            "opset_version": text["opset_version"],
            "range_constraints": text["range_constraints"],
            "schema_version": text["schema_version"],
            "verifiers": ["TRAINING"],
            "torch_version": "2.10",
            "guards_code": [],
        }
        graph["nodes"] = [{**node, "metadata": {}} for node in graph["nodes"]]
        neutral["graph_module"]["graph"]["nodes"] = graph["nodes"]
        _check_operators(graph["nodes"], where)
        ranges = list(text["range_constraints"])
    except (KeyError, TypeError, StopIteration, AttributeError) as error:
        raise CheckpointError(f"{where}: damaged: {error!r}. {AGAIN}") from None
    if not all(_SYMBOL.match(name) for name in ranges):
        _refuse(where, "range_constraints", "a name that no size has")
    check_values(neutral, where)
    return neutral


def check_values(value: Any, where: str, key: str = "") -> None:
    """Refuse whatever is not a number or a string of the form that its key may have.

    Raises:
        UnsafeError: A string that loading could evaluate.
        CheckpointError: A part that is not read, or numbers out of range.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_key(str(name), item, where)
            check_values(item, where, str(name))
    elif isinstance(value, list):
        for item in value:
            check_values(item, where, key)
    elif isinstance(value, str):
        _check_string(value, where, key)
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER and value != _OPEN_END:
        raise CheckpointError(f"{where}: {key}: a number out of range. {AGAIN}")


def _check_key(name: str, item: Any, where: str) -> None:
    if name in _OBJECTS and item:
        _refuse(where, name, "an object of its own, which is unpickled")
    if name == "as_graph":
        raise CheckpointError(
            f"{where}: holds a graph within the graph (control flow, or torch.no_grad in the model), "
            "which is not read. Export the model without it"
        )
    if not _NAME.match(name):
        _refuse(where, name[:80], "a key that is no name")


def training_mode(nodes: list[dict[str, Any]]) -> str | None:
    """The operator that behaves as in training, such as dropout; ``None`` when there is none."""
    for node in nodes:
        for argument in node["inputs"]:
            if argument["name"] in ("train", "training") and argument["arg"].get("as_bool") is True:
                return str(node["target"]).removeprefix("torch.ops.")
    return None


def _check_operators(nodes: list[dict[str, Any]], where: str) -> None:
    if len(nodes) > _MOST_NODES:
        raise CheckpointError(f"{where}: {len(nodes)} steps, expected at most {_MOST_NODES}")
    for node in nodes:
        target = str(node["target"])
        if target.startswith(_READS_FILES):
            _refuse(where, "target", f"{target[:80]}, which opens files")
        if target.startswith("torch.ops.") and not _ATEN.match(target) and _NAME.match(target):
            raise CheckpointError(
                f"{where}: the operator {target[:80]} is not one of torch's own (aten). "
                "Export the model without it"
            )
        if not (_ATEN.match(target) or _PLAIN.match(target)):
            _refuse(where, "target", f"{target[:80]!r}, which is no operator of torch")


def _check_string(text: str, where: str, key: str) -> None:
    if key == "expr_str":
        _check_expression(text, where)
    elif key in ("in_spec", "out_spec"):
        for name in _layout_faults(text):
            _refuse(where, key, f"the type {name[:80]!r}, which is imported")
    elif key in ("as_string", "as_strings"):
        if not _CONSTANT.match(text):
            _refuse(where, key, "a text that no operator takes")
    elif key == "as_operator":
        _refuse(where, key, "an operator as a value")
    elif key in ("as_float", "as_floats", "real", "imag"):
        if text not in _NOT_NUMBERS:
            _refuse(where, key, "a text that is no number")
    elif not _NAME.match(text) or _SPECIAL.search(text):
        _refuse(where, key, f"{text[:80]!r}, which is no name")


def _check_expression(text: str, where: str) -> None:
    """Symbols, integers and functions of torch on them; everything else would be run by ``eval``."""
    try:
        if len(text) > _LONGEST_EXPRESSION:
            raise ValueError
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        _refuse(where, "expr_str", "an expression that is no size")
    for node in ast.walk(tree):
        if not _is_size(node):
            _refuse(where, "expr_str", f"{text[:80]!r}, which is evaluated")


def _is_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and all(word.arg in _KEYWORDS for word in node.keywords)
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, str):
            return bool(_SYMBOL.match(value))
        return isinstance(value, bool) or (isinstance(value, int) and abs(value) <= _LARGEST_INTEGER)
    return isinstance(node, ast.Expression | ast.keyword | ast.Load | ast.UnaryOp | ast.USub)


def _layout_faults(text: str) -> Iterator[str]:
    """The types of a layout that are not tuples, lists and dictionaries with text keys."""
    try:
        protocol, layout = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        yield text
        return
    if protocol != 1:
        yield str(protocol)
    yield from _odd_types(layout)


def _odd_types(layout: Any) -> Iterator[str]:
    if layout == _LEAF:
        return
    if not isinstance(layout, dict) or not isinstance(layout.get("children_spec"), list):
        yield str(layout)
        return
    kind, context = layout.get("type"), layout.get("context")
    plain = (kind in ("builtins.tuple", "builtins.list") and context == "null") or (
        kind == "builtins.dict" and isinstance(context, str) and re.match(r'\[("\w+"(, )?)*\]\Z', context)
    )
    if not plain:
        yield str(kind)
    for child in layout["children_spec"]:
        yield from _odd_types(child)


def _refuse(where: str, key: str, what: str) -> NoReturn:
    raise UnsafeError(
        f"{where}: {key} holds {what}. A program so written could execute code when loaded. "
        f"Nothing was executed. {AGAIN}"
    )
