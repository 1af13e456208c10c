"""Variational layers: activations against drawn weights, exact posteriors, scales and states."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from scipy.stats import kstest, laplace, norm

from models.bayes.families import LAPLACE, WEIGHT_FAMILIES, WeightFamily
from models.bayes.layers import (
    GaussianWeight,
    VariationalEmbedding,
    VariationalLinear,
    VariationalWeight,
    draw_moments,
    gaussian_kl,
)

every_family = pytest.mark.parametrize("family", WEIGHT_FAMILIES.values(), ids=lambda f: f.name)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kl_is_zero_at_the_prior_and_sums_over_weights() -> None:
    weight = GaussianWeight((3, 4), 0.7, seeded())
    weight.reset_to_prior(torch.arange(3))
    assert weight.kl().item() == pytest.approx(0.0, abs=1e-5)
    one = gaussian_kl(torch.tensor([0.2]), torch.tensor([math.log(0.3)]), 0.7).item()
    with torch.no_grad():
        weight.mean.fill_(0.2)
        weight.log_sd.fill_(math.log(0.3))
    assert weight.kl().item() == pytest.approx(12 * one, rel=1e-5)


def test_prior_scale_of_a_layer_keeps_unit_variance() -> None:
    layer = VariationalLinear(400, 50, seeded(), gain=0.5, bias=False)
    layer.weight.reset_to_prior(torch.arange(50))
    x = torch.randn(30, 400, generator=seeded(1))
    assert layer.sample(200, seeded(2))(x).std().item() == pytest.approx(0.5, rel=0.05)


def widened(layer: VariationalLinear | VariationalEmbedding) -> None:
    """A posterior in which, in the families that prune, some weights are 0."""
    for weight in layer.modules():
        if isinstance(weight, VariationalWeight):
            with torch.no_grad():
                weight.log_sd.fill_(math.log(0.4))
                weight.mean.view(-1)[::3] = 0.01
    layer.eval()


@every_family
def test_local_reparameterisation_has_the_moments_of_drawn_weights(family: WeightFamily) -> None:
    layer = VariationalLinear(5, 3, seeded(), family=family)
    widened(layer)
    x = torch.randn(2, 5, generator=seeded(1))
    drawn = layer.sample(20000, seeded(2))(x)
    mean, variance = layer.moments(x)
    assert torch.allclose(drawn.mean(0), mean, atol=0.04)
    assert torch.allclose(drawn.var(0), variance, rtol=0.06)
    many = draw_moments((mean.expand(20000, 2, 3), variance.expand(20000, 2, 3)), seeded(3))
    assert torch.allclose(many.var(0), variance, rtol=0.06)


@every_family
def test_draws_of_an_embedding_have_the_moments_and_law_of_its_table(family: WeightFamily) -> None:
    layer = VariationalEmbedding(4, 2, seeded(), family=family)
    widened(layer)
    index = torch.tensor([1, 3])
    drawn = layer.sample(20000, seeded(2))[:, index]
    mean, variance = layer.moments(index)
    assert torch.allclose(drawn.mean(0), mean, atol=0.015)
    assert torch.allclose(drawn.var(0), variance, rtol=0.07, atol=1e-9)
    rows = layer(torch.full((5000,), 1), seeded(3))[:, 1].detach().numpy()
    law = laplace(0, 0.4 / math.sqrt(2)) if family is LAPLACE else norm(0, 0.4)
    if mean[0, 1] != 0:
        assert kstest(rows - mean[0, 1].item(), law.cdf).pvalue > 0.01


@pytest.mark.parametrize("name", [n for n, f in WEIGHT_FAMILIES.items() if f.proper])
def test_prior_draws_of_layers_keep_the_scale_of_activations(name: str) -> None:
    """Families differ in the shape of the prior, not in the variance of what a layer answers."""
    family = WEIGHT_FAMILIES[name]
    layer = VariationalLinear(300, 20, seeded(), gain=0.5, family=family)
    if name == "ard":
        layer.weight.reset_to_prior(torch.arange(20))
    x = torch.randn(30, 300, generator=seeded(1))
    expected = math.sqrt(0.5**2 + 0.5**2)
    assert layer.prior_sample(200, seeded(2))(x).std().item() == pytest.approx(expected, rel=0.05)
    table = VariationalEmbedding(20, 3, seeded(), gain=0.4, family=family)
    table.table.reset_to_prior(torch.arange(20))
    assert table.prior_sample(500, seeded(3)).std().item() == pytest.approx(0.4, rel=0.05)


@every_family
def test_states_travel(family: WeightFamily) -> None:
    """Through safetensors into a layer of another seed: same moments, KL and draws, to the bit."""
    layers = [VariationalLinear(5, 3, seeded(k), family=family) for k in (0, 1)]
    widened(layers[0])
    layers[1].load_state_dict(load(save(layers[0].state_dict())))
    layers[1].eval()
    x = torch.randn(4, 5, generator=seeded(2))
    first, second = (
        (*layer.moments(x), layer.kl(seeded(3)), layer.sample(3, seeded(4))(x)) for layer in layers
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@every_family
def test_double_precision_stays_double(family: WeightFamily) -> None:
    layer = VariationalLinear(5, 3, seeded(), family=family).double()
    x = torch.ones(2, 5, dtype=torch.float64)
    maps = [
        layer.sample(2, seeded()),
        *([layer.prior_sample(2, seeded())] if family.proper else []),
    ]
    found = (*layer.moments(x), layer.kl(seeded()), layer(x, seeded()), *(m(x) for m in maps))
    assert all(tensor.dtype == torch.float64 for tensor in found)


@pytest.mark.gpu
@every_family
def test_cpu_and_gpu_agree(family: WeightFamily) -> None:
    """Random numbers come from the generator's device, so one seed is one function on both."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    layer, x = VariationalLinear(5, 3, seeded(), family=family), torch.ones(2, 5)
    widened(layer)

    def found(device: str) -> list[torch.Tensor]:
        here, inputs = layer.to(device), x.to(device)
        values = [*here.moments(inputs), here.kl(seeded()), here(inputs, seeded())]
        values.append(here.sample(4, seeded())(inputs))
        if family.proper:
            values.append(here.prior_sample(4, seeded())(inputs))
        return [value.detach().cpu() for value in values]

    for cpu, gpu in zip(found("cpu"), found("cuda"), strict=True):
        assert torch.allclose(cpu, gpu, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.integers(0, 1000))
def test_batched_draws_equal_a_loop_over_worlds(rows: int, fan_in: int, n: int, seed: int) -> None:
    layer = VariationalLinear(fan_in, 4, seeded(seed))
    x = torch.randn(rows, fan_in, generator=seeded(seed + 1))
    maps = layer.sample(n, seeded(seed + 2))
    assert maps.bias is not None
    loop = torch.stack([x @ maps.weight[i].T + maps.bias[i] for i in range(n)])
    assert torch.allclose(maps(x), loop, atol=1e-5)


@every_family
def test_draws_follow_the_seed(family: WeightFamily) -> None:
    layer = VariationalEmbedding(7, 3, seeded(), family=family)
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


def test_orthogonal_inputs_give_the_exact_posterior_and_evidence() -> None:
    """There the exact posterior is factorised: means, sds and the ELBO itself are exact."""
    noise, gain = 0.3, 1.5
    basis, _ = torch.linalg.qr(torch.randn(30, 3, generator=seeded(5)))
    x = basis * torch.tensor([1.0, 2.0, 4.0])
    y = x @ torch.tensor([0.8, -0.3, 0.1]) + noise * torch.randn(30, generator=seeded(6))
    layer = VariationalLinear(3, 1, seeded(), gain=gain, bias=False)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        mean, variance = layer.moments(x)
        loss = ((y - mean[:, 0]).square() + variance[:, 0]).sum() / (2 * noise**2) + layer.kl()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    prior_sd = gain / math.sqrt(3)
    precision = x.square().sum(0) / noise**2 + prior_sd**-2
    assert torch.allclose(layer.weight.mean[0], x.T @ y / noise**2 / precision, atol=1e-3)
    assert torch.allclose(layer.weight.log_sd[0].exp(), precision.rsqrt(), rtol=2e-3)
    covariance = prior_sd**2 * (x @ x.T) + noise**2 * torch.eye(30)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(30), covariance).log_prob(y)
    elbo = -loss - 30 * math.log(noise * math.sqrt(2 * math.pi))
    assert elbo.item() == pytest.approx(evidence.item(), abs=2e-3)
