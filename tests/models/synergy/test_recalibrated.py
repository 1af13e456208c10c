"""A recalibrated posterior: wider where it has to be, whole functions still, and it says so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from models.bayes.predictive import coverage
from models.screen import ScreenError
from models.synergy.evidence import forecast_blocks, measure_evidence
from models.synergy.recalibrated import Recalibrated
from tests.models.synergy.ridge import Ridge
from tests.models.synergy.small_screens import COMPOUNDS, all_blocks, linear_training


def test_intervals_that_were_too_narrow_cover_again() -> None:
    """Errors of 5 where 2 are known: the factor is near 2.5, and fresh blocks are covered."""
    training = linear_training(140, noise=2.0, extra=21**0.5)
    posterior = Recalibrated(Ridge()).fit(training, seed=0)
    assert posterior.scale.factor == pytest.approx(2.5, rel=0.3)
    whole = linear_training(180, noise=2.0, extra=21**0.5).blocks
    known = training.blocks.candidates.keys(COMPOUNDS)
    fresh = whole.select(~np.isin(whole.candidates.keys(COMPOUNDS), known))
    held = {}
    for name, fitted in (("narrow", posterior.inner), ("wide", posterior)):
        functions, noise = forecast_blocks(fitted, training.blocks, fresh, 200, 1)
        held[name] = coverage(functions, fresh.score, noise)[0.9]
    assert held["narrow"] < 0.7
    assert held["wide"] > 0.8


def test_draws_are_stretched_around_their_mean_and_stay_whole() -> None:
    posterior = Recalibrated(Ridge(overconfidence=2.0)).fit(linear_training(), seed=0)
    at = all_blocks()
    own, wide = posterior.inner.draws(at, 30, 2), posterior.draws(at, 30, 2)
    assert torch.allclose(own.mean(0), wide.mean(0), atol=1e-4)
    assert torch.allclose(wide.std(0), posterior.scale.factor * own.std(0), rtol=1e-3)
    order = np.random.default_rng(0).permutation(len(at))
    assert torch.allclose(wide[:, order], posterior.draws(at.select(order), 30, 2), atol=1e-4)


def test_it_is_never_silent() -> None:
    posterior = Recalibrated(Ridge()).fit(linear_training(), seed=0)
    said = posterior.diagnostics()
    assert posterior.model == "ridge_recalibrated"
    assert said["recalibration"]["applied"] is True
    assert "held-out blocks" in said["recalibration"]["words"]
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_the_factor_of_the_evidence_is_kept_for_the_final_fit() -> None:
    model = Ridge()
    recalibrated, training = Recalibrated(model), linear_training()
    found = measure_evidence(recalibrated, training, seed=1)
    final = recalibrated.fit(training, seed=1, schedule=found.schedule)
    assert final.schedule == found.schedule
    assert model.fits[-1][0] == 180
    assert len(model.fits) == 2


def test_files_give_the_same_draws_to_the_bit() -> None:
    model, at = Recalibrated(Ridge(overconfidence=2.0)), all_blocks()
    posterior = model.fit(linear_training(), seed=0)
    tensors, metadata = model.save(posterior)
    again = model.load(tensors, json.loads(json.dumps(metadata)))
    assert torch.equal(again.draws(at, 9, 3), posterior.draws(at, 9, 3))
    assert again.scale == posterior.scale
    with pytest.raises(ScreenError, match="cannot load"):
        model.load(tensors, {**metadata, "model": "other"})


def test_few_blocks_are_refused() -> None:
    with pytest.raises(ScreenError, match="at least 100"):
        Recalibrated(Ridge()).fit(linear_training(99), seed=0)
