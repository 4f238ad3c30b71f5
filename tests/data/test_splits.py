"""Which rows are held out."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.data.rows import texts
from auditkit.data.splits import held_out, held_out_by_class, subsample


@given(st.integers(2, 400), st.floats(0.01, 0.99), st.sampled_from(["file", "compas"]))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_the_share_is_exact_and_neither_side_is_empty(n, fraction, name):
    chosen = held_out(n, fraction, name=name)
    assert chosen.sum() == min(max(round(n * fraction), 1), n - 1)


def splitmix64(seed, step):
    """Output number ``step`` of the published generator, in plain integers."""
    mask = 2**64 - 1
    z = (seed + step * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_the_reference_generator_is_the_published_one():
    # First outputs for seed 1234567 of the reference implementation of Vigna (2015), splitmix64.c.
    assert [splitmix64(1234567, step) for step in (1, 2, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_rows_with_the_smallest_hashes_are_held_out():
    seed = int.from_bytes(hashlib.sha256(b"file").digest()[:8], "big")
    keys = [splitmix64(seed, row + 1) for row in range(50)]
    expected = sorted(sorted(range(50), key=keys.__getitem__)[:15])
    assert np.flatnonzero(held_out(50, 0.3, name="file")).tolist() == expected


def test_rows_of_one_person_fall_on_the_same_side():
    rng = np.random.default_rng(0)
    person = texts([f"p{i}" for i in rng.integers(0, 40, 300)])
    chosen = held_out(300, 0.3, name="file", person=person)
    sides = {key: set(chosen[person == key].tolist()) for key in set(person.tolist())}
    assert all(len(side) == 1 for side in sides.values())
    assert 0 < chosen.sum() < 300


def test_rows_without_a_person_are_persons_of_their_own():
    chosen = held_out(50, 0.5, name="file", person=texts([None] * 50))
    assert chosen.sum() == 25


def test_every_class_gives_its_share():
    labels = texts(["a"] * 100 + ["b"] * 20)
    chosen = held_out_by_class(labels, 0.3, name="digits")
    assert (chosen[:100].sum(), chosen[100:].sum()) == (30, 6)


@pytest.mark.parametrize(("n", "limit", "size"), [(10, 4, 4), (10, 10, 10), (10, 99, 10)])
def test_a_subsample_is_ordered_and_as_large_as_asked(n, limit, size):
    rows = subsample(n, limit, seed=3, name="limit")
    assert len(rows) == size
    assert np.array_equal(rows, np.unique(rows))


def test_another_seed_draws_another_subsample():
    draws = [subsample(1000, 20, seed=seed, name="limit").tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
