"""What holds for every registered model, whatever is inside."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import safetensors.torch
import torch

from models.objectives.scores import measure_blocks
from models.pharmacology.dose_response import fit_curves
from models.pharmacology.simulate import simulate_screen
from models.rounds import features_of
from models.screen import Candidates, ScreenError
from models.synergy.evidence import KnowsErrors
from models.synergy.fit_health import describe_health
from models.synergy.inputs import Training
from models.synergy.registry import MODELS, ModelPosterior, find_model, load, save
from models.synergy.training import Schedule

N, LINES = 9, 3
SHORT = Schedule(4, 8)
CHAIN = Schedule(12, 4)
OWN_SCHEDULE = {"hierarchical_bliss": CHAIN, "logit_tensor": CHAIN, "stacked": None}

every_model = pytest.mark.parametrize("name", MODELS)


def candidates() -> Candidates:
    first, second = np.triu_indices(N, k=1)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(np.arange(LINES), len(first))
    )


@cache
def training() -> Training:
    simulated = simulate_screen(N, LINES, 3, 0.05, seed=1)
    order = np.random.default_rng(0).permutation(len(candidates()))[:60]
    wells = simulated.measure(candidates().select(np.sort(order)), 2, 3)
    screen = simulated.screen(simulated.single_agents(2, 1), simulated.controls(8, 2), wells)
    curves = fit_curves(screen.wells, N, LINES)
    blocks = measure_blocks(screen, "bliss_mean", curves)
    return Training.of(blocks, features_of(screen, curves), screen.wells, "bliss_mean")


@cache
def fitted(name: str) -> ModelPosterior:
    schedule = OWN_SCHEDULE.get(name, SHORT)
    with pytest.MonkeyPatch.context() as patch:
        if name == "stacked":  # its components choose their own schedules
            patch.setattr("models.synergy.gaussian_process.process.STEPS", 2)
            patch.setattr(Schedule, "for_rows", classmethod(lambda cls, n: cls(4, 8)))
        return find_model(name).fit(training(), seed=5, schedule=schedule)


@every_model
def test_draws_are_finite_functions_of_the_unordered_pair(name: str) -> None:
    at = candidates()
    draws = fitted(name).draws(at, 6, 3)
    assert draws.shape == (6, len(at))
    assert draws.dtype == torch.float32
    assert torch.isfinite(draws).all()
    swapped = Candidates.of(at.compounds[:, 1], at.compounds[:, 0], at.cell_line)
    assert torch.equal(draws, fitted(name).draws(swapped, 6, 3))
    order = np.random.default_rng(1).permutation(len(at))
    shuffled = fitted(name).draws(at.select(order), 6, 3)
    assert torch.allclose(draws[:, order], shuffled, atol=2e-3)


@every_model
def test_saved_and_loaded_through_the_registry_it_is_the_same(name: str) -> None:
    tensors, metadata = save(fitted(name))
    again = load(
        safetensors.torch.load(safetensors.torch.save(tensors)), json.loads(json.dumps(metadata))
    )
    at = candidates()
    assert again.model == name
    assert torch.equal(fitted(name).draws(at, 5, 2), again.draws(at, 5, 2))
    assert torch.equal(fitted(name).noise_scale(at), again.noise_scale(at))
    assert again.noise_df == fitted(name).noise_df


@every_model
def test_noise_and_diagnostics_can_be_read(name: str) -> None:
    posterior, at = fitted(name), candidates()
    scale, sd = posterior.noise_scale(at), posterior.noise_sd(at)
    assert scale.shape == sd.shape == (len(at),)
    assert (scale > 0).all()
    assert (sd >= scale * 0.999).all()
    assert posterior.noise_df > 2
    assert json.loads(json.dumps(posterior.diagnostics()))


KNOWN_ERRORS = [n for n in MODELS if n.startswith(("bilinear", "concat", "plain", "gp", "stacked"))]


@pytest.mark.parametrize("name", KNOWN_ERRORS)
def test_a_larger_standard_error_is_more_noise(name: str) -> None:
    """A model's rule for known errors gives the typical noise at a typical error."""
    posterior, at = fitted(name), candidates()
    assert isinstance(posterior, KnowsErrors)
    typical = np.full(len(at), float(np.median(training().blocks.noise_sd)))
    found = posterior.noise_scale_given(at, typical)
    assert np.allclose(found, posterior.noise_scale(at).numpy(), rtol=0.05)
    assert (posterior.noise_scale_given(at, 3 * typical) > found).all()


@every_model
def test_too_few_blocks_are_refused(name: str) -> None:
    with pytest.raises(ScreenError, match="measured blocks"):
        find_model(name).fit(training().select(np.arange(3)), seed=0)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ScreenError, match=r"unknown model 'gpt'; known are bnn_gaussian, gp_pairs"):
        find_model("gpt")


@every_model
def test_the_report_on_its_health_is_complete(name: str) -> None:
    report = describe_health(fitted(name), training(), seed=1)
    assert json.loads(json.dumps(report)) == report
    memory = report["memorisation"]
    assert memory["parameters"] > 0
    assert memory["n"] == 60
    assert memory["replicates"]["points"] > 0
    has_network = name not in ("gp_pairs", "plain_gp", "hierarchical_bliss", "logit_tensor")
    assert (report["channels"] is not None) == has_network
    if has_network:
        assert report["channels"]["layers"]
