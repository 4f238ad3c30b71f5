"""Which pieces of paths get more points, and how many."""

from itertools import product

import pytest
import torch

from auditkit.audits.explainability.straight_path.division import (
    AIMED_AT,
    MOST_TIMES,
    ByRow,
    OpenPieces,
    divide_at_least_cost,
    halve_the_largest,
    left_after,
)
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.straight_path.stretches import (
    MOST_POINTS_EACH,
    WIDEST,
    divided,
    first_stretches,
    paths_of,
)
from tests.audits.paths import normal

PLANS = [halve_the_largest, divide_at_least_cost]


def pieces(*shares, row=None, points=2, room=1.0, affordable=1000):
    row = torch.tensor(row or [0] * len(shares))
    n_rows = int(row.max()) + 1
    return OpenPieces(
        row=row,
        shares=torch.tensor(shares, dtype=torch.float64),
        points=torch.full((len(shares),), points),
        room=torch.full((n_rows,), room, dtype=torch.float64),
        affordable=torch.full((n_rows,), affordable),
    )


def left(shares, times):
    """Of the tolerance that is used up, by what is to be expected."""
    again = times.clamp(min=1)
    return float((torch.tensor(shares, dtype=torch.float64) * left_after(again).square()).sum())


@pytest.mark.parametrize("plan", PLANS)
def test_the_one_large_error_is_divided_alone(plan):
    assert (plan(pieces(0.01, 2.0, 0.02, 0.01)) > 0).tolist() == [False, True, False, False]


@pytest.mark.parametrize("plan", PLANS)
def test_a_row_that_is_done_gets_nothing(plan):
    assert plan(pieces(0.3, 5.0, room=torch.inf)).tolist() == [0, 0]


@pytest.mark.parametrize("plan", PLANS)
def test_no_row_gets_more_points_than_it_may(plan):
    times = plan(pieces(*[9.0] * 6, affordable=17))
    assert 0 < int((2 * times).sum()) <= 17


@pytest.mark.parametrize("plan", PLANS)
def test_what_a_row_gets_does_not_depend_on_other_rows(plan):
    together = plan(pieces(3.0, 0.2, 1.0, 1e9, 0.1, 2.0, row=[0, 1, 0, 1, 0, 0]))
    assert together[[0, 2, 4, 5]].tolist() == plan(pieces(3.0, 1.0, 0.1, 2.0)).tolist()
    assert together[[1, 3]].tolist() == plan(pieces(0.2, 1e9)).tolist()


def test_equal_errors_get_equal_points():
    assert divide_at_least_cost(pieces(1e3, 1e3, 1e3, 1e3)).tolist() == [MOST_TIMES] * 4


def test_without_an_error_nothing_is_divided():
    assert divide_at_least_cost(pieces(0.0, 0.0, room=0.0)).tolist() == [0, 0]


SHARES = [(1.2, 0.4, 0.1, 0.1), (0.5, 0.5, 0.5, 0.5), (4.0, 1.0, 0.1, 0.01), (0.9, 0.2, 0.1, 0.05)]


@pytest.mark.parametrize("shares", SHARES)
def test_no_other_division_keeps_the_room_with_fewer_points(shares):
    """All are tried; as times are whole, ours may do with half a time less for each than is aimed at."""
    times = divide_at_least_cost(pieces(*shares))
    choices = [torch.tensor(each) for each in product([0, *range(2, MOST_TIMES + 1)], repeat=len(shares))]
    fewest = min(int(each.sum()) for each in choices if left(shares, each) <= AIMED_AT)
    assert left(shares, times) <= 1.0
    assert int(times.sum()) <= fewest + 1


def test_sums_are_taken_among_pieces_of_a_row_in_their_order():
    ranked = ByRow.of(torch.tensor([1, 0, 1, 0, 1]), torch.tensor([3.0, 1.0, 1.0, 2.0, 2.0]))
    values = torch.tensor([0.1, 0.2, 0.4, 0.8, 1.6], dtype=torch.float64)
    assert ranked.before(values).tolist() == pytest.approx([2.0, 0.0, 0.0, 0.2, 0.4])
    assert ranked.from_on(values).tolist() == pytest.approx([0.1, 1.0, 2.1, 0.8, 1.7])
    assert ranked.n_larger().tolist() == [0, 1, 2, 0, 1]


def test_of_equally_cheap_pieces_the_last_in_the_order_is_found():
    ranked = ByRow.of(torch.tensor([0, 0, 0, 1]), torch.tensor([3.0, 1.0, 2.0, 1.0]))
    assert ranked.last_of_least(torch.tensor([5.0, 4.0, 4.0, 9.0])).tolist() == [2, 2, 2, 3]


# --- parts of stretches ----------------------------------------------------------------------------


def two_layers(inputs, target):
    weights = [normal(5, 9, seed=1), normal(9, 7, seed=2)]
    return ((inputs @ weights[0]).relu() @ weights[1]).relu().sum(dim=1)


@pytest.mark.parametrize("times", [2, 3, 7])
def test_parts_lie_side_by_side_and_have_the_points_that_were_asked_for(times):
    path = StraightPath(
        two_layers, normal(3, 5), torch.zeros(1, 5), torch.zeros(3, dtype=torch.int64), torch.clone, 64
    )
    paths = paths_of(path)
    before = first_stretches(path, paths, 4)
    found = divided(path, paths, before, torch.full((12,), times)).pieces
    for row in range(3):
        of_row = found.take(found.row == row)
        ends = of_row.start + of_row.width
        assert torch.cat([of_row.start, ends[-1:]]).tolist() == pytest.approx([0.0, *ends.tolist()])
        assert int(of_row.points.sum()) == times * int(before.points[before.row == row].sum())
    assert (found.points <= MOST_POINTS_EACH).all()
    assert ((found.width <= WIDEST) | (found.points == 2)).all()


def test_sums_of_parts_do_not_depend_on_how_stretches_are_cut():
    """The same twelve pairs of points, as parts of four stretches and of two."""
    path = StraightPath(
        two_layers, normal(3, 5), torch.zeros(1, 5), torch.zeros(3, dtype=torch.int64), torch.clone, 64
    )
    paths = paths_of(path)
    sums = []
    for n, times in ((4, 3), (2, 6)):
        found = divided(path, paths, first_stretches(path, paths, n), torch.full((3 * n,), times))
        sums.append(torch.zeros(3, 5, dtype=torch.float64).index_add(0, found.pieces.row, found.sums))
    assert torch.allclose(sums[0], sums[1], rtol=1e-5, atol=1e-6)
