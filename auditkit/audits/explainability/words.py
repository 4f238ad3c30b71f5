"""Which bytes of a text belong to one word."""

import re
from typing import Final

import numpy as np
from torch import Tensor

from auditkit.data.dataset import IntArray

FIRST_BYTE: Final = 2
"""The id of byte 0."""

_LETTERS_ALONE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Chinese characters, between which no space tells where a word ends: each stands for itself."""

_WORD: Final = re.compile(rf"\s*(?:[^\W{_LETTERS_ALONE}]+|\S)|\s+")


def word_numbers(ids: Tensor) -> IntArray:
    """The word of each byte, counted from 0, shape ``(n, length)``; padding continues the last word.

    A word takes the space before it along; punctuation marks are words of their own.

    Args:
        ids: Byte ``b`` as ``b + 2``, shape ``(n, length)``.
    """
    numbers = np.zeros(tuple(ids.shape), dtype=np.int64)
    for row, of_row in zip(ids.numpy(), numbers, strict=True):
        places = np.flatnonzero(row >= FIRST_BYTE)
        text = bytes((row[places] - FIRST_BYTE).astype(np.uint8)).decode(errors="surrogateescape")
        lengths = [len(word.encode(errors="surrogateescape")) for word in _WORD.findall(text)]
        of_row[places] = np.repeat(np.arange(len(lengths)), lengths)
    return numbers
