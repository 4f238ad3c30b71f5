"""Run as a program of its own: load an exported program, run it once on zeros, and say what came out.

It is started by path in a process with an empty environment, and imports nothing of this package. Limits of
memory, time and files make a crash or a loop harmless. They mitigate; they are no sandbox.
"""

import json
import sys
from pathlib import Path

import torch

if sys.platform != "win32":
    import resource

MEMORY_B = 4 * 2**30
"""Address space beyond that which torch reserves when it is imported, and eight times the file."""

RESERVED_B = 20 * 2**30
"""What torch reserves, where the system does not tell."""

WRITTEN_B = 2**20
"""Of any file; torch tries out its folder for temporary ones."""


def reserved_b() -> int:
    """Address space of this process now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return RESERVED_B
    return pages * resource.getpagesize()


def limit(time_s: int, file_b: int) -> None:
    """Take from this process what loading a model does not need; does nothing where there are no limits."""
    if sys.platform == "win32":
        return
    wanted = {
        resource.RLIMIT_CPU: time_s,
        resource.RLIMIT_AS: reserved_b() + MEMORY_B + 8 * file_b,
        resource.RLIMIT_FSIZE: WRITTEN_B,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def main(path: str, shape: str, dtype: str, time_s: str, file_b: str) -> None:
    """Print the shape of the output as JSON."""
    limit(int(time_s), int(file_b))
    program = torch.export.load(path)
    inputs = torch.zeros(json.loads(shape), dtype=getattr(torch, dtype))
    with torch.no_grad():
        output = program.module()(inputs)
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"the program gives {type(output).__name__}, expected one tensor of logits")
    print(json.dumps({"shape": list(output.shape)}))  # noqa: T201 - the answer to the parent process


if __name__ == "__main__":
    main(*sys.argv[1:])
