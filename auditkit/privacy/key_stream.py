"""Random choices and normal values from a key, each made where it lies in the stream.

The stream is AES-256 in counter mode (NIST SP 800-38A): whoever lacks the key cannot tell it from random
bits, and any part of it can be made alone. Normal values come from it by the transform of Box and Muller
(1958, Annals of Mathematical Statistics 29), block by block: how many threads make them changes nothing.
"""

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from auditkit.data.dataset import IntArray

BLOCK = 1 << 15
"""Normal values made at a time: what it takes to make them stays within a core's cache."""

_CIPHER_BYTES = 16
_KEY_BYTES = 32


@dataclass(slots=True)
class KeyStream:
    """One stream. Every call has bits of its own: its number is the upper half of the counter.

    Attributes:
        key: 32 bytes. Whoever has it can repeat every draw.
        calls: Number of calls so far.
    """

    key: bytes = field(repr=False)
    calls: int = 0

    @classmethod
    def from_entropy(cls) -> "KeyStream":
        """A key from the operating system."""
        return cls(os.urandom(_KEY_BYTES))

    @classmethod
    def from_seed(cls, seed: int, name: str) -> "KeyStream":
        """A key that the seed and the name of the stream repeat."""
        return cls(hashlib.sha256(f"{seed}\x1fdp\x1f{name}".encode()).digest())

    def next_call(self) -> int:
        """The number of a new call."""
        self.calls += 1
        return self.calls

    def chosen(self, n: int, probability: float) -> IntArray:
        """Which of ``n``, each independently with ``probability``, rounded down to a multiple of 2^-64."""
        call, threshold = self.next_call(), int(probability * 2.0**64)
        if threshold >= 1 << 64:
            return np.arange(n)
        words = self._words(call, 0, np.empty(n, dtype=np.uint64))
        return np.flatnonzero(words < np.uint64(threshold))

    def normal_block(self, call: int, index: int, out: Any, scale: float = 1.0) -> None:
        """Fill ``out`` with block ``index`` of a call's normal values, times ``scale``.

        Args:
            call: From :meth:`next_call`.
            index: Of the block.
            out: At most ``BLOCK`` values. In double precision radii come from 53 bits and reach 8.6
                deviations, in single precision from 32 bits and reach 6.7; what lies beyond has a chance of
                2^-54 and 2^-33.
            scale: Standard deviation.
        """
        half = (len(out) + 1) // 2
        if out.dtype == np.float64:
            words = self._words(call, 8 * BLOCK * index, np.empty(2 * half, dtype=np.uint64))
            words[:half] >>= np.uint64(11)
            _box_muller(words[:half], words[half:].view(np.int64), out, scale, (53, 63))
        else:
            words = self._words(call, 4 * BLOCK * index, np.empty(2 * half, dtype=np.uint32))
            _box_muller(words[:half], words[half:].view(np.int32), out, scale, (32, 31))

    def _words(self, call: int, start_byte: int, words: Any) -> Any:
        """Fill ``words`` from a place of a call's part of the stream, a multiple of 16 bytes."""
        counter = (call << 64) + start_byte // _CIPHER_BYTES
        mode = modes.CTR(counter.to_bytes(_CIPHER_BYTES, "big"))
        encryptor = Cipher(algorithms.AES(self.key), mode).encryptor()
        if words.nbytes:
            encryptor.update_into(bytes(words.nbytes), words.view(np.uint8))
        return words


def _box_muller(radii: Any, angles: Any, out: Any, scale: float, bits: tuple[int, int]) -> None:
    """Two normal values from every pair of words; unsigned for the radius, signed for the angle."""
    kind, half = out.dtype.type, len(radii)
    radius = np.multiply(radii, kind(2.0 ** -bits[0]), dtype=kind, casting="unsafe")
    radius += kind(2.0 ** -(bits[0] + 1))
    np.log(radius, out=radius)
    # Rounding may put the logarithm of the largest words a little above zero.
    np.minimum(radius, kind(0), out=radius)
    radius *= kind(-2 * scale * scale)
    np.sqrt(radius, out=radius)
    angle = np.multiply(angles, kind(np.pi * 2.0 ** -bits[1]), dtype=kind, casting="unsafe")
    np.multiply(radius, np.cos(angle), out=out[:half])
    np.sin(angle, out=angle)
    rest = len(out) - half
    np.multiply(radius[:rest], angle[:rest], out=out[half:])
