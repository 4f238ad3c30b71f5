"""The two random draws of DP-SGD: which rows are in a step, and the noise.

Sampling and noise are separate streams (see :mod:`key_stream`). ``SeededDraws`` repeats: whoever knows the
seed can subtract the noise, so nothing is guaranteed against them. The keys of ``EntropyDraws`` come from the
operating system; no seed exists that would give them back.

**Floating point.** The values a float can take differ in their gaps, and noise added in floating point
leaves traces of the value beneath in its lowest bits (Mironov 2012, CCS, "On significance of the least
significant bits for differential privacy").
``EntropyDraws`` hinders that with a grid: clipped sum and noise, the latter in double precision, are rounded
to multiples of one power of two, about 2^-36 of the noise's deviation, and added as whole numbers. For sums
on the grid this equals the rounding of sum plus noise, which is post-processing of the Gaussian mechanism;
whatever the sum, the same values can come out. Rounding the sums moves two neighbouring ones apart by at most
sqrt(p) grid steps for p parameters, below a millionth of the noise's deviation for a billion of them.

What is left: the chances of the grid's points are those of a normal value made from 53 bits in double
precision, and zero beyond 8.6 deviations; the sums themselves are accumulated in single precision; the time
that a step takes is not hidden. A proof without these remainders needs integer gradients and discrete noise
(Canonne, Kamath and Steinke 2020, arXiv:2004.00010). ``SeededDraws`` adds single precision noise without a
grid: it guarantees nothing anyway.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.privacy.key_stream import BLOCK, KeyStream, Scratch

_GRID_BITS = 36


class Draws(Protocol):
    """The randomness of the mechanism."""

    @property
    def certified(self) -> bool:
        """Whether nothing repeats it, and noise is put on a grid."""
        ...

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """The rows of one step: each of ``n_rows`` independently with probability ``sample_rate``."""
        ...

    def normal(self, size: int) -> FloatArray:
        """Independent standard normal values in double precision, shape ``(size,)``."""
        ...

    def fill_with_noise(self, values: Any, deviation: float) -> None:
        """Fill a one-dimensional array with noise."""
        ...

    def start_noise(self, values: Any, deviation: float) -> "Running":
        """Begin to fill a one-dimensional array with noise, in one other thread."""
        ...

    def add_noise(self, values: Any, deviation: float, divisor: float) -> None:
        """``(values + noise) / divisor`` in place, on a grid."""
        ...

    def position(self) -> dict[str, Any]:
        """Where both streams stand, as JSON; with it, and nothing else, they go on. A secret."""
        ...

    def move_to(self, position: dict[str, Any]) -> None:
        """Go on from a :meth:`position`."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """Work that another thread does."""

    work: Future[None]

    def wait(self) -> None:
        """Until it is done; raises what it raised."""
        self.work.result()


@dataclass(slots=True)
class _KeyedDraws:
    """Draws from two key streams."""

    sampling: KeyStream
    noise: KeyStream
    _scratch: threading.local = field(default_factory=threading.local, init=False, repr=False)
    _threads: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """See :class:`Draws`."""
        return self.sampling.chosen(n_rows, sample_rate)

    def normal(self, size: int) -> FloatArray:
        """See :class:`Draws`."""
        values = np.empty(size)
        self.fill_with_noise(values, 1.0)
        return values

    def fill_with_noise(self, values: Any, deviation: float) -> None:
        """See :class:`Draws`."""
        self._in_threads(self._noise_of_call(deviation), values, values.dtype)

    def start_noise(self, values: Any, deviation: float) -> Running:
        """See :class:`Draws`."""
        make, blocks = self._noise_of_call(deviation), list(enumerate(_blocks(values)))
        return Running(self._pool().submit(self._run, make, blocks, values.dtype))

    def _noise_of_call(self, deviation: float) -> Callable[[int, Any, Scratch], None]:
        call = self.noise.next_call()

        def fill(index: int, part: Any, scratch: Scratch) -> None:
            self.noise.normal_block(call, index, part, deviation, scratch)

        return fill

    def add_noise(self, values: Any, deviation: float, divisor: float) -> None:
        """See :class:`Draws`."""
        call, grid = self.noise.next_call(), 2.0 ** (np.floor(np.log2(deviation)) - _GRID_BITS)

        def add(index: int, part: Any, scratch: Scratch) -> None:
            noise = scratch.values[: len(part)]
            self.noise.normal_block(call, index, noise, deviation / grid, scratch)
            np.rint(noise, out=noise)
            total = np.divide(part, grid, out=scratch.sums[: len(part)])
            noise += np.rint(total, out=total)
            np.multiply(noise, grid / divisor, out=part, casting="same_kind")

        self._in_threads(add, values, np.float64)

    def position(self) -> dict[str, Any]:
        """See :class:`Draws`."""
        return {
            name: {"key": stream.key.hex(), "calls": stream.calls}
            for name, stream in (("sampling", self.sampling), ("noise", self.noise))
        }

    def move_to(self, position: dict[str, Any]) -> None:
        """See :class:`Draws`."""
        for name, stream in (("sampling", self.sampling), ("noise", self.noise)):
            stream.key, stream.calls = bytes.fromhex(position[name]["key"]), int(position[name]["calls"])

    def _in_threads(self, work: Callable[[int, Any, Scratch], None], values: Any, dtype: Any) -> None:
        """``work`` on every block of ``values``, spread over as many threads as torch has."""
        n_threads, blocks = torch.get_num_threads(), list(enumerate(_blocks(values)))
        if n_threads == 1 or len(blocks) == 1:
            self._run(work, blocks, dtype)
            return
        spread = [blocks[first::n_threads] for first in range(min(n_threads, len(blocks)))]
        for part in [self._pool().submit(self._run, work, own, dtype) for own in spread]:
            part.result()

    def _run(
        self, work: Callable[[int, Any, Scratch], None], blocks: list[tuple[int, Any]], dtype: Any
    ) -> None:
        scratch = self._scratch_of_thread(dtype)
        for index, part in blocks:
            work(index, part, scratch)

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="noise")
        return self._threads

    def _scratch_of_thread(self, dtype: Any) -> Scratch:
        kept: dict[str, Scratch] = self._scratch.__dict__
        name = np.dtype(dtype).name
        if name not in kept:
            kept[name] = Scratch(dtype)
        return kept[name]


def _blocks(values: Any) -> list[Any]:
    return [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]


class SeededDraws(_KeyedDraws):
    """Draws that the same seed repeats."""

    certified = False

    @classmethod
    def from_seed(cls, seed: int) -> "SeededDraws":
        """The streams of ``seed``."""
        return cls(KeyStream.from_seed(seed, "sampling"), KeyStream.from_seed(seed, "noise"))


class EntropyDraws(_KeyedDraws):
    """Draws that nothing repeats but their own position, which is secret."""

    certified = True

    def __init__(self) -> None:
        super().__init__(KeyStream.from_entropy(), KeyStream.from_entropy())
