"""The structure-preserving GAN: its three symmetries, bounds, and that it learns a spread."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from models.screen import ScreenError, Stopped
from models.surfaces.sampler.adversarial import (
    AdversarialOptions,
    AdversarialSampler,
    Critic,
    Generator,
    fit_adversarial,
)
from models.surfaces.sampler.conditions import (
    CONDITION_SWAP,
    SURFACE_SWAP,
    TOP,
    PairFeatures,
    observe,
)
from models.surfaces.sampler.layers import Dense
from models.surfaces.symmetry import (
    Batch,
    SymmetryError,
    check_equivariance,
    check_invariance,
    grid_permutations,
)
from tests.models.surfaces.sampler.small import NOISE, blocks, some_missing

NOTHING = PairFeatures.none()
SMALL = AdversarialOptions(steps=20, rows=32, latent=6, hidden=16, rates=(2e-3, 8e-3))


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def batch() -> Batch:
    return observe(blocks(12), NOTHING)


@cache
def fitted() -> AdversarialSampler:
    return fit_adversarial([blocks(200)], NOISE, seed=0, options=SMALL)


def test_the_generator_is_equivariant_in_element_and_condition() -> None:
    """G(z, s s', s c) = s G(z, s', c) for both s'."""
    network, z = Generator(6, 16, (0, 0), random()), torch.randn(12, 6, generator=random(1))
    for start in (False, True):
        element = torch.full((12,), start)

        def surface(given: Batch, element: Tensor = element) -> Tensor:
            turned = given["rows"] is not batch()["rows"]
            with torch.no_grad():
                return network(z, element ^ turned, given)

        found = check_equivariance(
            surface, batch(), CONDITION_SWAP, grid_permutations(2), tolerance=1e-5
        )
        assert found <= 1e-5
        with pytest.raises(SymmetryError), torch.no_grad():
            check_equivariance(
                lambda given, element=element: network(z, element, given),
                batch(),
                CONDITION_SWAP,
                grid_permutations(2),
            )


def test_the_random_element_makes_the_law_invariant_and_without_it_it_is_not() -> None:
    """A block of a compound-symmetric condition: draws and their transposes must share a law."""
    network = Generator(6, 16, (0, 0), random(3))
    with torch.no_grad():
        network.project.weight[4:8] *= 8.0  # features of one drug larger than of the other
    margin = batch()["rows"][:1]
    reference = torch.zeros(1, 3, 3)
    given = {
        "rows": margin,
        "columns": margin,
        "context": torch.zeros(1, 0),
        "reference": reference,
    }
    z = torch.randn(4000, 1, 6, generator=random(4))
    coin = torch.rand(4000, 1, generator=random(5)) < 0.5

    def lean(element: Tensor) -> np.ndarray:
        with torch.no_grad():
            found = network(z, element, given)[:, 0]
        return (found - found.mT).abs().clamp_min(0).sum((1, 2)).numpy() * np.sign(
            (found - found.mT)[:, 0, 2].numpy()
        )

    fair, one = lean(coin), lean(torch.zeros_like(coin))
    assert abs(fair.mean()) < 4 * fair.std() / np.sqrt(4000)
    both = np.concatenate([one, lean(torch.ones_like(coin))])
    assert abs(both.mean()) < 1e-5


def test_the_critic_is_invariant_and_its_half_is_not() -> None:
    network = Critic(16, (0, 0), random())
    with torch.no_grad():
        assert check_invariance(network, batch(), SURFACE_SWAP, tolerance=1e-5) <= 1e-5
        with pytest.raises(SymmetryError):
            check_invariance(network.one_sided, batch(), SURFACE_SWAP, tolerance=1e-5)


def test_spectral_normalisation_is_exact() -> None:
    layer = Dense(7, 5, random(), spectral=True, bias=False)
    with torch.no_grad():
        images = layer(torch.eye(7))
    assert torch.linalg.matrix_norm(images, ord=2).item() == pytest.approx(1.0, abs=1e-5)


def test_draws_are_bounded_turn_with_the_compounds_and_spread() -> None:
    table = blocks(30, seed=7)
    found = fitted().draws(table, 40, 1)
    assert found.min() >= 0
    assert found.max() <= TOP
    turned = fitted().draws(table.swapped(), 40, 1)
    np.testing.assert_allclose(turned.transpose(0, 1, 3, 2), found, atol=1e-6)
    np.testing.assert_allclose(
        fitted().draws(table.select(np.array([5])), 40, 1), found[:, [5]], atol=1e-6
    )
    assert found.std(axis=0).mean() > 0.01
    assert np.isfinite(fitted().bounds).all()


@pytest.mark.slow
def test_it_moves_towards_the_law_of_the_data() -> None:
    """Blocks lie below Bliss by a random depth; an untrained generator lies around it."""
    table = blocks(100, seed=8)
    options = replace(SMALL, steps=120)
    trained = fit_adversarial([blocks(300)], NOISE, seed=0, options=options).draws(table, 30, 0)
    start = fit_adversarial([blocks(30)], NOISE, seed=0, options=replace(SMALL, steps=1))
    off = [
        float(np.mean(draws.mean(axis=0) - table.viability))
        for draws in (start.draws(table, 30, 0), trained)
    ]
    assert abs(off[1]) < 0.5 * abs(off[0])


def test_what_it_cannot_learn_from_is_refused() -> None:
    with pytest.raises(ScreenError, match="complete blocks"):
        fit_adversarial([some_missing(blocks(30))], NOISE, seed=0)
    with pytest.raises(ScreenError, match="at least"):
        fit_adversarial([blocks(5)], NOISE, seed=0)
    with pytest.raises(Stopped):
        fit_adversarial([blocks(30)], NOISE, seed=0, options=SMALL, should_stop=lambda: True)
