"""Peak memory of a block against an allocation of known size."""

import pytest
import torch

from auditkit.energy.memory import peak_memory, resident_b

SIZE_B = 200 * 1024 * 1024


def test_a_known_allocation_shows_as_growth():
    with peak_memory() as meter:
        block = torch.ones(SIZE_B // 8, dtype=torch.float64)
        del block
    peak = meter.peak
    if peak.is_upper_bound:
        pytest.skip("this system does not let the peak be reset")
    assert abs(peak.growth_b - SIZE_B) < 0.05 * SIZE_B
    assert peak.peak_b >= peak.growth_b


def test_the_peak_of_an_earlier_block_does_not_count():
    block = torch.ones(SIZE_B // 8, dtype=torch.float64)
    del block
    with peak_memory() as meter:
        pass
    if meter.peak.is_upper_bound:
        pytest.skip("this system does not let the peak be reset")
    assert meter.peak.growth_b < 0.05 * SIZE_B


def test_where_the_peak_cannot_be_reset_the_figure_is_an_upper_bound(tmp_path):
    with peak_memory(proc_root=tmp_path) as meter:
        pass
    assert meter.peak.is_upper_bound
    assert meter.peak.peak_b >= resident_b() * 0.5


def test_the_peak_is_known_when_the_block_raises():
    with pytest.raises(KeyError), peak_memory() as meter:
        raise KeyError("inside")
    assert meter.peak.peak_b > 0


def test_reading_before_the_end_is_refused():
    with peak_memory() as meter, pytest.raises(RuntimeError, match="after the with statement"):
        _ = meter.peak
