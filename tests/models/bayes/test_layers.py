"""Variational layers: the KL against numbers, activations against drawn weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from models.bayes.layers import (
    GaussianWeight,
    VariationalEmbedding,
    VariationalLinear,
    draw_moments,
    gaussian_kl,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kl_of(mean: float, sd: float, prior: float) -> float:
    return float(gaussian_kl(torch.tensor([mean]), torch.tensor([math.log(sd)]), prior))


@pytest.mark.parametrize(
    ("mean", "sd", "prior"), [(0.0, 1.0, 1.0), (0.3, 0.1, 0.5), (-2.0, 0.7, 0.4), (0.1, 2.0, 1.0)]
)
def test_kl_equals_numerical_integration(mean: float, sd: float, prior: float) -> None:
    q, p = norm(mean, sd), norm(0.0, prior)
    expected, _ = quad(
        lambda w: q.pdf(w) * (q.logpdf(w) - p.logpdf(w)), mean - 12 * sd, mean + 12 * sd
    )
    assert kl_of(mean, sd, prior) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.01, 5), st.floats(0.05, 5))
def test_kl_is_never_negative(mean: float, sd: float, prior: float) -> None:
    assert kl_of(mean, sd, prior) >= -1e-5


def test_kl_is_zero_at_the_prior_and_sums_over_weights() -> None:
    weight = GaussianWeight((3, 4), 0.7, seeded())
    weight.reset_to_prior(torch.arange(3))
    assert weight.kl().item() == pytest.approx(0.0, abs=1e-5)
    one = kl_of(0.2, 0.3, 0.7)
    with torch.no_grad():
        weight.mean.fill_(0.2)
        weight.log_sd.fill_(math.log(0.3))
    assert weight.kl().item() == pytest.approx(12 * one, rel=1e-5)


def test_prior_scale_of_a_layer_keeps_unit_variance() -> None:
    layer = VariationalLinear(400, 50, seeded(), gain=0.5, bias=False)
    layer.weight.reset_to_prior(torch.arange(50))
    x = torch.randn(30, 400, generator=seeded(1))
    assert layer.sample(200, seeded(2))(x).std().item() == pytest.approx(0.5, rel=0.05)


def test_local_reparameterisation_has_the_law_of_drawn_weights() -> None:
    layer = VariationalLinear(5, 3, seeded())
    with torch.no_grad():
        layer.weight.log_sd.fill_(math.log(0.4))
    x = torch.randn(2, 5, generator=seeded(1))
    drawn = layer.sample(20000, seeded(2))(x)
    mean, variance = layer.moments(x)
    assert torch.allclose(drawn.mean(0), mean, atol=0.04)
    assert torch.allclose(drawn.var(0), variance, rtol=0.06)
    many = draw_moments((mean.expand(20000, 2, 3), variance.expand(20000, 2, 3)), seeded(3))
    assert torch.allclose(many.var(0), variance, rtol=0.06)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.integers(0, 1000))
def test_batched_draws_equal_a_loop_over_worlds(rows: int, fan_in: int, n: int, seed: int) -> None:
    layer = VariationalLinear(fan_in, 4, seeded(seed))
    x = torch.randn(rows, fan_in, generator=seeded(seed + 1))
    maps = layer.sample(n, seeded(seed + 2))
    assert maps.bias is not None
    loop = torch.stack([x @ maps.weight[i].T + maps.bias[i] for i in range(n)])
    assert torch.allclose(maps(x), loop, atol=1e-5)


def test_draws_follow_the_seed() -> None:
    layer = VariationalEmbedding(7, 3, seeded())
    assert torch.equal(layer.sample(4, seeded(5)), layer.sample(4, seeded(5)))
    assert not torch.equal(layer.sample(4, seeded(5)), layer.sample(4, seeded(6)))


def test_linear_gaussian_posterior_mean_is_the_ridge_solution() -> None:
    """One linear layer, known noise: the variational mean is exact (Bishop 2006, 10.1)."""
    g = seeded(3)
    x, noise = torch.randn(60, 4, generator=g), 0.3
    y = x @ torch.tensor([1.0, -0.5, 0.0, 0.3]) + noise * torch.randn(60, generator=g)
    layer = VariationalLinear(4, 1, seeded(), gain=2.0, bias=False)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.04)
    for _ in range(600):
        mean, variance = layer.moments(x)
        loss = ((y - mean[:, 0]).square() + variance[:, 0]).sum() / (2 * noise**2) + layer.kl()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    precision = x.T @ x / noise**2 + torch.eye(4)
    exact = torch.linalg.solve(precision, x.T @ y / noise**2)
    assert torch.allclose(layer.weight.mean[0], exact, atol=0.02)
    expected_sd = precision.diagonal().rsqrt()
    assert torch.allclose(layer.weight.log_sd[0].exp(), expected_sd, rtol=0.05)
