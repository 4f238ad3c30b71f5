"""Which rows are held out. A split depends on the rows alone, never on the seed of a run.

Otherwise another seed would move rows a checkpoint was trained on into the rows it is judged on.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from auditkit.data.dataset import BoolArray, IntArray
from auditkit.data.rows import ObjectArray
from auditkit.randomness import numpy_rng

Keys = npt.NDArray[np.uint64]


def held_out(n_rows: int, fraction: float, *, name: str, person: ObjectArray | None = None) -> BoolArray:
    """True for the rows of the test part: the ``fraction`` with the smallest hashes.

    Rows of one person fall on the same side. At least one row lies on each side when there are two.
    """
    if person is None:
        return _smallest(_hashes(n_rows, name), fraction)
    units, unit_of_row = np.unique(_unit_names(person), return_inverse=True)
    chosen = _smallest(
        np.array([_text_hash(f"{name}\x1f{unit}") for unit in units], dtype=np.uint64), fraction
    )
    return np.asarray(chosen[unit_of_row])


def held_out_by_class(labels: ObjectArray, fraction: float, *, name: str) -> BoolArray:
    """As :func:`held_out`, with the same share of every label."""
    keys = _hashes(len(labels), name)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in sorted(set(labels.tolist())):
        rows = np.flatnonzero(labels == label)
        chosen[rows] = _smallest(keys[rows], fraction)
    return chosen


def subsample(n_rows: int, limit: int, *, seed: int, name: str) -> IntArray:
    """``limit`` of ``n_rows`` row numbers in ascending order, all of them when there are no more."""
    if limit >= n_rows:
        return np.arange(n_rows, dtype=np.int64)
    chosen = numpy_rng(seed, "subsample", name).permutation(n_rows)[:limit]
    return np.sort(chosen).astype(np.int64)


def _smallest(keys: Keys, fraction: float) -> BoolArray:
    n = len(keys)
    count = min(max(round(n * fraction), 1), n - 1) if n > 1 else 0
    chosen = np.zeros(n, dtype=np.bool_)
    chosen[np.argsort(keys, kind="stable")[:count]] = True
    return chosen


def _hashes(n: int, name: str) -> Keys:
    """SplitMix64 of the row numbers (Steele, Lea and Flood 2014): the same on every machine and version."""
    with np.errstate(over="ignore"):
        keys = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(
            _text_hash(name)
        )
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(keys ^ (keys >> np.uint64(31)))


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _unit_names(person: ObjectArray) -> npt.NDArray[np.str_]:
    """One text per person; a row without one is a person of its own."""
    return np.array([f"row {row}" if key is None else f"person {key}" for row, key in enumerate(person)])
