import numpy as np
import pytest
from scipy.stats import false_discovery_control

from auditkit.errors import DataError
from auditkit.statistics.multiplicity import benjamini_hochberg, holm
from tests.tolerances import FLOAT, statistical


def test_holm_equals_a_worked_example():
    # Holm's steps by hand: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, never falling
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02], **FLOAT)


def test_benjamini_hochberg_equals_scipy():
    p = np.random.default_rng(0).uniform(size=40) ** 2
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p), **FLOAT)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjusted_values_keep_order_and_range(adjust):
    p = np.random.default_rng(1).uniform(size=30)
    adjusted = adjust(p)
    assert (adjusted >= p).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert adjust([]).tolist() == []


def test_true_nulls_are_rarely_rejected():
    rng, runs = np.random.default_rng(7), 2000
    p = rng.uniform(size=(runs, 20))
    slack = statistical(runs, p=0.05)
    assert np.mean([holm(row).min() <= 0.05 for row in p]) < 0.05 + slack
    assert np.mean([benjamini_hochberg(row).min() <= 0.05 for row in p]) < 0.05 + slack


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[0.5, 1.5], [-0.1], [np.nan], [[0.5]]])
def test_values_that_are_no_p_values_are_refused(adjust, p):
    with pytest.raises(DataError, match="p-values must be in"):
        adjust(p)
