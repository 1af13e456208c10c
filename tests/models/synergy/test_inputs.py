"""What a model may learn from: nothing of a block that is held out."""

from __future__ import annotations

import numpy as np
import pytest

from models.screen import Candidates, CellLineTable, CompoundTable, ScreenError, Wells
from models.synergy.inputs import Features, ScoredBlocks, Training


def features() -> Features:
    n = 4
    return Features(
        CompoundTable(tuple("ABCD"), np.zeros((n, 1), np.uint8), np.zeros(n, bool)),
        CellLineTable(("X", "Y"), np.zeros((2, 0)), np.zeros(2, bool)),
    )


def wells(*rows: tuple[int, tuple[int, ...]]) -> Wells:
    compounds = np.array([[*names, *[-1] * (3 - len(names))] for _, names in rows])
    line = np.array([line for line, _ in rows])
    return Wells(line, compounds, (compounds >= 0).astype(float), np.ones(len(rows)))


def training() -> Training:
    at = Candidates.of(np.array([1, 0, 0]), np.array([2, 1, 1]), np.array([0, 0, 1]))
    every = wells(
        (0, ()),
        (0, (0,)),
        (0, (0, 1)),
        (1, (0, 1)),
        (0, (1, 2)),
        (0, (0, 1, 2)),
        (0, (0, 2, 3)),
        (1, (1, 2, 3)),
    )
    return Training(ScoredBlocks(at, np.arange(3.0), np.ones(3)), features(), every)


def test_the_wells_of_a_block_that_is_held_out_are_gone() -> None:
    kept = training().select(np.array([1, 2]))
    assert kept.blocks.score.tolist() == [1.0, 2.0]
    assert kept.wells is not None
    # B+C in line X is held out: its pair and the triple that holds it there are gone.
    left = [row[row >= 0].tolist() for row in kept.wells.compounds]
    assert left == [[], [0], [0, 1], [0, 1], [0, 2, 3], [1, 2, 3]]


def test_selecting_all_blocks_keeps_every_well() -> None:
    whole = training().select(np.ones(3, bool))
    assert whole.wells is not None
    assert len(whole.wells) == 8


def test_sorting_orders_the_blocks_and_nothing_else() -> None:
    first = training().sorted().blocks
    order = np.array([2, 0, 1])
    second = Training(training().blocks.select(order), features()).sorted().blocks
    assert np.array_equal(first.score, second.score)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(ScreenError, match="unknown score 'bliss'"):
        Training(training().blocks, features(), None, "bliss")


def test_targets_are_given_for_every_compound_or_none() -> None:
    with pytest.raises(ScreenError, match="targets are given for 1 of 2"):
        CompoundTable(("A", "B"), np.zeros((2, 1), np.uint8), np.zeros(2, bool), (("EGFR",),))
