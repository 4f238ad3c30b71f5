"""The fewest wrong labels that close a gap, against counting up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.statistics.comparisons import newcombe_difference
from auditkit.statistics.counts import METRICS
from auditkit.statistics.label_flips import Flips, fewest_flips

FLIPS = {0: 2, 1: 3, 2: 0, 3: 1}


def shown(higher, lower, metric):
    numerator, denominator = np.array(metric.numerator), np.array(metric.denominator)
    sizes = higher @ denominator, lower @ denominator
    if not all(sizes):
        return True
    interval = newcombe_difference(higher @ numerator, sizes[0], lower @ numerator, sizes[1])
    return interval.low > 0


def by_counting(higher, lower, metric):
    best = None
    for side in ("higher", "lower"):
        for source, target in FLIPS.items():
            pair = {"higher": higher.copy(), "lower": lower.copy()}
            for k in range(int(pair[side][source]) + 1):
                if not shown(pair["higher"], pair["lower"], metric):
                    best = k if best is None else min(best, k)
                    break
                pair[side][source] -= 1
                pair[side][target] += 1
    return best


cells = st.lists(st.integers(0, 25), min_size=4, max_size=4).map(lambda four: np.array([*four, 0]))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    cells,
    cells,
    st.sampled_from(
        ["true_positive_rate", "false_positive_rate", "accuracy", "positive_predictive_value", "base_rate"]
    ),
)
def test_halving_finds_what_counting_finds(first, second, name):
    metric = METRICS[name]
    if not shown(first, second, metric):
        return
    found = fewest_flips(first, second, metric)
    expected = by_counting(first, second, metric)
    assert (None if found is None else found.count) == expected


def moved(k):
    return np.array([0, k, 0, -k, 0])


def test_the_count_closes_the_gap_and_one_label_fewer_does_not():
    # 90 of 100 against 60 of 100 positives found; nobody else is selected. To call some of the other 100 rows
    # of the higher group positive, and so missed, takes fewer labels than to drop missed ones of the lower.
    higher, lower, metric = (
        np.array([90, 10, 0, 100, 0]),
        np.array([60, 40, 0, 100, 0]),
        METRICS["true_positive_rate"],
    )
    found = fewest_flips(higher, lower, metric)
    assert found == Flips(found.count, "higher", was_positive=False, predicted_positive=False)
    assert not shown(higher + moved(found.count), lower, metric)
    assert shown(higher + moved(found.count - 1), lower, metric)


@pytest.mark.parametrize("name", ["selection_rate"])
def test_a_rate_without_labels_cannot_be_closed(name):
    higher, lower = np.array([50, 10, 30, 10, 0]), np.array([20, 30, 10, 40, 0])
    assert fewest_flips(higher, lower, METRICS[name]) is None
