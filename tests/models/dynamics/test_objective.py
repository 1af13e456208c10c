"""Bounds and gradients: exact marginals, monotone in K, DReG against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from models.dynamics.objective import bound, effective_samples, normalised, resample, surrogate

PRIOR_SD, NOISE_SD, READING = 1.0, 0.5, 0.8


def log_normal(
    x: torch.Tensor, mean: torch.Tensor | float, sd: torch.Tensor | float
) -> torch.Tensor:
    sd = torch.as_tensor(sd, dtype=x.dtype)
    return -0.5 * ((x - mean) / sd).square() - torch.log(sd) - 0.5 * math.log(2 * math.pi)


def weights(
    samples: int, repeats: int, seed: int, mean: float = 0.3, sd: float = 0.7
) -> torch.Tensor:
    noise = torch.randn(samples, repeats, generator=torch.Generator().manual_seed(seed)).double()
    theta = mean + sd * noise
    return (
        log_normal(torch.tensor(READING, dtype=torch.float64), theta, NOISE_SD)
        + log_normal(theta, 0.0, PRIOR_SD)
        - log_normal(theta, mean, sd)
    )


def test_the_bound_rises_in_samples_to_the_log_marginal() -> None:
    exact = norm.logpdf(READING, 0, math.hypot(PRIOR_SD, NOISE_SD))
    means, errors = [], []
    for samples in (1, 3, 10, 100, 3000):
        found = bound(weights(samples, 4000 if samples < 1000 else 300, samples))
        means.append(found.mean().item())
        errors.append(found.std().item() / math.sqrt(len(found)))
    for i in range(4):
        assert means[i + 1] > means[i] - 3 * math.hypot(errors[i], errors[i + 1])
    assert means[1] > means[0] + 0.05
    assert means[-1] == pytest.approx(exact, abs=0.004)


def test_the_exact_posterior_has_one_weight() -> None:
    precision = 1 / PRIOR_SD**2 + 1 / NOISE_SD**2
    mean, sd = READING / NOISE_SD**2 / precision, precision**-0.5
    log_weights = weights(50, 4, 0, mean, sd)
    exact = norm.logpdf(READING, 0, math.hypot(PRIOR_SD, NOISE_SD))
    torch.testing.assert_close(log_weights, torch.full_like(log_weights, exact))
    torch.testing.assert_close(effective_samples(log_weights), torch.full((4,), 50.0).double())


def gradients(seed: int, samples: int, doubly: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients by q's mean and by the prior's mean, each averaged over 20,000 series."""
    n = 20_000
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    prior = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(samples, n, 1, generator=torch.Generator().manual_seed(seed)).double()
    sampled = mean + 0.9 * noise
    q_mean = mean.detach() if doubly else mean
    log_w = (
        log_normal(torch.tensor(READING, dtype=torch.float64), sampled, NOISE_SD)
        + log_normal(sampled, prior, PRIOR_SD)
        - log_normal(sampled, q_mean, 0.9)
    )[..., 0]
    loss = surrogate(log_w, sampled).mean() if doubly else bound(log_w).mean()
    found = torch.autograd.grad(loss, (mean, prior))
    return found[0], found[1]


def test_the_doubly_reparameterised_gradient_is_that_of_the_bound() -> None:
    plain = gradients(0, 8, False)
    doubly = gradients(1, 8, True)
    # Standard errors over 20,000 series are below 0.005 for both.
    assert doubly[0].item() == pytest.approx(plain[0].item(), abs=0.02)
    assert doubly[1].item() == pytest.approx(plain[1].item(), abs=0.02)
    assert abs(plain[0].item()) > 0.03


def test_its_noise_vanishes_at_the_exact_posterior() -> None:
    precision = 1 / PRIOR_SD**2 + 1 / NOISE_SD**2
    mean = torch.tensor(READING / NOISE_SD**2 / precision, dtype=torch.float64, requires_grad=True)
    sd = precision**-0.5
    noise = torch.randn(5, 7, 1, generator=torch.Generator().manual_seed(0)).double()
    sampled = mean + sd * noise
    log_w = (
        log_normal(torch.tensor(READING, dtype=torch.float64), sampled, NOISE_SD)
        + log_normal(sampled, 0.0, PRIOR_SD)
        - log_normal(sampled, mean.detach(), sd)
    )[..., 0]
    gradient = torch.autograd.grad(surrogate(log_w, sampled).sum(), mean)[0]
    assert abs(gradient.item()) < 1e-12


def test_resampling_follows_the_weights() -> None:
    log_weights = torch.log(torch.tensor([[0.2], [0.0], [0.8]]))
    picked = resample(log_weights, 5000, torch.Generator().manual_seed(0))
    assert picked.shape == (5000, 1)
    share = torch.bincount(picked[:, 0], minlength=3) / 5000
    assert share[1] == 0
    assert share[2].item() == pytest.approx(0.8, abs=0.023)
    assert normalised(log_weights).sum().item() == pytest.approx(1.0)
