"""Random choices and normal values from a key, each made where it lies in the stream.

The stream is AES-256 in counter mode (NIST SP 800-38A): whoever lacks the key cannot tell it from random
bits, and any part of it can be made alone. Normal values come from it by the transform of Box and Muller
(1958, Annals of Mathematical Statistics 29), block by block: how many threads make them changes nothing.
"""

import hashlib
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from auditkit.data.dataset import IntArray

BLOCK = 1 << 17
"""Normal values made at a time: few enough for a core's cache, many enough that threads seldom wait."""

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
        words = self._words(call, 0, np.empty(n, dtype=np.uint64), Ciphers())
        return np.flatnonzero(words < np.uint64(threshold))

    def normal_block(self, call: int, index: int, out: Any, scale: float, scratch: "Scratch") -> None:
        """Fill ``out`` with block ``index`` of a call's normal values, times ``scale``.

        Args:
            call: From :meth:`next_call`.
            index: Of the block.
            out: At most ``BLOCK`` values. In double precision radii come from 53 bits and reach 8.6
                deviations, in single precision from 32 bits and reach 6.7; what lies beyond has a chance of
                2^-54 and 2^-33.
            scale: Standard deviation.
            scratch: Of the precision of ``out``; not used by another thread meanwhile.
        """
        half = (len(out) + 1) // 2
        start_byte = scratch.words.itemsize * BLOCK * index
        words = self._words(call, start_byte, scratch.words[: 2 * half], scratch.ciphers)
        radius, angle, curve = (part[:half] for part in (scratch.radius, scratch.angle, scratch.curve))
        _radii(words[:half], radius, scale)
        _angles(words[half:], angle)
        _cosine(angle, curve)
        np.multiply(radius, curve, out=out[:half])
        _sine(angle)
        rest = len(out) - half
        np.multiply(radius[:rest], angle[:rest], out=out[half:])

    def _words(self, call: int, start_byte: int, words: Any, ciphers: "Ciphers") -> Any:
        """Fill ``words`` from a place of a call's part of the stream, a multiple of 16 bytes."""
        counter = (call << 64) + start_byte // _CIPHER_BYTES
        if words.nbytes:
            encryptor = ciphers.at(self.key, counter.to_bytes(_CIPHER_BYTES, "big"))
            encryptor.update_into(_zeros(words.nbytes), words.view(np.uint8))
        return words


@lru_cache(maxsize=4)
def _zeros(n: int) -> bytes:
    """What is enciphered: the result is the key stream itself. Few lengths occur."""
    return bytes(n)


class Ciphers:
    """The cipher of the last key, set up once: that takes as long as enciphering 100,000 bytes."""

    def __init__(self) -> None:
        self._key = b""
        self._encryptor: Any = None

    def at(self, key: bytes, counter: bytes) -> Any:
        """An encryptor of ``key`` that begins at ``counter``."""
        if key != self._key:
            self._encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
            self._key = key
        else:
            self._encryptor.reset_nonce(counter)
        return self._encryptor


class Scratch:
    """Room to make one block of normal values in, used again for the next; of one thread.

    Args:
        dtype: Of the values, single or double precision.
    """

    def __init__(self, dtype: Any) -> None:
        self.ciphers = Ciphers()
        self.words = np.empty(BLOCK, dtype=f"u{np.dtype(dtype).itemsize}")
        self.radius, self.angle, self.curve = np.empty((3, BLOCK // 2), dtype=dtype)
        self.values, self.sums = np.empty((2, BLOCK), dtype=dtype)


def _radii(words: Any, radius: Any, scale: float) -> None:
    """``scale * sqrt(-2 log u)``; u is uniform, above zero and at most one, also when it is rounded."""
    kind = radius.dtype.type
    bits = 32 if words.itemsize == 4 else 53
    if bits == 53:
        words >>= np.uint64(11)
    np.multiply(words, kind(2.0**-bits), out=radius, dtype=kind, casting="unsafe")
    radius += kind(2.0 ** -(bits + 1))
    np.log(radius, out=radius)
    radius *= kind(-2 * scale * scale)
    np.sqrt(radius, out=radius)


def _angles(words: Any, angle: Any) -> None:
    """Uniform between minus and plus pi."""
    kind = angle.dtype.type
    signed = words.view(np.int32 if words.itemsize == 4 else np.int64)
    factor = kind(np.pi * 2.0 ** (1 - 8 * words.itemsize))
    np.multiply(signed, factor, out=angle, dtype=kind, casting="unsafe")


# NumPy has no vectorised double precision sine and cosine. torch has, but spreads even short arrays over its
# threads, which the rows are worked on with meanwhile.
def _cosine(angle: Any, out: Any) -> None:
    if angle.dtype == np.float64:
        torch.cos(torch.from_numpy(angle), out=torch.from_numpy(out))
    else:
        np.cos(angle, out=out)


def _sine(angle: Any) -> None:
    if angle.dtype == np.float64:
        torch.from_numpy(angle).sin_()
    else:
        np.sin(angle, out=angle)
