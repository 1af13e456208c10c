"""Amortised posteriors: densities, an exact one that is learned, and how training ends."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models.bayes.training import NonFiniteLossError
from models.dynamics.stochastic.neural_posterior import (
    NeuralPosterior,
    Simulated,
    Stored,
    Training,
    held_out_score,
    train,
)
from models.dynamics.stochastic.priors import BoxPrior, TrianglePrior
from models.screen import ScreenError, Stopped

BOX = BoxPrior(("x",), (-4.0,), (4.0,))
NOISE = 0.5


def network(seed=0, prior=BOX):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedding = nn.Sequential(nn.Linear(1, 24), nn.SiLU(), nn.Linear(24, 8))
    return NeuralPosterior(prior, embedding, 8, seed=seed, transforms=2, hidden=(32,))


def pairs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    theta = BOX.sample(n, generator)
    seen = theta + NOISE * torch.randn(theta.shape, generator=generator, dtype=torch.float64)
    return Simulated(theta, (seen.float(),))


def test_a_density_over_the_prior():
    """Over the triangle it integrates to one, and its draws are of it, and all inside."""
    posterior = network(3, TrianglePrior())
    side = 120
    unit = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    grid = posterior.prior.from_unit(torch.cartesian_prod(unit, unit))
    seen = torch.tensor([[0.7]])
    with torch.no_grad():
        density = posterior.log_prob(grid, seen.expand(len(grid), -1)).double().exp()
    # Cells of the unit square have equal shares of the area.
    share = density * 4 / side**2
    assert float(share.sum()) == pytest.approx(1, abs=0.01)
    drawn = posterior.sample(20_000, seen, generator=torch.Generator().manual_seed(0))[:, 0]
    assert bool(posterior.prior.contains(drawn).all())
    assert drawn.mean(0).tolist() == pytest.approx((share @ grid).tolist(), abs=0.03)


@pytest.mark.slow
def test_an_exact_posterior_is_learned():
    """A normal reading under a uniform prior: far from its ends the posterior is N(y, noise)."""
    posterior = network()
    history = train(
        posterior, Stored(pairs(20_000)), pairs(1000, 1), seed=0,
        training=Training(steps=1000, rows=256, rate=5e-3, every=100),
    )  # fmt: skip
    exact = -0.5 * math.log(2 * math.pi * NOISE**2) - 0.5
    # A little above the density of an unbounded prior: the ends cut some posteriors.
    assert history[-1] == pytest.approx(exact + 0.03, abs=0.08)
    seen = torch.tensor([[-1.5], [0.0], [2.0]])
    drawn = posterior.sample(4000, seen, generator=torch.Generator().manual_seed(0))[..., 0]
    assert drawn.mean(0).tolist() == pytest.approx([-1.5, 0.0, 2.0], abs=0.1)
    assert drawn.std(0).tolist() == pytest.approx([NOISE] * 3, rel=0.12)


def test_training_is_the_same_for_the_same_seed_and_keeps_the_best():
    found = []
    for seed in (0, 0, 1):
        posterior = network()
        options = Training(steps=12, rows=64, every=4)
        history = train(posterior, Stored(pairs(500)), pairs(200, 1), seed=seed, training=options)
        assert len(history) == 3
        assert held_out_score(posterior, pairs(200, 1)) == pytest.approx(max(history))
        found.append(history)
    assert found[0] == found[1] != found[2]


def test_the_best_weights_are_kept_even_if_they_came_early():
    posterior = network()
    options = Training(steps=60, rows=64, rate=3.0, every=1)
    try:
        history = train(posterior, Stored(pairs(500)), pairs(200, 1), seed=0, training=options)
    except NonFiniteLossError:
        return
    assert held_out_score(posterior, pairs(200, 1)) == pytest.approx(max(history))


def test_a_broken_simulation_is_named():
    broken = Simulated(torch.zeros(10, 1), (torch.full((10, 1), torch.nan),))
    posterior = network()
    with pytest.raises((NonFiniteLossError, ValueError), match=r"step 1|NaN|nan|invalid"):
        train(posterior, Stored(broken), pairs(100), seed=0, training=Training(steps=3, rows=8))


def test_stopping_and_refusals():
    with pytest.raises(Stopped):
        train(network(), Stored(pairs(100)), pairs(100), seed=0, should_stop=lambda: True)
    with pytest.raises(ScreenError, match="as many"):
        Simulated(torch.zeros(3, 1), (torch.zeros(2, 1),))
    with pytest.raises(ScreenError, match="outside"):
        network().log_prob(torch.tensor([[9.0]]), torch.zeros(1, 1))


def test_progress_is_told():
    told = []
    train(
        network(), Stored(pairs(100)), pairs(100), seed=0, training=Training(steps=3, rows=8),
        on_progress=lambda stage, done, total: told.append((stage, done, total)),
    )  # fmt: skip
    assert told[-1] == ("training on simulations", 3, 3)
    assert np.all(np.diff([done for _, done, _ in told]) == 1)


def test_training_says_how_active_its_channels_were():
    posterior = network()
    assert posterior.channels is None
    options = Training(steps=10, rows=200)
    train(posterior, Stored(pairs(100)), pairs(100), seed=0, training=options)
    assert posterior.channels["channels"] > 0
