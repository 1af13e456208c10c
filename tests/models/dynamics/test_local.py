"""Posteriors of series: densities at the sampled point, against scipy and by Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from models.dynamics.local import Local


def example(dtype: torch.dtype = torch.float64) -> Local:
    rng = np.random.default_rng(0)
    parts = (rng.normal(0, 1, (2, 3)), rng.uniform(0.2, 1.5, (2, 3)), rng.normal(0, 1, (2, 3, 2)))
    return Local(*(torch.from_numpy(part).to(dtype) for part in parts))


def covariance(local: Local, n: int) -> np.ndarray:
    sd, ways = np.diag(local.sd[n].numpy()), local.ways[n].numpy()
    return sd @ (np.eye(len(sd)) + ways @ ways.T) @ sd


def test_density_is_that_of_the_whole_covariance() -> None:
    local = example()
    points = torch.from_numpy(np.random.default_rng(1).normal(0, 2, (5, 2, 3)))
    found = local.log_density(points)
    for n in range(2):
        exact = multivariate_normal(local.mean[n].numpy(), covariance(local, n))
        np.testing.assert_allclose(found[:, n], exact.logpdf(points[:, n].numpy()), rtol=1e-9)


def test_samples_have_that_covariance() -> None:
    local = example()
    noise = torch.randn(40_000, 2, local.noise_size, generator=torch.Generator().manual_seed(0))
    sampled = local.sample(noise.double())
    for n in range(2):
        expected = covariance(local, n)
        found = np.cov(sampled[:, n].numpy().T)
        np.testing.assert_allclose(found, expected, atol=0.03 * expected.max())


def test_the_prior_over_q_averages_to_one_under_q() -> None:
    """E_q[p / q] = 1 only if log q is that of the sampled point: the published fault scored
    another one, and its mean ran off."""
    local = example()
    noise = torch.randn(200_000, 2, local.noise_size, generator=torch.Generator().manual_seed(2))
    sampled = local.sample(noise.double())
    prior = -0.5 * (sampled / 0.3).square() - np.log(0.3 * np.sqrt(2 * np.pi))
    # A prior well inside q, so that the ratio has a small variance.
    inside = Local(local.mean * 0, local.sd, local.ways)
    sampled = sampled - local.mean
    prior = (-0.5 * (sampled / 0.2).square() - np.log(0.2 * np.sqrt(2 * np.pi))).sum(-1)
    ratio = torch.exp(prior - inside.log_density(sampled))
    error = ratio.std(0) / np.sqrt(len(ratio))
    assert ((ratio.mean(0) - 1).abs() < 4 * error).all()
    assert (error < 0.05).all()
    # The same with draws clipped but scored where they were clipped to: no density at all.
    clipped = sampled.clamp(-0.5, 0.5)
    wrong = torch.exp(
        (-0.5 * (clipped / 0.2).square() - np.log(0.2 * np.sqrt(2 * np.pi))).sum(-1)
        - inside.log_density(clipped)
    )
    assert ((wrong.mean(0) - 1).abs() > 0.05).any()


def test_float32_keeps_the_density_of_strong_directions() -> None:
    local = Local(torch.zeros(1, 28), torch.full((1, 28), 0.01), 3 * torch.ones(1, 28, 8))
    noise = torch.randn(50, 1, local.noise_size, generator=torch.Generator().manual_seed(0))
    sampled = local.sample(noise)
    single = local.log_density(sampled)
    whole = Local(local.mean.double(), local.sd.double(), local.ways.double())
    assert (single - whole.log_density(sampled.double())).abs().max() < 0.05
    assert local.noise_size == 36


def test_selection_takes_series() -> None:
    local = example()
    assert torch.equal(local.select(torch.tensor([1])).mean, local.mean[1:])
    assert not local.detach().mean.requires_grad


@pytest.mark.parametrize("rank", [0, 3])
def test_any_number_of_directions(rank: int) -> None:
    local = Local(torch.zeros(1, 3), torch.ones(1, 3), torch.zeros(1, 3, rank))
    density = local.log_density(torch.zeros(1, 1, 3))
    assert density.item() == pytest.approx(-1.5 * np.log(2 * np.pi))
