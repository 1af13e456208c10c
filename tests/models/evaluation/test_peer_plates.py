"""Plates made before the campaign: of one line, of one size, chosen whole and one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.acquisition.pdbal import PlateScorer
from models.acquisition.world_distances import score_distance
from models.evaluation.peer_plates import PlateLayout, choose_whole_plates, lay_out
from models.screen import Candidates, ScreenError


def pool(compounds: int = 8, lines: int = 3) -> Candidates:
    first, second = np.triu_indices(compounds, k=1)
    return Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )


class Known:
    """A posterior of given worlds ``(n, m)`` over a pool."""

    model, noise_df = "known", float("inf")

    def __init__(self, worlds: np.ndarray, scale: float = 1.0) -> None:
        self.worlds, self.scale = worlds, scale

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        return torch.from_numpy(self.worlds[:n].astype(np.float32))

    def noise_scale(self, candidates: Candidates) -> Tensor:
        return torch.full((len(candidates),), self.scale)


def test_plates_hold_blocks_of_one_line_and_no_block_twice() -> None:
    candidates, rows = pool(), np.arange(0, 84, 2)
    layout = lay_out(candidates, rows, 5, 3)
    assert layout.plates.shape == (3 * (14 // 5), 5)
    assert len(np.unique(layout.plates)) == layout.plates.size
    assert np.isin(layout.plates, rows).all()
    assert all(len(set(candidates.cell_line[plate])) == 1 for plate in layout.plates)
    assert np.array_equal(lay_out(candidates, rows[::-1], 5, 3).plates, layout.plates)
    assert not np.array_equal(lay_out(candidates, rows, 5, 4).plates, layout.plates)
    assert lay_out(candidates, rows, 15, 3).plates.shape == (0, 15)
    with pytest.raises(ScreenError, match="a plate of 0 blocks"):
        lay_out(candidates, rows, 0, 3)


def test_a_plate_that_was_touched_is_gone() -> None:
    layout = PlateLayout(np.array([[0, 4], [9, 2], [7, 8]]))
    rest = np.setdiff1d(np.arange(10), [2, 5])
    left = layout.left(rest)
    assert np.array_equal(rest[left], [[0, 4], [7, 8]])
    assert layout.left(np.empty(0, np.int64)).shape == (0, 2)


def test_the_first_plate_is_that_of_the_lowest_exact_score() -> None:
    candidates = pool()
    worlds = np.random.default_rng(0).normal(size=(12, 84)) * np.linspace(0.1, 2.0, 84)
    posterior = Known(worlds)
    plates = lay_out(candidates, np.arange(84), 6, 1).plates
    exact = worlds.astype(np.float32).astype(np.float64)
    scorer = PlateScorer(exact, np.ones(84), score_distance(exact))
    expected, left = [], list(range(len(plates)))
    for _ in range(3):
        best = left[int(np.argmin(scorer.score(plates[left])))]
        scorer.add(plates[best])
        left.remove(best)
        expected.append(plates[best])
    rows = choose_whole_plates(posterior, candidates, plates, 18, draws=12, seed=0)
    assert np.array_equal(rows, np.concatenate(expected))
    # The last plate is measured in part, the others whole.
    part = choose_whole_plates(posterior, candidates, plates, 15, draws=12, seed=0)
    assert np.array_equal(part, rows[:15])
    everything = choose_whole_plates(posterior, candidates, plates, 900, draws=12, seed=0)
    assert sorted(everything) == sorted(plates.ravel())
    assert not len(choose_whole_plates(posterior, candidates, plates[:0], 9, draws=12, seed=0))
