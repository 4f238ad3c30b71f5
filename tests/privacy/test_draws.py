"""The random draws of the mechanism have the distribution that the accounting assumes."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest, norm

from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.key_stream import BLOCK, Ciphers, KeyStream, Scratch, _radii
from benchmarks.secure_draws import index_sets_p_value, noise_p_value, rows_p_value

ALMOST_NEVER = 1e-9
"""Operating-system entropy cannot be seeded: chance of a false alarm of each test. The bar of 0.01 is held by
the figures of ``benchmarks/secure_draws``, which say what they do about one in a hundred."""


def draws_of(kind: str):
    return EntropyDraws() if kind == "entropy" else SeededDraws.from_seed(3)


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_every_row_is_in_a_step_with_the_sampling_rate_independently(kind):
    n_rows, rate, steps = 200, 0.1, 500
    draws = draws_of(kind)
    chosen = [draws.poisson_rows(n_rows, rate) for _ in range(steps)]
    per_row = np.bincount(np.concatenate(chosen), minlength=n_rows)
    per_step = np.array([len(rows) for rows in chosen])
    tail = ALMOST_NEVER / n_rows
    assert binom.cdf(per_row.min(), steps, rate) > tail
    assert binom.sf(per_row.max() - 1, steps, rate) > tail
    # the sizes of the batches vary as Poisson sampling makes them, not as fixed-size batches would
    spread = per_step.var() / (n_rows * rate * (1 - rate))
    assert abs(spread - 1) < 6.2 * np.sqrt(2 / steps)


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_every_set_of_rows_is_drawn_as_often_as_independent_rows_are(kind):
    assert index_sets_p_value(draws_of(kind), n_rows=4, sample_rate=0.3, steps=5000) > ALMOST_NEVER


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_rows_are_in_as_many_steps_as_independent_draws_put_them(kind):
    assert rows_p_value(draws_of(kind), n_rows=500, sample_rate=0.05, steps=1000) > ALMOST_NEVER


class Batches(SeededDraws):
    """As many rows in every step, as loaders without Poisson sampling have it."""

    def poisson_rows(self, n_rows: int, sample_rate: float):
        words = self.sampling._words(self.sampling.next_call(), 0, np.empty(n_rows, np.uint64), Ciphers())
        return np.sort(words.argsort()[: round(n_rows * sample_rate)])


class Turns(SeededDraws):
    """Row after row, each in its turn, as shuffled epochs have it."""

    def poisson_rows(self, n_rows: int, sample_rate: float):
        every = round(1 / sample_rate)
        return np.arange(self.sampling.next_call() % every, n_rows, every)


def test_batches_of_one_size_are_no_independent_rows():
    assert index_sets_p_value(Batches.from_seed(3), n_rows=4, sample_rate=0.25, steps=5000) < ALMOST_NEVER


def test_rows_in_turn_are_as_often_in_a_step_as_no_chance_has_it():
    steady = rows_p_value(Turns.from_seed(3), n_rows=500, sample_rate=0.05, steps=1000)
    assert steady > 1 - ALMOST_NEVER
    assert index_sets_p_value(Turns.from_seed(3), n_rows=4, sample_rate=0.25, steps=5000) < ALMOST_NEVER


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_noise_is_standard_normal(kind):
    values = draws_of(kind).normal(100_000)
    assert values.dtype == np.float64
    assert kstest(values, "norm").pvalue > ALMOST_NEVER
    assert abs(values.std() - 1) < 6.2 / np.sqrt(2 * len(values))


def test_all_rows_and_no_row_are_possible():
    for draws in (EntropyDraws(), SeededDraws.from_seed(0)):
        assert draws.poisson_rows(50, 1.0).tolist() == list(range(50))
        assert draws.poisson_rows(50, 1e-12).tolist() == []
        assert draws.normal(0).shape == (0,)


def test_a_seed_repeats_and_entropy_does_not():
    first, again = SeededDraws.from_seed(5), SeededDraws.from_seed(5)
    assert np.array_equal(first.normal(10), again.normal(10))
    assert np.array_equal(first.poisson_rows(100, 0.5), again.poisson_rows(100, 0.5))
    assert not np.array_equal(SeededDraws.from_seed(6).normal(10), SeededDraws.from_seed(5).normal(10))
    assert not np.array_equal(EntropyDraws().normal(10), EntropyDraws().normal(10))


def test_noise_does_not_depend_on_how_many_rows_were_drawn():
    one, other = SeededDraws.from_seed(5), SeededDraws.from_seed(5)
    one.poisson_rows(1000, 0.1)
    assert np.array_equal(one.normal(10), other.normal(10))


# --- the streams -----------------------------------------------------------------------------------


def in_threads(n_threads: int, make):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        return make()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_noise_does_not_depend_on_the_number_of_threads(kind):
    def make():
        values = np.empty(3 * BLOCK + 7, dtype=kind)
        SeededDraws.from_seed(1).fill_with_noise(values, 2.0)
        return values

    assert np.array_equal(in_threads(1, make), in_threads(3, make))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_block_and_every_call_has_values_of_its_own(kind):
    draws, values = SeededDraws.from_seed(1), np.empty((2, 2 * BLOCK), dtype=kind)
    for call in values:
        draws.fill_with_noise(call, 1.0)
    halves = values.reshape(8, -1)
    assert len(np.unique(halves[:, 0])) == 8
    correlations = np.corrcoef(halves.astype(np.float64)) - np.eye(8)
    assert abs(correlations).max() < 6 / np.sqrt(halves.shape[1])


def test_a_key_stream_is_aes_in_counter_mode():
    # NIST SP 800-38A, F.5.5: the key and the counter of CTR-AES256, whose key stream is its output block
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    words = np.empty(2, dtype=np.uint64)
    KeyStream(key)._words(counter >> 64, 16 * (counter & (1 << 64) - 1), words, Ciphers())
    assert words.tobytes().hex() == "0bdf7df1591716335e9a8b15c860c502"


def test_draws_go_on_from_a_position():
    for draws in (SeededDraws.from_seed(5), EntropyDraws()):
        draws.poisson_rows(100, 0.5)
        draws.normal(10)
        position = json.loads(json.dumps(draws.position()))
        expected = draws.poisson_rows(100, 0.5), draws.normal(10)
        other = EntropyDraws()
        other.move_to(position)
        assert np.array_equal(other.poisson_rows(100, 0.5), expected[0])
        assert np.array_equal(other.normal(10), expected[1])


def test_keys_are_not_printed():
    stream = KeyStream.from_entropy()
    assert stream.key.hex() not in repr(stream)
    assert repr(stream.key) not in repr(EntropyDraws())


def test_certified_noise_is_added_on_a_grid():
    sums = np.linspace(-3, 3, 1000, dtype=np.float64)
    values = sums.copy()
    draws = EntropyDraws()
    draws.add_noise(values, 0.7, 1.0)
    grid = 2.0 ** (np.floor(np.log2(0.7)) - 36)
    assert np.array_equal(values / grid, np.rint(values / grid))
    assert kstest((values - sums) / 0.7, "norm").pvalue > ALMOST_NEVER


def test_sums_on_the_grid_come_out_as_the_rounding_of_sum_plus_noise():
    grid = 2.0 ** (-1 - 36)
    values = np.arange(1000) * grid * 12345
    found, noise = values.copy(), np.zeros(1000)
    one, other = SeededDraws.from_seed(1), SeededDraws.from_seed(1)
    one.add_noise(found, 0.7, 1.0)
    other.add_noise(noise, 0.7, 1.0)
    assert np.array_equal(found, values + noise)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_radii_reach_as_far_as_their_bits(kind):
    scratch = Scratch(kind)
    words = np.array([0, 1, 2, np.iinfo(scratch.words.dtype).max], dtype=scratch.words.dtype)
    radius = np.empty(4, dtype=kind)
    _radii(words, radius, 1.0)
    reach = {np.float32: np.sqrt(2 * 33 * np.log(2)), np.float64: np.sqrt(2 * 54 * np.log(2))}[kind]
    assert radius[0] == pytest.approx(reach, rel=1e-6)
    assert np.all(np.isfinite(radius))
    assert 0 <= radius[-1] < 1e-3


@pytest.mark.proof
def test_ten_million_certified_values_on_a_grid_are_normal():
    assert noise_p_value(EntropyDraws(), 10_000_000) > ALMOST_NEVER


@pytest.mark.proof
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_ten_million_seeded_values_are_normal(kind):
    values = np.empty(10_000_000, dtype=kind)
    SeededDraws.from_seed(11).fill_with_noise(values, 1.0)
    assert kstest(values, "norm").pvalue > 0.01
    for bound in (3.0, 4.0, 5.0):
        expected = 2 * norm.sf(bound) * len(values)
        assert abs((abs(values) > bound).sum() - expected) < 4 * np.sqrt(expected) + 1
