"""Masks and effects: divergences against independent ones, gradients, and the shares of plates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from models.perturbation.vae.masks import SparseEffects, plate_weights
from models.screen import ScreenError


def _effects(seed: int = 0, **changes) -> SparseEffects:
    generator = torch.Generator().manual_seed(seed)
    options = {"prior_on": 0.3, "effect_sd": 2.0, "temperature": 1.0, "hidden": 8} | changes
    effects = SparseEffects(3, 5, generator, **options)
    with torch.no_grad():
        effects.logits.copy_(torch.randn(3, 5, generator=generator))
        effects.mean.copy_(torch.randn(3, 5, generator=generator))
        effects.to_mean.weight.copy_(0.3 * torch.randn(8, 5, generator=generator))
    return effects


def test_the_divergence_of_masks_is_that_of_bernoulli_laws() -> None:
    effects = _effects()
    expected = kl_divergence(Bernoulli(logits=effects.logits), Bernoulli(torch.tensor(0.3)))
    assert torch.allclose(effects.mask_kl(), expected.sum(-1), atol=1e-6)


def test_effects_pay_for_their_divergence_where_the_mask_is_on_only() -> None:
    effects = _effects()
    draw = effects.draw(torch.Generator().manual_seed(5))
    mask = draw.mask.detach().round()
    mean, log_sd = effects.effect_moments(mask)
    each = kl_divergence(Normal(mean, log_sd.exp()), Normal(0.0, 2.0))
    expected = (mask * each).sum(-1) + effects.mask_kl()
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(draw.kl, expected, atol=1e-5)


def test_masks_are_hard_and_let_gradients_through() -> None:
    effects = _effects()
    draw = effects.draw(torch.Generator().manual_seed(1))
    assert torch.allclose(draw.mask, draw.mask.detach().round(), atol=1e-6)
    draw.shift().sum().backward()
    assert (effects.logits.grad != 0).all()


def test_draws_have_the_probabilities_and_the_means_of_the_guide() -> None:
    effects = _effects()
    with torch.no_grad():
        effects.to_mean.weight.zero_()
    n = 4000
    found = effects.samples(n, torch.Generator().manual_seed(0))
    on = effects.probabilities()
    error = (on * (1 - on) / n).sqrt()
    assert (((found != 0).float().mean(0) - on).abs() < 4.5 * error).all()
    assert torch.allclose(found.mean(0), effects.expected(), atol=0.15)


def test_relaxed_draws_follow_the_probabilities_too() -> None:
    effects, generator = _effects(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        mean = torch.stack([effects.draw(generator).mask for _ in range(900)]).mean(0)
    assert (mean - effects.probabilities()).abs().max() < 4.5 * 0.5 / np.sqrt(900)


def test_plates_of_an_epoch_sum_to_one_for_every_target() -> None:
    """Also for a target without any cell: it keeps its prior instead of drifting freely."""
    rng = np.random.default_rng(0)
    present = torch.tensor((rng.random((64, 6)) < 0.3).astype(np.float32))
    present[:, 4] = 0
    present[:, 5] = torch.eye(64)[7]
    weights = plate_weights(present)
    assert torch.allclose(weights.sum(0), torch.ones(6), atol=1e-6)
    assert (weights[:, 4] == 1 / 64).all()
    assert weights[7, 5] == 1
    assert (weights[:, :4][present[:, :4] == 0] == 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"prior_on": 1.0}, "prior probability"), ({"temperature": 0.0}, "temperature")],
)
def test_priors_must_make_sense(changes, words) -> None:
    with pytest.raises(ScreenError, match=words):
        _effects(**changes)
