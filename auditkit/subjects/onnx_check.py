"""A look into an ONNX file before any library reads it: what it would load, and which operators it calls.

ONNX files are Protocol Buffers. The fields that matter are walked here by their numbers; nothing is built
from them. Source: onnx/onnx.proto, ONNX IR version 10; protobuf.dev, Encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from auditkit.errors import CheckpointError, UnsafeError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators of the standard and of onnxruntime itself."""

OUTSIDE = frozenset({"EPContext", "PythonOp", "ATen", "ImageDecoder"})
"""Operators that load files, call back into Python or parse formats of their own."""

_MOST_FIELDS = 5_000_000
_DEEPEST = 64
_AGAIN = "export or copy it again"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1

# Which fields hold which messages (field numbers of onnx.proto).
_MODEL_GRAPH, _MODEL_FUNCTIONS, _MODEL_TRAINING, _MODEL_PRODUCER = 7, 25, 20, 2
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN, _NODE_OUTPUT = 4, 5, 7, 2
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {_MODEL_GRAPH: "graph", _MODEL_FUNCTIONS: "function", _MODEL_TRAINING: "training"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {_NODE_ATTRIBUTE: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_FUNCTION_DOMAIN = 10
_TEXTS = {
    "model": (_MODEL_PRODUCER,),
    "node": (_NODE_OP, _NODE_DOMAIN, _NODE_OUTPUT),
    "function": (_FUNCTION_DOMAIN,),
}


@dataclass(slots=True)
class OnnxListing:
    """What a file holds.

    Attributes:
        operators: ``(domain, operator)`` of every node.
        functions: Domains of the functions that the file defines itself.
        external: Whether a tensor lies in another file.
        makers: By the name of an output, the operator that makes it.
        producer: The tool that wrote the file, as it calls itself.
    """

    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    external: bool = False
    makers: dict[str, str] = field(default_factory=dict)
    producer: str = ""


def check_onnx(content: bytes, path: Path) -> OnnxListing:
    """List a file and refuse what reaches beyond it.

    Raises:
        UnsafeError: Tensors in other files, operators of libraries, or operators that load files.
        CheckpointError: Truncated, damaged, or no ONNX file.
    """
    listing = OnnxListing()
    try:
        _walk(memoryview(content), "model", listing, _Budget())
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: truncated, damaged or no ONNX file: {error}; {_AGAIN}") from None
    if listing.external:
        raise UnsafeError(
            f"{path}: keeps weights in other files, which could be any file of this machine. Nothing was "
            "loaded. Save it as one file: onnx.save(model, PATH, save_as_external_data=False)"
        )
    odd = sorted(
        f"{domain or 'ai.onnx'}.{name}"
        for domain, name in listing.operators
        if domain not in DOMAINS | listing.functions or name in OUTSIDE
    )
    if odd:
        raise UnsafeError(
            f"{path}: calls operators that are not those of ONNX: {', '.join(odd[:12])}. They need a library "
            "of their own or reach beyond the file. Nothing was loaded. Export it without them"
        )
    if not listing.operators:
        raise CheckpointError(f"{path}: no ONNX file, or a model without operators; {_AGAIN}")
    return listing


@dataclass(slots=True)
class _Budget:
    """How many fields may still be read, so that no file keeps the reader busy for long."""

    fields: int = _MOST_FIELDS

    def spend(self) -> None:
        self.fields -= 1
        if self.fields < 0:
            raise ValueError(f"more than {_MOST_FIELDS} fields")


def _walk(message: memoryview, kind: str, listing: OnnxListing, budget: _Budget, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    texts: dict[int, list[str]] = {}
    for number, value in _fields(message, budget):
        child = _CHILDREN[kind].get(number)
        if child is not None and isinstance(value, memoryview):
            _walk(value, child, listing, budget, depth + 1)
        elif kind == "tensor":
            listing.external |= number == _TENSOR_EXTERNAL_DATA
            listing.external |= number == _TENSOR_DATA_LOCATION and value == _EXTERNAL
        elif isinstance(value, memoryview) and number in _TEXTS.get(kind, ()):
            texts.setdefault(number, []).append(bytes(value).decode())
    _note(kind, texts, listing)


def _note(kind: str, texts: dict[int, list[str]], listing: OnnxListing) -> None:
    """Keep what the texts of a message say."""
    if kind == "node":
        operator = "".join(texts.get(_NODE_OP, [""])[-1:])
        listing.operators.add(("".join(texts.get(_NODE_DOMAIN, [""])[-1:]), operator))
        listing.makers.update(dict.fromkeys(texts.get(_NODE_OUTPUT, []), operator))
    elif kind == "function":
        listing.functions.update(texts.get(_FUNCTION_DOMAIN, []))
    elif kind == "model":
        listing.producer = "".join(texts.get(_MODEL_PRODUCER, [""])[-1:])[:64]


def _fields(message: memoryview, budget: _Budget) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field; the content of fixed-size numbers does not matter here."""
    position, size = 0, len(message)
    while position < size:
        budget.spend()
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field without a number")
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(message, position)
            if position + length > size:
                raise ValueError("ends in the middle of a field")
            yield number, message[position : position + length]
            position += length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
            if position > size:
                raise ValueError("ends in the middle of a number")
        else:
            raise ValueError(f"a field of unknown kind {wire}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number that does not end")
