"""The candidates that an objective is about, and the members of sets."""

from __future__ import annotations

import numpy as np
import pytest

from models.acquisition.aimed_pool import aim_pool, set_members
from models.acquisition.rules import Pool, RoundRules
from models.objectives.objective import Efficacy, Selectivity
from models.screen import Candidates, CellLineTable, ScreenError

LINES = CellLineTable(("a", "b", "c"), np.empty((3, 0)), np.zeros(3, bool))
AT = Candidates.of(np.repeat([0, 0, 1], 3), np.repeat([1, 2, 2], 3), np.tile([0, 1, 2], 3))
SELECTIVE = RoundRules(objective=Selectivity(kill=(("a", 1.0),), spare=(("c", 1.0),)))


def pool(*pins: int) -> Pool:
    pinned = np.zeros(9, bool)
    pinned[list(pins)] = True
    return Pool(AT, pinned, np.zeros(9, bool))


def test_other_cell_lines_are_left_out_with_words() -> None:
    aimed, words = aim_pool(pool(0, 4), LINES, SELECTIVE)
    assert np.flatnonzero(aimed.excluded).tolist() == [1, 4, 7]
    assert np.flatnonzero(aimed.pinned).tolist() == [0]
    assert words.startswith("3 candidates, 1 of them pinned, are in cell lines")
    assert "(b)" in words
    again, _ = aim_pool(aimed, LINES, SELECTIVE)
    assert np.array_equal(again.excluded, aimed.excluded)


def test_objectives_of_blocks_leave_all_in() -> None:
    for rules in (RoundRules(), RoundRules(objective=Efficacy())):
        aimed, words = aim_pool(pool(4), LINES, rules)
        assert aimed.pinned[4]
        assert words == ""
        assert not aimed.excluded.any()


def test_a_line_that_is_not_there() -> None:
    rules = RoundRules(objective=Selectivity(kill=(("z", 1.0),)))
    with pytest.raises(ScreenError, match="not in the screen"):
        aim_pool(pool(), LINES, rules)


def test_pairs_are_members_where_lines_are_compared() -> None:
    usable, waiting = np.ones(9, bool), np.zeros(9, bool)
    usable[[1, 4, 7]] = False
    waiting[[0, 3, 5]] = True
    usable[[0, 3, 5]] = False
    found = set_members(AT, usable, waiting, SELECTIVE)
    assert found.owner.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.usable.tolist() == [True, False, True]
    assert found.waiting.tolist() == [False, True, False]
    assert AT.select(found.rows).compounds.tolist() == [[0, 1], [0, 2], [1, 2]]
    single = set_members(AT, usable, waiting, RoundRules())
    assert single.rows.tolist() == single.owner.tolist() == list(range(9))
    assert np.array_equal(single.usable, usable)
