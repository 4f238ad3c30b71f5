"""Information of one column about another: scikit-learn, closed forms, false findings."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import mutual_info_score

from auditkit.errors import DataError
from auditkit.statistics.mutual_information import log_p_of_independence, step_down, uncertainty_removed
from tests.tolerances import FLOAT, statistical


def table(rows, columns):
    found = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(found, (rows, columns), 1)
    return found


def test_uncertainty_removed_is_information_over_entropy_less_its_bias():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, 2000)
    columns = (rows + rng.integers(0, 3, 2000)) % 4
    shares = np.bincount(columns) / 2000
    entropy = -(shares * np.log(shares)).sum()
    expected = (mutual_info_score(rows, columns) - 3 * 3 / (2 * 2000)) / entropy
    assert uncertainty_removed(table(rows, columns)) == pytest.approx(expected, **FLOAT)


def test_a_copy_removes_everything_and_a_coin_nothing():
    assert uncertainty_removed(np.diag([1e6, 2e6])) == pytest.approx(1.0, abs=1e-5)
    assert uncertainty_removed(np.full((2, 3), 100.0)) == 0.0
    assert uncertainty_removed([[5.0], [7.0]]) == 0.0


def test_independent_columns_have_no_information_on_average_before_it_is_cut_at_zero():
    rng = np.random.default_rng(1)
    found = [uncertainty_removed(table(rng.integers(0, 8, 400), rng.integers(0, 3, 400))) for _ in range(200)]
    biased = 7 * 2 / (2 * 400) / np.log(3)
    assert np.mean(found) < biased / 3


def test_p_is_that_of_scipys_likelihood_ratio():
    rng = np.random.default_rng(2)
    counts = rng.integers(3, 40, (3, 4)).astype(float)
    expected = chi2_contingency(counts, lambda_="log-likelihood", correction=False).pvalue
    assert np.exp(log_p_of_independence(counts)) == pytest.approx(expected, **FLOAT)


def test_a_table_of_one_row_is_no_evidence():
    assert log_p_of_independence([[3.0, 4.0], [0.0, 0.0]]) == 0.0


def test_stepping_down_is_the_plain_algorithm():
    rng = np.random.default_rng(3)
    observed, draws = rng.normal(size=5), rng.normal(size=(99, 5))
    order, expected, largest = sorted(range(5), key=lambda j: observed[j]), {}, 0.0
    for place, j in enumerate(order):
        smallest = draws[:, order[place:]].min(axis=1)
        largest = max(largest, (1 + (smallest <= observed[j]).sum()) / 100)
        expected[j] = largest
    assert step_down(observed, draws).tolist() == pytest.approx([expected[j] for j in range(5)])


def test_no_feature_is_shown_by_accident_more_often_than_declared():
    rng, found = np.random.default_rng(4), 0
    for _ in range(400):
        draws = rng.normal(size=(40, 6)) + rng.normal(size=(40, 1))
        found += bool((step_down(draws[0], draws[1:]) <= 0.05).any())
    assert found / 400 < 0.05 + statistical(400, p=0.05)


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="table"):
        uncertainty_removed(np.zeros((2, 2)))
