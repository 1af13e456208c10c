"""Groups of compounds and failed blocks, found in scores and wells."""

from __future__ import annotations

import numpy as np
import torch

from models.screen import Candidates, Wells
from models.synergy.gaussian_process.failures import Failures, failed_share
from models.synergy.gaussian_process.layout import block_means, compound_groups
from models.synergy.inputs import ScoredBlocks
from tests.models.synergy.gaussian_process.screens import (
    N,
    everything,
    rows,
    tables,
)

GROUPED = np.kron(np.eye(3), np.ones((3, 3)))


def plates(n: int = 18, lines: int = 12, groups: int = 3, seed: int = 0) -> ScoredBlocks:
    """Scores with an error that blocks (a, b, line) with a of one group share."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(n, k=1)
    at = Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )
    shared = rng.normal(size=(groups, n, lines))
    a, b = at.compounds.T
    score = 3 * (shared[a % groups, b, at.cell_line] + shared[b % groups, a, at.cell_line])
    return ScoredBlocks(at, score + 2 * rng.normal(size=len(at)), np.ones(len(at)))


def test_groups_that_share_errors_are_found() -> None:
    found = compound_groups(plates(), 18, 12)
    same = (np.arange(18)[:, None] % 3) == (np.arange(18)[None] % 3)
    np.fill_diagonal(same, False)
    other = ~same & ~np.eye(18, dtype=bool)
    assert found[same].mean() > 0.7
    assert found[other].mean() < 0.0
    assert np.linalg.eigvalsh(found).min() > -1e-9
    assert np.allclose(np.diag(found), 1.0)


def test_independent_errors_make_no_strong_groups() -> None:
    rng, blocks = np.random.default_rng(1), plates()
    noise = ScoredBlocks(blocks.candidates, rng.normal(size=len(blocks)), blocks.noise_sd)
    found = compound_groups(noise, 18, 12)
    assert np.abs(found - np.eye(18)).mean() < np.abs(compound_groups(plates(), 18, 12)).mean()


def test_compounds_that_were_never_measured_are_alone() -> None:
    blocks = plates()
    known = blocks.select((blocks.candidates.compounds < 17).all(axis=1))
    found = compound_groups(known, 18, 12)
    assert found[17].tolist() == [0.0] * 17 + [1.0]


def test_mean_viability_of_blocks() -> None:
    at = Candidates.of(np.array([0, 0]), np.array([1, 2]), np.array([0, 1]))
    blocks = ScoredBlocks(at, np.zeros(2), np.ones(2))
    compounds = np.array([[0, 1, -1], [0, 1, -1], [0, -1, -1], [0, 1, 2]])
    wells = Wells(np.zeros(4, np.int64), compounds, (compounds >= 0) * 1.0, np.arange(4) / 4)
    assert np.allclose(block_means(blocks, wells, N)[0], 0.125)
    assert np.isnan(block_means(blocks, wells, N)[1])


def test_a_failed_block_is_one_that_went_most_of_the_way_to_untreated() -> None:
    reference = np.array([0.2, 0.2, 0.2, 0.9, 0.2])
    measured = np.array([1.0, 0.7, 0.45, 1.0, np.nan])
    assert np.allclose(failed_share(measured, reference), [1.0, 0.625, 0.0, 0.0, 0.0])


def test_neighbours_on_the_plate_of_failed_blocks_are_expected_to_fail() -> None:
    at, t = everything(), tables(GROUPED)
    own = rows(at)
    reference = (t.level[own.cell_a] * t.level[own.cell_b]).numpy()
    a, b = at.compounds.T
    on_plate = (at.cell_line == 2) & (((a < 3) & (b == 7)) | ((b < 3) & (a == 7)))
    hidden = on_plate & (a == 1)
    viability = np.where(on_plate, 1.0, reference)
    known = ~hidden
    found = Failures.find(rows(at.select(known)), t, viability[known])
    assert set(np.flatnonzero(~found.usable)) == set(np.flatnonzero(on_plate[known]))
    chance = found.probability(own, rows(at.select(known)), t).numpy()
    assert chance[hidden].min() > 0.3
    assert chance[at.cell_line != 2].max() < 0.05
    assert ((chance >= 0) & (chance <= 1)).all()


def test_without_wells_nothing_failed() -> None:
    own = rows(everything())
    found = Failures.find(own, tables(), np.full(len(everything()), np.nan))
    assert found.usable.all()
    assert torch.all(found.probability(own, own, tables()) == 0)
