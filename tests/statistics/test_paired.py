import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.intervals import critical_value
from auditkit.statistics.paired import tango, tango_bounds
from tests.statistics import reference
from tests.tolerances import FLOAT, statistical


def test_the_change_of_unchanged_rows_is_bounded_in_closed_form():
    found = tango(0, 0, 44)
    z2 = critical_value(0.95) ** 2
    assert (found.low, found.high) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), **FLOAT)


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 1, 44), (3, 9, 20), (5, 5, 100), (0, 4, 12)])
def test_the_score_statistic_reaches_its_critical_value_at_both_ends(gained, lost, n):
    found = tango(gained, lost, n)
    assert reference.tango_score(gained, lost, n, found.low) == pytest.approx(critical_value(0.95), abs=1e-5)
    assert reference.tango_score(gained, lost, n, found.high) == pytest.approx(
        -critical_value(0.95), abs=1e-5
    )


def test_swapping_gain_and_loss_mirrors_the_interval():
    one, other = tango(7, 2, 30), tango(2, 7, 30)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), **FLOAT)


def test_the_figure_lies_inside_also_when_every_row_changed():
    found = tango(10, 0, 10)
    assert found.low < 1.0 == found.high


def test_no_rows_are_undefined():
    assert np.isnan(tango_bounds([0], [0], [0])).all()


def test_more_changes_than_rows_are_refused():
    with pytest.raises(DataError, match="got 6 gained and 5 lost of 10"):
        tango(6, 5, 10)


@pytest.mark.parametrize(("p_gain", "p_loss", "n"), [(0.1, 0.1, 40), (0.05, 0.2, 60), (0.02, 0.01, 200)])
def test_changes_are_covered(p_gain, p_loss, n):
    rng = np.random.default_rng(5)
    runs = 3000
    draws = rng.multinomial(n, [p_gain, p_loss, 1 - p_gain - p_loss], size=runs)
    low, high = tango_bounds(draws[:, 0], draws[:, 1], n)
    change = p_gain - p_loss
    assert np.mean((low <= change) & (change <= high)) > 0.94 - statistical(runs, p=0.05)
