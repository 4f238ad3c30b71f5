"""JSON from a folder that is not trusted: bounded in size, and read without recursion."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditkit.errors import CheckpointError

LIMIT_B = 64 * 2**20
"""Tokenizers of large vocabularies take about 20 MiB."""

MOST_DEPTH = 100

_AGAIN = "copy or save the file again"


def read_json(path: Path) -> Any:
    """The content of a file.

    Raises:
        CheckpointError: Absent, larger than 64 MiB, nested deeper than 100, not UTF-8, or not JSON.
    """
    try:
        if path.stat().st_size > LIMIT_B:
            raise CheckpointError(f"{path}: larger than {LIMIT_B >> 20} MiB; {_AGAIN}")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise CheckpointError(f"{path}: nested too deeply; {_AGAIN}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error}); {_AGAIN}") from None
    if any(len(keys) > MOST_DEPTH for keys, _ in entries(content)):
        raise CheckpointError(f"{path}: nested deeper than {MOST_DEPTH}; {_AGAIN}")
    return content


def entries(content: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value at any depth with the keys that lead to it; positions in lists are keys too."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while waiting:
        keys, value = waiting.pop()
        if keys:
            yield keys, value
        if isinstance(value, dict):
            waiting += [((*keys, str(key)), below) for key, below in value.items()]
        elif isinstance(value, list) and len(keys) <= MOST_DEPTH:
            waiting += [((*keys, str(index)), below) for index, below in enumerate(value)]
