"""Approximate Bayesian computation in its two limits, on toys with exact posteriors."""

import math

import pytest
import torch

from models.dynamics.stochastic.abc import (
    Particles,
    Sequence,
    kernel_factor,
    log_proposal,
    nearest,
    rejection,
    sequential,
)
from models.dynamics.stochastic.priors import BoxPrior
from models.screen import ScreenError, Stopped

PRIOR = BoxPrior(("p",), (0.0,), (1.0,))
TRIES, SEEN = 10, torch.tensor([7.0], dtype=torch.float64)
MEAN, SD = 8 / 12, math.sqrt(8 * 4 / (12**2 * 13))
"""Beta(8, 4): the posterior of a chance after 7 of 10."""


def successes(theta, generator):
    return torch.binomial(torch.full_like(theta, TRIES), theta, generator=generator)


def normal(theta, generator):
    return theta + 0.3 * torch.randn(theta.shape, generator=generator, dtype=torch.float64)


def test_everything_kept_is_the_prior():
    found = rejection(PRIOR, successes, SEEN, epsilon=math.inf, particles=4000, seed=0)
    assert float(found.mean()[0]) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 4000))
    assert float(found.sd()[0]) == pytest.approx(math.sqrt(1 / 12), rel=0.04)


def test_nothing_but_the_data_is_the_posterior():
    found = rejection(PRIOR, successes, SEEN, epsilon=0.0, particles=3000, seed=0)
    assert float(found.mean()[0]) == pytest.approx(MEAN, abs=4 * SD / math.sqrt(3000))
    assert float(found.sd()[0]) == pytest.approx(SD, rel=0.06)
    assert float(found.distance.max()) == 0.0


@pytest.mark.slow
def test_sequential_is_the_posterior_with_its_weights():
    """The weights matter: without them the particles would be those of the kernel, too near the
    middle. Tolerance four standard errors of the effective number."""
    options = Sequence(particles=2500, rounds=8, quantile=0.3, batch=2000)
    found = sequential(PRIOR, successes, SEEN, options, seed=1)
    assert found.epsilon == 0.0
    assert found.effective() > 800
    error = 4 * SD / math.sqrt(found.effective())
    assert float(found.mean()[0]) == pytest.approx(MEAN, abs=error)
    assert float(found.sd()[0]) == pytest.approx(SD, rel=0.1)
    assert float(found.weights.sum()) == pytest.approx(1)


def test_sequential_needs_fewer_simulations():
    seen = torch.tensor([0.4], dtype=torch.float64)
    prior = BoxPrior(("x",), (-60.0,), (60.0,))
    options = Sequence(particles=200, rounds=12, target=0.01, batch=400)
    found = sequential(prior, normal, seen, options, seed=0)
    assert found.epsilon <= 0.05
    assert float(found.mean()[0]) == pytest.approx(0.4, abs=0.15)
    rejected = rejection(prior, normal, seen, epsilon=found.epsilon, particles=200, seed=0)
    assert found.simulations < 0.7 * rejected.simulations


def test_the_proposal_is_a_mixture_of_normals():
    before = Particles(
        torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64),
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.zeros(3), 1.0, 3,
    )  # fmt: skip
    factor = kernel_factor(before)
    variance = 0.5 * 0.81 + 0.3 * 0.01 + 0.2 * 4.41
    assert float(factor[0, 0]) ** 2 == pytest.approx(2 * variance)
    at = torch.tensor([[0.7]], dtype=torch.float64)
    expected = sum(
        w * math.exp(-0.25 * (0.7 - x) ** 2 / variance)
        for w, x in zip((0.5, 0.3, 0.2), (0.0, 1.0, 3.0), strict=True)
    )
    assert float(log_proposal(at, before, factor)) == pytest.approx(math.log(expected))


def test_the_nearest_of_what_is_there():
    theta = torch.arange(10.0)[:, None]
    found = nearest(theta, theta.double(), torch.tensor([4.0]), 3)
    assert sorted(found.theta.flatten().tolist()) == [3, 4, 5]


def test_refusals_and_stopping():
    with pytest.raises(ScreenError, match="keep 1 to"):
        nearest(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(1), 4)
    with pytest.raises(ScreenError, match="raise it"):
        rejection(PRIOR, successes, SEEN + 100, epsilon=0.1, particles=5, seed=0, most=3000)
    with pytest.raises(Stopped):
        rejection(
            PRIOR, successes, SEEN, epsilon=0.0, particles=5, seed=0, should_stop=lambda: True
        )
    with pytest.raises(ScreenError, match="quantile"):
        Sequence(quantile=1.0)
