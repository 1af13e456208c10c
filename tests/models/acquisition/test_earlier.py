"""What the screen holds of earlier campaigns: not proposed, no find, and improved upon inside."""

from __future__ import annotations

import numpy as np
import pytest

from models.acquisition.earlier import Earlier, inside_and_found
from models.acquisition.rules import Pool, check_pool, measured_rows
from models.objectives.measured import MeasuredObjective
from models.screen import Candidates, CellLineTable, CompoundTable, Screen, ScreenError, Wells

# Compound 3 and line 2 are strangers.
COMPOUNDS, LINES = np.array([True, True, True, False]), np.array([True, True, False])
BLOCKS = Candidates.of(
    np.array([0, 0, 0, 1, 0]), np.array([1, 1, 3, 2, 2]), np.array([0, 2, 0, 1, 1])
)
OWN = BLOCKS.select(np.array([3]))
POOL = Candidates.of(np.array([0, 0, 1, 0]), np.array([1, 2, 2, 2]), np.array([0, 1, 1, 0]))


def screen() -> Screen:
    n = len(BLOCKS)
    wells = Wells(
        BLOCKS.cell_line,
        np.column_stack([BLOCKS.compounds, np.full(n, -1)]),
        np.column_stack([np.ones((n, 2)), np.zeros(n)]),
        np.full(n, 0.5),
    )
    compounds = CompoundTable(tuple("abcd"), np.zeros((4, 1), np.uint8), np.zeros(4, bool))
    return Screen(
        compounds, CellLineTable(tuple("xyz"), np.empty((3, 0)), np.zeros(3, bool)), wells
    )


def pool(again: tuple[int, ...] = (), at: Candidates = POOL) -> Pool:
    flags = np.zeros(len(at), bool)
    chosen = flags.copy()
    chosen[list(again)] = True
    return Pool(at, flags, flags, earlier=Earlier(COMPOUNDS, LINES, OWN, chosen))


def scores(*values: float) -> MeasuredObjective:
    rows, column = np.arange(len(values)), np.array(values)[:, None]
    return MeasuredObjective(rows, rows, column, np.ones_like(column), len(values))


def test_what_others_measured_is_measured_unless_it_is_wanted_again() -> None:
    assert measured_rows(screen(), pool()).tolist() == [True, True, True, False]
    assert measured_rows(screen(), pool(again=(0,))).tolist() == [False, True, True, False]
    without = Pool.of(POOL)
    assert measured_rows(screen(), without).tolist() == [True, True, True, False]


def test_inside_and_found() -> None:
    measured = scores(10.0, 50.0, 60.0, 20.0, 30.0)
    inside, found = inside_and_found(pool().earlier, measured, BLOCKS)
    assert inside.value.tolist() == [10.0, 20.0, 30.0]
    assert inside.best == 30.0, "not that of strangers"
    assert found.value.tolist() == [20.0]
    assert found.hits(15.0) == 1
    both = inside_and_found(None, measured, BLOCKS)
    assert both[0] is both[1] is measured


def test_a_pair_that_is_compared_is_kept_whole_or_not_at_all() -> None:
    column = np.array([[7.0], [7.0], [9.0]])
    pairs = MeasuredObjective(np.array([0, 1, 2]), np.array([0, 0, 1]), column, column, 3)
    kept = pairs.within(np.array([True, False, True]))
    assert (kept.rows.tolist(), kept.value.tolist()) == ([2], [9.0])
    assert np.isnan(kept.by_block()[:2]).all()


def test_strangers_in_the_pool_and_wrong_sizes_are_refused() -> None:
    check_pool(screen(), pool())
    with pytest.raises(ScreenError, match="none of this campaign's"):
        check_pool(screen(), pool(at=BLOCKS))
    wrong = Earlier(COMPOUNDS[:3], LINES, OWN, np.zeros(len(POOL), bool))
    flags = np.zeros(len(POOL), bool)
    with pytest.raises(ScreenError, match="expected"):
        check_pool(screen(), Pool(POOL, flags, flags, earlier=wrong))
