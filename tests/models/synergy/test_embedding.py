"""Blocks as points: equal where models see no difference, apart where they know of none."""

from __future__ import annotations

import numpy as np

from models.screen import Candidates, CellLineTable, CompoundTable
from models.synergy.embedding import embed_blocks
from models.synergy.inputs import Features


def _features(curves: bool = True) -> Features:
    """Compounds 0 and 1 have the same structure, 3 and 4 none; lines 2 and 3 have no features."""
    rng = np.random.default_rng(0)
    bits = (rng.uniform(size=(5, 40)) < 0.3).astype(np.uint8)
    bits[1] = bits[0]
    known = np.array([True, True, True, False, False])
    lines = np.array([True, True, False, False])
    expression = np.where(lines[:, None], rng.normal(size=(4, 6)), 0.0)
    return Features(
        CompoundTable(tuple("abcde"), np.where(known[:, None], bits, 0).astype(np.uint8), known),
        CellLineTable(tuple("wxyz"), expression, lines),
        rng.normal(size=(5, 4, 3)) if curves else None,
    )


def _at(*rows: tuple[int, int, int]) -> Candidates:
    table = np.array(rows)
    return Candidates.of(table[:, 0], table[:, 1], table[:, 2])


def test_the_order_of_a_pair_changes_no_bit() -> None:
    one = embed_blocks(_at((0, 2, 1), (3, 4, 0)), _features())
    other = embed_blocks(_at((2, 0, 1), (4, 3, 0)), _features())
    assert np.array_equal(one, other)


def test_only_blocks_that_no_model_can_tell_apart_coincide() -> None:
    x = embed_blocks(_at((0, 2, 1), (1, 2, 1), (0, 3, 1), (0, 4, 1), (0, 2, 2)), _features(False))
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert apart[0, 1] < 1e-6  # the same structure
    assert apart[2, 3] > 0.5  # two compounds of which nothing is known are two compounds
    assert apart[0, 4] > 0.5


def test_curves_tell_twins_apart() -> None:
    x = embed_blocks(_at((0, 2, 1), (1, 2, 1)), _features())
    assert np.linalg.norm(x[0] - x[1]) > 0.1
