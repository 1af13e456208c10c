"""``gp_pairs`` as a model of the registry."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import safetensors.torch
import torch

from models.bayes.predictive import coverage, pearson
from models.screen import Candidates, ScreenError, Stopped
from models.synergy.baselines import predict_additive
from models.synergy.evidence import forecast_blocks
from models.synergy.gaussian_process.process import GpPairs, GpPosterior
from models.synergy.inputs import Training
from models.synergy.training import Schedule
from tests.models.synergy.gaussian_process.screens import (
    LINES,
    N,
    everything,
    sound_wells,
    training,
)

SHORT = Schedule(4, 4)


@cache
def fitted() -> GpPosterior:
    return GpPairs().fit(training(), seed=3, schedule=SHORT)


def test_it_beats_the_additive_baseline_and_its_intervals_cover() -> None:
    whole = training(180)
    train, test = whole.select(np.arange(130)), whole.blocks.select(np.arange(130, 180))
    posterior = GpPairs().fit(train, seed=0)
    draws, noise = forecast_blocks(posterior, train.blocks, test, 256, 1)
    error = np.sqrt(np.mean((draws.mean(0) - test.score) ** 2))
    additive = predict_additive(train.blocks, test.candidates, N, LINES).mean
    assert error < 0.8 * np.sqrt(np.mean((additive - test.score) ** 2))
    assert (pearson(draws.mean(0), test.score) or 0) > 0.8
    assert 0.78 <= coverage(draws, test.score, noise)[0.9] <= 1.0


def test_order_of_rows_chunks_and_seeds() -> None:
    data = training()
    order = np.random.default_rng(0).permutation(len(data.blocks))
    shuffled = Training(data.blocks.select(order), data.features, data.wells)
    again = GpPairs().fit(shuffled, seed=3, schedule=SHORT)
    at = everything()
    whole = fitted().draws(at, 7, 1)
    assert torch.equal(whole, again.draws(at, 7, 1))
    parts = torch.cat(
        [fitted().draws(at.select(np.arange(k, k + 45)), 7, 1) for k in range(0, 180, 45)], dim=1
    )
    assert torch.allclose(whole, parts, atol=1e-3)
    assert not torch.allclose(whole, fitted().draws(at, 7, 2))
    assert whole.dtype == torch.float32


def test_saved_and_loaded_it_draws_the_same_bits() -> None:
    tensors, metadata = GpPairs().save(fitted())
    loaded = GpPairs().load(
        safetensors.torch.load(safetensors.torch.save(tensors)), json.loads(json.dumps(metadata))
    )
    at = everything()
    assert torch.equal(fitted().draws(at, 5, 9), loaded.draws(at, 5, 9))
    assert torch.equal(fitted().noise_scale(at), loaded.noise_scale(at))
    assert json.loads(json.dumps(loaded.diagnostics())) == fitted().diagnostics()
    with pytest.raises(ScreenError, match="cannot load gp_pairs version 99"):
        GpPairs().load(tensors, {**metadata, "version": 99})


def test_what_was_never_measured_is_less_certain() -> None:
    data = training(180)
    seen = (data.blocks.candidates.compounds < 7).all(1) & (data.blocks.candidates.cell_line < 4)
    posterior = GpPairs().fit(data.select(seen), seed=0, schedule=SHORT)
    at = everything()
    spread = posterior.draws(at, 256, 0).std(0).numpy()
    new = (at.compounds >= 7).any(axis=1)
    known = ~new & (at.cell_line < 4)
    assert spread[new & (at.cell_line < 4)].mean() > 1.3 * spread[known].mean()
    assert spread[~new & (at.cell_line == 4)].mean() > 1.2 * spread[known].mean()


def test_a_failed_plate_does_not_teach_and_is_expected_elsewhere() -> None:
    data = training(180)
    at = data.blocks.candidates
    failed = (at.cell_line == 1) & (at.compounds == 4).any(axis=1)
    sound = sound_wells(at, data.blocks.score)
    level = sound.viability + data.blocks.score / 100
    score = np.where(failed, 100 * (level - 1), data.blocks.score)
    blocks = type(data.blocks)(at, score, data.blocks.noise_sd)
    broken = Training(blocks, data.features, sound_wells(at, score))
    hidden = np.flatnonzero(failed)[:2]
    keep = np.setdiff1d(np.arange(180), hidden)
    posterior = GpPairs().fit(broken.select(keep), seed=0, schedule=SHORT)
    assert posterior.diagnostics()["failed_blocks"] >= failed.sum() - 4
    chance = posterior.failure_probability(at).numpy()
    assert chance[hidden].mean() > 0.2 > 0.05 > chance[at.cell_line != 1].mean()
    draws = posterior.draws(at.select(hidden), 200, 0).numpy()
    share = (np.abs(draws - 100 * (level[hidden] - 1)) < 0.5).mean(axis=0)
    assert np.allclose(share, chance[hidden], atol=0.02)


def test_what_failing_does_to_the_score_is_learned_even_from_one_block() -> None:
    """A mean excess falls by the gap, a largest excess does not: the score's name is not asked."""
    data = training(180)
    at = data.blocks.candidates
    sound = sound_wells(at, data.blocks.score)
    level = sound.viability + data.blocks.score / 100
    failed = int(np.argmin(level))
    viability = sound.viability.copy()
    viability[failed] = 1.0
    wells = type(sound)(sound.cell_line, sound.compounds, sound.doses_um, viability)
    score = data.blocks.score.copy()
    score[failed] = -3.0
    blocks = type(data.blocks)(at, score, data.blocks.noise_sd)
    posterior = GpPairs().fit(Training(blocks, data.features, wells), seed=0, schedule=SHORT)
    assert posterior.diagnostics()["failed_blocks"] == 1
    assert posterior.scale.per_gap == pytest.approx(-3.0 / (1 - level[failed]), rel=1e-3)


def test_bad_input_is_refused_and_work_can_be_stopped() -> None:
    data = training()
    with pytest.raises(ScreenError, match="at least 5"):
        GpPairs().fit(data.select(np.arange(4)), seed=0)
    outside = Candidates.of(np.array([0]), np.array([N]), np.array([0]))
    with pytest.raises(ScreenError, match="outside"):
        fitted().draws(outside, 2, 0)
    with pytest.raises(ScreenError, match="cannot draw 0"):
        fitted().draws(everything(), 0, 0)
    seen: list[str] = []
    with pytest.raises(Stopped):
        GpPairs().fit(
            data,
            seed=0,
            on_progress=lambda stage, done, total: seen.append(stage),
            should_stop=lambda: len(seen) > 2,
        )
    assert seen[0] == "training"


@pytest.mark.gpu
def test_the_gpu_draws_the_same_functions() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda = GpPairs().fit(training(), seed=3, schedule=SHORT, device="cuda")
    at = everything()
    assert torch.allclose(fitted().draws(at, 9, 1), cuda.draws(at, 9, 1), atol=0.05)
