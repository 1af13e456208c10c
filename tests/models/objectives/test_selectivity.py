"""From pairs to their blocks and back."""

from __future__ import annotations

import numpy as np
import pytest

from models.objectives.selectivity import PairsInLines
from models.screen import Candidates, CellLineTable, ScreenError

TABLE = CellLineTable(("a", "b", "c"), np.zeros((3, 0)), np.zeros(3, bool))
POOL = Candidates(np.array([[2, 5], [0, 1], [2, 5], [0, 1], [0, 4]]), np.array([2, 0, 0, 1, 1]))


@pytest.fixture
def pairs() -> PairsInLines:
    return PairsInLines.of(POOL, ("c", "a"), TABLE)


def test_every_pair_of_the_pool_is_a_candidate_once(pairs: PairsInLines) -> None:
    assert pairs.compounds.tolist() == [[0, 1], [0, 4], [2, 5]]
    assert pairs.lines.tolist() == [2, 0]
    assert len(pairs) == 3


def test_blocks_and_back(pairs: PairsInLines) -> None:
    blocks = pairs.blocks()
    assert blocks.cell_line.tolist() == [2, 0] * 3
    assert pairs.pairs_of(blocks).tolist() == [0, 0, 1, 1, 2, 2]
    assert pairs.split(np.arange(12.0).reshape(2, 6))[1].tolist() == [[6, 7], [8, 9], [10, 11]]
    assert pairs.stand_ins().cell_line.tolist() == [2, 2, 2]
    assert pairs.stand_ins().compounds.tolist() == pairs.compounds.tolist()
    assert pairs.blocks_in(np.array([1])).cell_line.tolist() == [0, 0, 0]


def test_rows_in_the_pool_find_what_there_is(pairs: PairsInLines) -> None:
    assert pairs.rows_in(POOL).tolist() == [[-1, 1], [-1, -1], [0, 2]]
    assert pairs.rows_in(Candidates.empty()).tolist() == [[-1, -1]] * 3


def test_blocks_of_other_lines_or_pairs_belong_to_nobody(pairs: PairsInLines) -> None:
    other = Candidates(np.array([[0, 1], [2, 5], [7, 9]]), np.array([1, 0, 0]))
    assert pairs.pairs_of(other).tolist() == [-1, 2, -1]


def test_selected_pairs_keep_their_lines(pairs: PairsInLines) -> None:
    assert pairs.select(np.array([2])).blocks().compounds.tolist() == [[2, 5], [2, 5]]


def test_unknown_or_repeated_lines_are_refused() -> None:
    with pytest.raises(ScreenError, match="not in the screen"):
        PairsInLines.of(POOL, ("a", "z"), TABLE)
    with pytest.raises(ScreenError, match="distinct lines"):
        PairsInLines.of(POOL, ("a", "a"), TABLE)
    with pytest.raises(ScreenError, match="listed twice"):
        PairsInLines(np.array([[0, 1], [0, 1]]), np.array([0]), ("a",))
