"""Streams depend on seed and name alone; the global generators are left as they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.randomness import derive_seed, global_generators_seeded, numpy_rng, torch_rng
from tests.core.probes import draw_from_globals, state_of_process

NAMES = st.lists(st.text(max_size=6), max_size=3)


def test_a_stream_gives_the_same_numbers_again():
    assert numpy_rng(7, "a").random(5).tolist() == numpy_rng(7, "a").random(5).tolist()
    assert torch.equal(torch.rand(5, generator=torch_rng(7, "a")), torch.rand(5, generator=torch_rng(7, "a")))


def test_asking_for_another_stream_first_changes_nothing():
    numpy_rng(7, "b").random(100)
    first = numpy_rng(7, "a").random()
    assert first == numpy_rng(7, "a").random()


@settings(derandomize=True, max_examples=100, deadline=None)
@given(NAMES, NAMES, st.integers(0, 2**64), st.integers(0, 2**64))
def test_different_names_or_seeds_give_different_streams(one, other, seed, other_seed):
    same = derive_seed(seed, *one) == derive_seed(other_seed, *other)
    joined = "\x1f".join(map(str, [seed, *one])), "\x1f".join(map(str, [other_seed, *other]))
    assert same == (joined[0] == joined[1])


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.integers(), NAMES)
def test_a_seed_fits_63_bits(seed, names):
    assert 0 <= derive_seed(seed, *names) < 2**63


def test_the_seed_of_a_name_never_changes_between_versions():
    """The first 63 bits of the sha256 of ``7``, a unit separator and the name, from another tool."""
    assert derive_seed(7, "performance") == 6163995862592618597


def test_the_block_gives_third_party_engines_the_same_draws():
    draws = []
    for _ in range(2):
        with global_generators_seeded(3):
            draws.append(draw_from_globals())
    assert draws[0] == draws[1]


@pytest.mark.parametrize("raises", [False, True])
def test_the_block_leaves_the_global_generators_as_they_were(raises):
    before = state_of_process()
    try:
        with global_generators_seeded(3):
            draw_from_globals()
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert state_of_process() == before


def test_seeds_beyond_32_bits_are_accepted():
    with global_generators_seeded(derive_seed(1, "x")):
        assert torch.rand(1).shape == (1,)
