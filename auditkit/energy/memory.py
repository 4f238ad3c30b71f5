"""Peak memory of a block of work.

On Linux the kernel's own peak of the process can be reset, so that the peak of one block is known. Where
that is refused, only the peak since the start of the process is known, which bounds it from above.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

PROC_ROOT: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class MemoryPeak:
    """Peak resident memory of this process in bytes.

    Attributes:
        peak_b: Highest resident size inside the block, libraries and data included; ``None`` if unknown.
        growth_b: How far that is above the size at the start of the block; ``None`` if unknown.
        is_upper_bound: The peak could not be reset, so an earlier one may be what was read; the growth
            is then a lower bound.
    """

    peak_b: int | None
    growth_b: int | None
    is_upper_bound: bool


class PeakMeter:
    """Holds the peak of a finished block."""

    def __init__(self) -> None:
        self._peak: MemoryPeak | None = None

    @property
    def peak(self) -> MemoryPeak:
        """What was read at the end of the block.

        Raises:
            RuntimeError: The block is still running.
        """
        if self._peak is None:
            raise RuntimeError("the peak is known when the block has ended; read it after the with statement")
        return self._peak

    def _close(self, peak: MemoryPeak) -> None:
        self._peak = peak


@contextmanager
def peak_memory(proc_root: Path = PROC_ROOT) -> Iterator[PeakMeter]:
    """Watch the peak memory of the block; the meter is filled even when the block raises.

    Resetting the peak changes what ``ru_maxrss`` tells afterwards, and nothing else.
    """
    meter = PeakMeter()
    own = proc_root / "self"
    was_reset = _reset_peak(own)
    before_b = resident_b(proc_root) if was_reset else _lifetime_peak_b()
    try:
        yield meter
    finally:
        after_b = _status_b(own, "VmHWM") if was_reset else _lifetime_peak_b()
        growth_b = None if after_b is None or before_b is None else max(0, after_b - before_b)
        meter._close(MemoryPeak(after_b, growth_b, not was_reset))


def resident_b(proc_root: Path = PROC_ROOT) -> int | None:
    """Bytes of this process in main memory now; its highest so far where the system does not tell."""
    now_b = _status_b(proc_root / "self", "VmRSS")
    return _lifetime_peak_b() if now_b is None else now_b


@dataclass(frozen=True, slots=True)
class CudaPeak:
    """Peak memory of a GPU inside a block, in bytes, from torch's allocator.

    Attributes:
        allocated_b: Held by tensors.
        reserved_b: Held by the allocator, cache included.
    """

    allocated_b: int
    reserved_b: int


class CudaPeakMeter:
    """Holds the peak of a finished block."""

    def __init__(self) -> None:
        self._peak: CudaPeak | None = None

    @property
    def peak(self) -> CudaPeak:
        """What was read at the end of the block.

        Raises:
            RuntimeError: The block is still running.
        """
        if self._peak is None:
            raise RuntimeError("the peak is known when the block has ended; read it after the with statement")
        return self._peak

    def _close(self, peak: CudaPeak) -> None:
        self._peak = peak


@contextmanager
def cuda_peak_memory(device: torch.device) -> Iterator[CudaPeakMeter]:
    """Watch the peak memory of ``device`` inside the block."""
    meter = CudaPeakMeter()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        yield meter
    finally:
        torch.cuda.synchronize(device)
        allocated_b = torch.cuda.max_memory_allocated(device)
        meter._close(CudaPeak(allocated_b, torch.cuda.max_memory_reserved(device)))


def _reset_peak(own: Path) -> bool:
    try:
        (own / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return _status_b(own, "VmHWM") is not None


def _status_b(own: Path, field: str) -> int | None:
    try:
        lines = (own / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.startswith(f"{field}:")), [])
    return int(words[1]) * 1024 if len(words) == 3 and words[2] == "kB" else None


def _lifetime_peak_b() -> int | None:
    """Highest resident size since the process began; macOS counts bytes, other systems KiB."""
    try:
        import resource
    except ImportError:  # Windows has no such module
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
