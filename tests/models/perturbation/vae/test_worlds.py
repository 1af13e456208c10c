"""Effects by common random numbers: exact zeros, one world per draw, less noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.perturbation.vae.fitting import FittedVae, fit_vae, load_vae
from models.screen import ScreenError
from tests.models.perturbation.vae.small import EFFECT, counts, plan, settings

CONDITIONS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0.5, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]])


@pytest.fixture(scope="module")
def fitted() -> FittedVae:
    cells = counts(300, pairs=True)
    return fit_vae(cells, settings(rank=2, artifact=True), plan(25, mask_rate=0.1), seed=0)


@pytest.mark.parametrize("scale", ["ratio", "log2_profile"])
def test_a_control_has_no_effect_to_the_bit(fitted, scale) -> None:
    found = fitted.effects(CONDITIONS, 7, 0, scale=scale)
    assert np.array_equal(found[:, 0], np.zeros((7, 8)))
    assert np.abs(found[:, 1:]).min(axis=(0, 2)).max() > 0


def test_a_draw_is_one_world_however_conditions_are_asked_for(fitted) -> None:
    whole = fitted.effects(CONDITIONS, 5, 3)
    turned = fitted.effects(CONDITIONS[::-1], 5, 3)[:, ::-1]
    alone = np.concatenate([fitted.effects(CONDITIONS[i : i + 1], 5, 3) for i in range(6)], axis=1)
    assert np.array_equal(whole, turned)
    assert np.array_equal(whole, alone)
    assert not np.array_equal(whole, fitted.effects(CONDITIONS, 5, 4))


def test_common_random_numbers_leave_less_noise_than_fresh_ones(fitted) -> None:
    """The published effects drew new basal states for each condition."""
    model = fitted.model
    shift = model.effects.expected()[:1]

    def level(seed: int, shifted: float) -> torch.Tensor:
        z = torch.randn(16, 2, generator=torch.Generator().manual_seed(seed))
        rows = shifted * shift.expand(16, -1)
        raw = model.decode(z, rows, torch.zeros(16), model.artifact.mean)
        return torch.log(torch.softmax(raw, -1).mean(0))

    with torch.no_grad():
        common = torch.stack([level(seed, 1.0) - level(seed, 0.0) for seed in range(30)])
        fresh = torch.stack([level(seed, 1.0) - level(seed + 99, 0.0) for seed in range(30)])
    assert common.var(0).mean() < 0.5 * fresh.var(0).mean()


def test_the_interaction_is_zero_to_the_bit_without_two_compounds(fitted) -> None:
    found = fitted.interactions(CONDITIONS, 6, 0)
    assert np.array_equal(found[:, :3], np.zeros((6, 3, 8)))
    assert (np.abs(found[:, 3:]).max(axis=(0, 2)) > 0).all()


def test_an_interaction_that_is_not_known_cancels_in_the_mean() -> None:
    """From singles alone: each world has its own, the mean that of the parts."""
    cells = counts(200)
    fit = fit_vae(cells, settings(rank=2), plan(10), seed=0)
    pair = np.array([[1.0, 1, 0]])
    drawn = fit.interactions(pair, 200, 0)
    away = np.abs(fit.mean_effects(pair, 200) - (fit.effects(pair, 200, 0) - drawn).mean(axis=0))
    assert drawn.std(axis=0).mean() > 0.1
    assert away.mean() < 0.25 * drawn.std(axis=0).mean()
    assert np.array_equal(fit.mean_effects(0 * pair), np.zeros((1, 8)))


def test_effects_are_found(fitted) -> None:
    """Log ratios of proportions: what is perturbed, less what it does to all molecules."""
    mean = fitted.effects(np.eye(3), 40, 0).mean(axis=0)
    found = np.corrcoef(mean.reshape(-1), EFFECT.reshape(-1))[0, 1]
    assert found > 0.9


def test_the_network_finds_its_edges_with_their_signs(fitted) -> None:
    network = fitted.network()
    edges = EFFECT != 0
    assert network.probability[edges].mean() > network.probability[~edges].mean() + 0.25
    assert (np.sign(network.weight[edges]) == np.sign(EFFECT[edges])).all()


def test_a_saved_model_draws_the_same_bits(fitted) -> None:
    again = load_vae(*fitted.save())
    assert np.array_equal(again.effects(CONDITIONS, 3, 1), fitted.effects(CONDITIONS, 3, 1))
    assert np.array_equal(again.network().probability, fitted.network().probability)
    tensors, metadata = fitted.save()
    with pytest.raises(ScreenError, match="version 9"):
        load_vae(tensors, metadata | {"version": 9})


def test_draws_and_doses_are_checked(fitted) -> None:
    with pytest.raises(ScreenError, match="cannot draw 0"):
        fitted.effects(CONDITIONS, 0, 0)
    with pytest.raises(ScreenError, match="0 or positive"):
        fitted.effects(-CONDITIONS, 1, 0)
