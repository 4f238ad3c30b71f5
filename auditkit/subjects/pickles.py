"""What a pickle would import when loaded, read from its instructions without executing any of them."""

import pickletools
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from auditkit.errors import CheckpointError

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_DTYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")

HARMLESS = frozenset(
    {
        "_codecs.encode",
        "builtins.set",
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_sparse_tensor",
        "torch.nn.parameter.Parameter",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        "torch.serialization._get_layout",
        "torch.Size",
        "torch.device",
        *(f"torch.{dtype}" for dtype in _DTYPES),
        *(f"torch{place}.{kind}Storage" for kind in _STORAGES for place in ("", ".cuda")),
    }
)
"""The imports of tensors in dictionaries: all of them are on the list of torch's ``weights_only`` loader."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first value of the format that ``torch.save`` wrote before version 1.6."""

_LEGACY_PICKLES = 5  # magic number, protocol, platform, object, storage keys; raw bytes follow
_TEXTS = (
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
)
_NUMBERS = ("LONG1", "LONG4", "LONG", "BININT", "BININT1", "BININT2", "INT")
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
_MEMBER_LIMIT_B = 64 * 2**20
_MOST_INSTRUCTIONS = 1_000_000
"""A state dict of ten thousand tensors has half of them."""

_DEEPEST = 16
"""Tuples within tuples, each fetched from the memo again: hashing one takes two to the power of its depth."""

_UNREADABLE = (
    *(ValueError, IndexError, KeyError, OverflowError, EOFError, MemoryError, RecursionError, OSError),
    *(NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile, struct.error),
)


@dataclass(frozen=True, slots=True)
class PickleListing:
    """What was found in a file.

    Attributes:
        imports: Dotted names that loading would import, sorted. Nothing was imported to find them.
        first_value: The first number of the first pickle; tells torch's legacy format.
        damage: Why reading stopped early, or ``None``.
        scripted: Whether it is an archive with TorchScript code.
    """

    imports: tuple[str, ...]
    first_value: int | None = None
    damage: str | None = None
    scripted: bool = False

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The imports that are not those of tensors in dictionaries."""
        return tuple(name for name in self.imports if name not in HARMLESS)


def read_data_only(source: Path | IO[bytes]) -> Any:
    """What a file of ``torch.save`` holds, as far as it is tensors in plain containers.

    Raises:
        CheckpointError: Damaged, or it holds more than that.
    """
    try:
        with warnings.catch_warnings():
            # Files of older versions make torch warn about its own storage classes.
            warnings.simplefilter("ignore")
            return torch.load(source, map_location="cpu", weights_only=True)  # noqa: TID251 - the one place, data only
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        where = f"{source}: " if isinstance(source, Path) else ""
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{where}truncated or damaged: {reason}; save or copy it again") from None


def list_pickle(source: Path | IO[bytes]) -> PickleListing:
    """List the imports of a file of pickles, one after the other, as torch's legacy format has them."""
    if not isinstance(source, Path):
        return _list_stream(source, _LEGACY_PICKLES)
    with source.open("rb") as stream:
        return _list_stream(stream, _LEGACY_PICKLES)


def list_archive(source: Path | IO[bytes]) -> PickleListing:
    """List the imports of every pickle in a zip archive."""
    names: set[str] = set()
    damage, scripted = None, False
    try:
        with zipfile.ZipFile(source) as archive:
            for member in archive.infolist():
                scripted = scripted or is_script([member.filename])
                if member.filename.endswith(".pkl"):
                    if member.file_size > _MEMBER_LIMIT_B:
                        raise ValueError(f"{member.filename} has {member.file_size} bytes")
                    with archive.open(member) as stream:
                        found = _list_stream(stream, 1)
                    names |= set(found.imports)
                    damage = damage or found.damage
    except _UNREADABLE as error:
        damage = str(error) or type(error).__name__
    return PickleListing(tuple(sorted(names)), None, damage, scripted)


def is_script(names: Iterable[str]) -> bool:
    """Whether members of these names make a TorchScript archive."""
    return any("/code/" in name or name.endswith("constants.pkl") for name in names)


def _list_stream(stream: IO[bytes], n_pickles: int) -> PickleListing:
    found = _Found()
    damage = None
    try:
        for _ in range(n_pickles):
            found.read(stream)
            if found.first_value != LEGACY_MAGIC:
                break
    except _UNREADABLE as error:
        damage = str(error) or type(error).__name__
    return PickleListing(tuple(sorted(found.names)), found.first_value, damage)


@dataclass(slots=True)
class _Found:
    """What the instructions read so far would import, and the first number among them."""

    names: set[str] = field(default_factory=set)
    first_value: int | None = None

    def read(self, stream: IO[bytes]) -> None:
        """Read one pickle.

        ``STACK_GLOBAL`` takes module and name from the stack: the last two texts pushed, directly or from
        the memo. A file that computes them in another way gets a wrong name here, and is refused by torch.
        """
        texts, nesting = _Texts(), _Nesting()
        for index, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if index > _MOST_INSTRUCTIONS:
                raise ValueError(f"more than {_MOST_INSTRUCTIONS} instructions")
            nesting.follow(opcode.name, argument)
            if opcode.name in ("GLOBAL", "INST"):
                # Protocol 2 writes the names of Python 2.
                name = str(argument).replace(" ", ".", 1)
                self.names.add(name.replace("__builtin__.", "builtins.", 1))
            elif opcode.name == "STACK_GLOBAL":
                self.names.add(".".join(texts.pushed[-2:]))
            elif opcode.name.startswith("EXT"):
                self.names.add(f"copyreg extension {argument}")
            elif opcode.name in _NUMBERS and self.first_value is None:
                self.first_value = int(argument or 0)
            else:
                texts.follow(opcode.name, argument)


@dataclass(slots=True)
class _Texts:
    """The texts that a pickle pushes, and its memo of them."""

    pushed: list[str] = field(default_factory=list)
    memo: dict[int, str] = field(default_factory=dict)

    def follow(self, opcode: str, argument: object) -> None:
        """Keep track of one instruction."""
        last = self.pushed[-1] if self.pushed else "?"
        if opcode in _TEXTS:
            text = argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)
            self.pushed.append(text)
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = last
        elif opcode in _PUTS and isinstance(argument, int):
            self.memo[argument] = last
        elif opcode in _GETS and isinstance(argument, int):
            self.pushed.append(self.memo.get(argument, "?"))


@dataclass(slots=True)
class _Nesting:
    """How deep tuples lie in tuples that were fetched from the memo again."""

    fetched: int = 0
    last: int = 0
    memo: dict[int, int] = field(default_factory=dict)

    def follow(self, opcode: str, argument: object) -> None:
        """Keep track of one instruction.

        Raises:
            ValueError: Deeper than any state dict.
        """
        if opcode in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"):
            self.last, self.fetched = self.fetched + 1, 0
            if self.last > _DEEPEST:
                raise ValueError("tuples nested deeper than in any state dict")
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = self.last
        elif opcode in _PUTS and isinstance(argument, int):
            self.memo[argument] = self.last
        elif opcode in _GETS and isinstance(argument, int):
            self.fetched = max(self.fetched, self.memo.get(argument, 0))
        elif opcode == "DUP":
            self.fetched = max(self.fetched, self.last)
        else:
            self.last = 0
