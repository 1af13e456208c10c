"""``stacked``: whole functions, mixture noise, honest weights, files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from models.bayes.stacking import allot
from models.screen import ScreenError, Stopped
from models.synergy.evidence import measure_evidence
from models.synergy.inputs import Training
from models.synergy.stacking import Stacked, StackedPosterior, StackedSchedule
from models.synergy.training import Schedule
from tests.models.synergy.ridge import Ridge
from tests.models.synergy.small_screens import all_blocks, linear_training


def two() -> dict[str, Ridge]:
    return {"wide": Ridge("wide", prior_sd=20.0), "narrow": Ridge("narrow", prior_sd=1.0, df=6.0)}


def mixed() -> StackedPosterior:
    fitted = [model.fit(linear_training(), seed=1) for model in two().values()]
    fitted[1].sd = 3.0
    return StackedPosterior(fitted, [0.25, 0.75])


def test_each_draw_is_a_whole_function_of_one_component() -> None:
    posterior, at = mixed(), all_blocks()
    whole = posterior.draws(at, 40, 5)
    order = np.random.default_rng(0).permutation(len(at))
    assert torch.allclose(whole[:, order], posterior.draws(at.select(order), 40, 5), atol=1e-4)
    parts = [posterior.draws(at.select(np.arange(k, k + 30)), 40, 5) for k in range(0, 180, 30)]
    assert torch.allclose(whole, torch.cat(parts, dim=1), atol=1e-4)
    owner = allot(np.array([0.25, 0.75]), 40, 5)
    assert (owner == 0).sum() == 10
    own = posterior.components[0].draws(at, 10, 5)
    assert torch.equal(whole[torch.as_tensor(np.flatnonzero(owner == 0))], own)
    assert not torch.equal(whole, posterior.draws(at, 40, 6))


def test_the_mean_of_many_draws_is_the_weighted_mean() -> None:
    posterior, at = mixed(), all_blocks()
    means = [part.draws(at, 2000, 1).mean(0) for part in posterior.components]
    expected = 0.25 * means[0] + 0.75 * means[1]
    assert torch.allclose(posterior.draws(at, 4000, 2).mean(0), expected, atol=0.15)


def test_the_noise_has_the_variance_of_the_mixture() -> None:
    posterior, at = mixed(), all_blocks()
    variance = 0.25 * 2.0**2 + 0.75 * 3.0**2 * 6 / 4
    assert posterior.noise_sd(at).numpy() == pytest.approx(math.sqrt(variance), rel=1e-6)
    assert posterior.noise_df == pytest.approx(1 / (0.75 / 6))
    scale = posterior.noise_scale(at).numpy()
    assert scale * math.sqrt(8 / 6) == pytest.approx(math.sqrt(variance), rel=1e-6)
    gaussian = StackedPosterior([posterior.components[0]], [1.0])
    assert math.isinf(gaussian.noise_df)
    assert torch.equal(gaussian.noise_scale(at), gaussian.noise_sd(at))


def test_the_right_component_gets_the_weight() -> None:
    models = {"blind": Ridge("blind", prior_sd=0.05), "right": Ridge("right")}
    posterior = Stacked(models).fit(linear_training(), seed=0)
    assert [c.model for c in posterior.components] == ["right"]
    assert posterior.weights == (1.0,)
    assert [fit[0] for fit in models["right"].fits] == [144, 180]
    assert [fit[0] for fit in models["blind"].fits] == [144]
    assert posterior.diagnostics()["components"][0]["weight"] == 1.0


def test_a_schedule_is_run_again_without_learning_weights() -> None:
    models = two()
    stacked, training = Stacked(models), linear_training(extra=3.0)
    schedule = stacked.fit(training, seed=0, refit=False).schedule
    assert [fit[2] for model in models.values() for fit in model.fits] == [False, False]
    again = stacked.fit(training, seed=0, schedule=schedule)
    assert isinstance(schedule, StackedSchedule)
    assert again.schedule == schedule
    assert all(part.n_rows == 180 for part in again.components)
    stacked.fit(training, seed=0, schedule=Schedule(3, 4))
    assert models["wide"].fits[-1][1] == Schedule(3, 4)


def test_evidence_and_row_order() -> None:
    training = linear_training(100)
    order = np.random.default_rng(1).permutation(100)
    shuffled = Training(training.blocks.select(order), training.features)
    first, second = (measure_evidence(Stacked(two()), t, seed=1) for t in (training, shuffled))
    assert {**first.report, "seconds": 0} == {**second.report, "seconds": 0}
    assert json.loads(json.dumps(first.report, allow_nan=False)) == first.report
    posterior = Stacked(two()).fit(training, seed=1, schedule=first.schedule)
    assert posterior.schedule == first.schedule


def test_files_give_the_same_draws_to_the_bit() -> None:
    stacked, posterior, at = Stacked(two()), mixed(), all_blocks()
    tensors, metadata = stacked.save(posterior)
    again = stacked.load(tensors, json.loads(json.dumps(metadata)))
    posterior.components[1].noise_df = 6.0
    assert torch.equal(again.draws(at, 9, 3), posterior.draws(at, 9, 3))
    assert torch.equal(again.noise_sd(at), posterior.noise_sd(at))
    with pytest.raises(ScreenError, match="version 9"):
        stacked.load(tensors, {**metadata, "version": 9})
    with pytest.raises(ScreenError, match="no component 'wide'"):
        Stacked({}).load(tensors, metadata)


def test_what_makes_no_mixture_is_refused() -> None:
    part = mixed().components[0]
    for weights in ([0.5], [0.0], [1.5]):
        with pytest.raises(ScreenError, match="positive"):
            StackedPosterior([part], weights)
    with pytest.raises(ScreenError, match="one weight"):
        StackedPosterior([part], [0.5, 0.5])
    with pytest.raises(ScreenError, match="itself"):
        Stacked({"stacked": Ridge()})
    with pytest.raises(ScreenError, match="never fits"):
        Stacked({"bad": Ridge("bad", fails=True)}).fit(linear_training(), seed=0)
    with pytest.raises(Stopped):
        Stacked(two()).fit(linear_training(), seed=0, should_stop=lambda: True)
