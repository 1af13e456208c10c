"""Blocks from wells, and the ways in which matrices are left sparse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.screen import ScreenError, Wells
from models.surfaces.blocks import gather_blocks
from models.surfaces.masks import PATTERNS, draw_masks
from tests.models.surfaces.toys import blocks, curves


def _wells(rows: list[tuple[int, int, int, float, float, float]]) -> Wells:
    line, a, b, da, db, value = map(np.array, zip(*rows, strict=True))
    absent = np.full(len(rows), -1)
    return Wells(
        line, np.stack([a, b, absent], 1), np.stack([da, db, 0 * da], 1), value.astype(float)
    )


def test_replicates_are_averaged_and_gaps_stay_gaps() -> None:
    """Two shapes, one of them sparse, a replicate, and doses that join a grid."""
    wells = _wells(
        [
            (0, 0, 1, 1.0, 2.0, 0.8),
            (0, 0, 1, 1.0, 2.0, 0.6),
            (0, 0, 1, 3.0, 4.0, 0.1),
            (1, 2, 3, 1.0, 1.0, 0.5),
        ]
    )
    one, two = gather_blocks(wells, curves())
    assert (one.shape, two.shape) == ((1, 1), (2, 2))
    np.testing.assert_allclose(two.viability[0], [[0.7, np.nan], [np.nan, 0.1]])
    assert two.n_wells[0].tolist() == [[2, 0], [0, 1]]
    expected = curves().viability(np.array([0]), np.array([0]), np.array([1.0]))
    np.testing.assert_array_equal(two.margins[0][0, :1], expected)
    grids = {(2, 3, 1): (np.array([0.5]), np.array([2.0, 4.0]))}
    assert {each.shape for each in gather_blocks(wells, curves(), grids)} == {(2, 2), (2, 3)}


def test_swapping_twice_changes_nothing() -> None:
    """And the reference is the same, transposed."""
    table = blocks((4, 3))
    again = table.swapped().swapped()
    np.testing.assert_array_equal(again.viability, table.viability)
    np.testing.assert_array_equal(table.swapped().reference, table.reference.transpose(0, 2, 1))


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (16, 16), (1, 5)])
def test_masks_are_what_they_say(shape: tuple[int, int]) -> None:
    """Always something is left to ask for, and the diagonal rises in both."""
    rng = np.random.default_rng(1)
    for name in PATTERNS:
        masks = draw_masks(name, 30, shape, rng)
        assert masks.shape == (30, *shape)
        if min(shape) > 1:
            assert not masks.all(axis=(1, 2)).any()
    diagonal = draw_masks("diagonal", 1, shape, rng)[0]
    assert diagonal.sum() == max(shape)
    assert diagonal[0, 0]
    assert diagonal[-1, -1]
    assert draw_masks("five", 1, (4, 4), rng).sum() == 5
    with pytest.raises(ScreenError, match="none of"):
        draw_masks("rows", 1, shape, rng)


def test_blocks_that_cannot_be_are_refused() -> None:
    """Descending doses, tables that do not fit."""
    table = blocks()
    with pytest.raises(ScreenError, match="ascend"):
        replace(table, doses=(table.doses[0][:, ::-1], table.doses[1]))
    with pytest.raises(ScreenError, match="cell_line"):
        replace(table, cell_line=table.cell_line[:3])
