"""The baselines that a model has to beat."""

from __future__ import annotations

import numpy as np
import pytest

from models.screen import Candidates
from models.synergy.baselines import predict_additive, predict_mean
from models.synergy.inputs import ScoredBlocks


def additive_blocks(noise: float) -> ScoredBlocks:
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(10, k=1)
    at = Candidates.of(np.tile(first, 4), np.tile(second, 4), np.repeat(np.arange(4), 45))
    compound, line = rng.normal(size=10), rng.normal(size=4)
    score = 5 + compound[at.compounds].sum(1) + line[at.cell_line]
    return ScoredBlocks(at, score + noise * rng.normal(size=180), np.full(180, noise))


def test_additive_effects_are_recovered_with_their_noise() -> None:
    blocks = additive_blocks(0.3)
    train, test = blocks.select(np.arange(0, 180, 2)), blocks.select(np.arange(1, 180, 2))
    found = predict_additive(train, test.candidates, 10, 4)
    assert np.sqrt(np.mean((found.mean - test.score) ** 2)) == pytest.approx(0.33, abs=0.06)
    assert found.sd == pytest.approx(0.33, abs=0.07)


def test_mean_predictor_says_the_mean_everywhere() -> None:
    blocks = additive_blocks(0.3)
    found = predict_mean(blocks, blocks.candidates.select(np.arange(3)))
    assert np.all(found.mean == blocks.score.mean())
    assert found.sd == pytest.approx(blocks.score.std(ddof=1))
