"""Nearest measurements, reasons in words, and first rounds without a model."""

from __future__ import annotations

import numpy as np

from models.acquisition.first_round import space_filling
from models.acquisition.reasons import compound_similarity, nearest_measured
from models.screen import Candidates, CompoundTable


def candidates(*rows: tuple[int, int, int]) -> Candidates:
    table = np.array(rows, dtype=np.int64)
    return Candidates.of(table[:, 0], table[:, 1], table[:, 2])


def test_similarity_is_tanimoto_with_identity_on_the_diagonal() -> None:
    bits = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], np.uint8)
    table = CompoundTable(("a", "b", "c"), bits, np.array([True, True, False]))
    expected = [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]]
    assert np.allclose(compound_similarity(table), expected)


def test_nearest_prefers_the_same_pair_then_the_same_line() -> None:
    measured = candidates((0, 1, 0), (0, 2, 1), (3, 4, 1))
    asked = candidates((0, 1, 1), (1, 2, 1), (5, 6, 0))
    assert nearest_measured(asked, measured, np.eye(7)).tolist() == [0, 1, -1]
    assert nearest_measured(asked, Candidates.empty(), np.eye(7)).tolist() == [-1, -1, -1]


def test_space_filling_uses_every_compound_and_line_evenly() -> None:
    first, second = np.triu_indices(8, k=1)
    pool = Candidates.of(np.tile(first, 4), np.tile(second, 4), np.repeat(np.arange(4), len(first)))
    usable = np.ones(len(pool), dtype=bool)
    usable[::5] = False
    values = space_filling(pool, usable, Candidates.empty(), 16, seed=3)
    rows = np.argsort(-values)[:16]
    assert usable[rows].all()
    assert np.ptp(np.bincount(pool.compounds[rows].ravel(), minlength=8)) <= 2
    assert np.bincount(pool.cell_line[rows]).tolist() == [4] * 4
    assert np.array_equal(values, space_filling(pool, usable, Candidates.empty(), 16, seed=3))
