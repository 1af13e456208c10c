"""What quiet wells say of the noise of combinations, from a handful of blocks to many."""

from __future__ import annotations

import numpy as np
import pytest

from models.objectives.block_noise import FEWEST_BLOCKS, BlockNoise, learn_block_noise

WELL_SD = 0.04
QUIET = 6
"""Quiet dose pairs of each block."""


def learned(n_blocks: int, factor: float, shared: float, seed: int) -> BlockNoise:
    """From wells that scatter ``factor`` times as they should, in blocks off by ``shared``."""
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(n_blocks), QUIET)
    excess = factor * WELL_SD * rng.standard_normal(len(block))
    excess += shared * rng.standard_normal(n_blocks)[block]
    return learn_block_noise(
        np.ones(len(block), bool),
        excess,
        np.full(len(block), WELL_SD),
        np.zeros(len(block)),
        block,
    )


@pytest.mark.parametrize(("factor", "shared"), [(1.0, 0.0), (1.6, 0.03), (0.7, 0.05)])
def test_many_blocks_say_the_truth(factor: float, shared: float) -> None:
    found = learned(3000, factor, shared, seed=1)
    assert found.well_factor == pytest.approx(factor, rel=0.03)
    assert found.shared_sd == pytest.approx(shared, abs=0.003 if shared else 0.006)


def test_few_blocks_are_drawn_towards_usual_wells_and_beat_both_extremes() -> None:
    """Factors as spread as is believed: neither 1 nor what few wells say is nearer to the truth."""
    rng = np.random.default_rng(2)
    truth = np.exp(0.25 * rng.standard_normal(400))
    found = [learned(5, each, 0.0, seed).well_factor for seed, each in enumerate(truth)]
    error = np.sqrt(np.mean(np.log(found / truth) ** 2))
    raw = [
        np.log(learned(5, each, 0.0, seed).well_factor) * (1 + 1.36 / 25 / 0.25**2)
        for seed, each in enumerate(truth)
    ]
    assert error < 0.9 * np.std(np.log(truth))
    assert error < 0.9 * np.sqrt(np.mean((np.array(raw) - np.log(truth)) ** 2))


def test_fewer_blocks_say_nothing() -> None:
    found = learned(FEWEST_BLOCKS - 1, 3.0, 0.1, seed=3)
    assert (found.well_factor, found.shared_sd) == (1.0, 0.0)
    assert found.source == "replicate wells only: 4 blocks have quiet wells"


def test_what_controls_say_is_taken_off() -> None:
    rng = np.random.default_rng(5)
    block = np.repeat(np.arange(2000), QUIET)
    excess = WELL_SD * rng.standard_normal(len(block)) + 0.05 * rng.standard_normal(2000)[block]
    common = (np.ones(len(block), bool), excess, np.full(len(block), WELL_SD), np.zeros(len(block)))
    told = np.full(len(block), 0.03**2)
    found = learn_block_noise(*common, block, alike=False, level_variance=told)
    assert found.shared_sd == pytest.approx(0.04, abs=0.003)
