"""Ensembles: exact posterior draws in the linear case, ridge as the penalty's known answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, t
from torch import Tensor, nn

from models.bayes.ensembles import (
    MeanVariance,
    MemberEmbedding,
    MemberLinear,
    MemberNetwork,
    MemberWeight,
    RandomisedPrior,
    agreement,
    ensemble_loss,
    gather,
    log_density,
    mean_variance_loss,
    target_noise,
)
from models.screen import ScreenError

N, WIDTH, SIGMA = 12, 3, 0.5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_data() -> tuple[Tensor, Tensor]:
    """``(12, 3)`` inputs of unequal directions and ``(12,)`` targets."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, WIDTH)) * np.array([1.0, 0.5, 0.05])
    return torch.tensor(x), torch.tensor(x @ np.array([1.0, -1.0, 2.0]) + rng.normal(size=N) * 0.5)


def exact_posterior(prior_sd: float) -> tuple[Tensor, Tensor]:
    """Mean ``(3,)`` and covariance ``(3, 3)`` of the weights under N(0, prior_sd^2)."""
    x, y = linear_data()
    covariance = torch.linalg.inv(x.T @ x / SIGMA**2 + torch.eye(WIDTH) / prior_sd**2)
    return covariance @ x.T @ y / SIGMA**2, covariance


def linear_members(members: int, seed: int) -> MemberNetwork:
    network = MemberNetwork(members, (WIDTH, 1), seeded(seed), gain=math.sqrt(3), bias=False)
    return network.double()


def minimise(module: nn.Module, noise: Tensor) -> None:
    """To the optimum: every member has the same quadratic loss but for its linear term."""
    x, y = linear_data()
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")
    scale = torch.tensor(SIGMA, dtype=torch.float64)

    def loss() -> Tensor:
        optimizer.zero_grad()
        density = log_density(y + SIGMA * noise - module(x)[..., 0], scale)
        value = ensemble_loss(density, module.penalty(), N)  # type: ignore[operator]
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]


def weights_of(module: RandomisedPrior) -> Tensor:
    """``(members, 3)`` effective weights: the function at the unit vectors."""
    return module(torch.eye(WIDTH, dtype=torch.float64))[..., 0].detach()


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_randomised_priors_sample_the_exact_posterior_of_a_linear_model(beta: float) -> None:
    """Standard errors with 4,000 members: sd / 63 for means, 2.2 % for variances."""
    members = 4000
    module = RandomisedPrior(linear_members(members, 1), linear_members(members, 2), beta)
    minimise(module, target_noise(3, np.arange(N), members).double())
    mean, covariance = exact_posterior(prior_sd=beta)
    found = weights_of(module)
    sd = covariance.diag().sqrt()
    assert torch.all((found.mean(0) - mean).abs() < 4 * sd / math.sqrt(members))
    relative = (torch.cov(found.T) - covariance) / torch.outer(sd, sd)
    assert relative.abs().max() < 0.1


def test_without_noise_on_the_targets_members_agree_too_much() -> None:
    members = 2000
    module = RandomisedPrior(linear_members(members, 1), linear_members(members, 2))
    minimise(module, torch.zeros(members, N, dtype=torch.float64))
    _, covariance = exact_posterior(prior_sd=1.0)
    assert float(weights_of(module).var(0)[0] / covariance[0, 0]) < 0.2


def test_a_plain_ensemble_ends_at_ridge_regression_in_every_member() -> None:
    module = linear_members(5, 4)
    minimise(module, torch.zeros(5, N, dtype=torch.float64))
    mean, _ = exact_posterior(prior_sd=1.0)
    found = module(torch.eye(WIDTH, dtype=torch.float64))[..., 0]
    assert torch.allclose(found, mean.expand(5, WIDTH), atol=1e-5)


def test_an_anchored_weight_without_data_stays_where_it_started() -> None:
    weight = MemberWeight(3, (4, 2), 0.7, seeded(), anchored=True)
    assert torch.all(weight.penalty() == 0)
    free = MemberWeight(3, (4, 2), 0.7, seeded())
    expected = 0.5 * free.value.square().sum((1, 2)) / 0.7**2
    assert torch.allclose(free.penalty(), expected)


def test_members_do_not_know_of_each_other() -> None:
    """One step of three members at once is one step of each alone."""
    together = MemberNetwork(3, (2, 5, 1), seeded())
    alone = MemberNetwork(1, (2, 5, 1), seeded())
    for one, many in zip(alone.parameters(), together.parameters(), strict=True):
        one.data = many.data[1:2].clone()
    x, y = torch.randn(7, 2, generator=seeded(1)), torch.randn(7, generator=seeded(2))
    for module in (together, alone):
        density = log_density(y - module(x)[..., 0], torch.tensor(0.5))
        ensemble_loss(density, module.penalty(), 7).backward()
    for one, many in zip(alone.parameters(), together.parameters(), strict=True):
        assert one.grad is not None
        assert many.grad is not None
        assert torch.allclose(one.grad[0], many.grad[1], atol=1e-6)


def test_layers_equal_a_loop_over_members() -> None:
    layer = MemberLinear(3, 4, 2, seeded(), gain=0.5)
    assert layer.bias is not None
    layer.bias.value.data.normal_(generator=seeded(5))
    x = torch.randn(6, 4, generator=seeded(1))
    for member in range(3):
        expected = x @ layer.weight.value[member].T + layer.bias.value[member]
        assert torch.allclose(layer(x)[member], expected, atol=1e-6)
    table = MemberEmbedding(3, 5, 2, seeded())
    index = torch.tensor([4, 0, 4])
    assert torch.equal(table(index), table.table.value[:, index])
    assert torch.equal(gather(table.table.value, index), table.table.value[:, index])
    assert not torch.equal(layer.weight.value[0], layer.weight.value[1])


def test_the_mean_network_does_not_feel_the_variance_network() -> None:
    x, y = torch.randn(9, 2, generator=seeded(1)), torch.randn(9, generator=seeded(2))
    gradients = []
    for level in (-3.0, 3.0):
        module = MeanVariance(
            MemberNetwork(2, (2, 4, 1), seeded(3)), MemberNetwork(2, (2, 4, 1), seeded(4))
        )
        mean, log_scale = module(x)
        loss = -mean_variance_loss(mean, log_scale + level, y, torch.tensor(1.0)).sum()
        loss.backward()
        gradients.append([p.grad.clone() for p in module.mean.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_variance_network_finds_a_scale_that_depends_on_the_input() -> None:
    """y ~ N(2x, exp(-1 + x)^2): slope -1 + x of the log scale; standard error about 0.02."""
    rng = np.random.default_rng(0)
    column = rng.uniform(-1, 1, size=1000)
    x = torch.tensor(column[:, None])
    y = torch.tensor(2 * column + np.exp(column - 1) * rng.normal(size=1000))
    module = MeanVariance(
        MemberNetwork(2, (1, 1), seeded(1)), MemberNetwork(2, (1, 1), seeded(2))
    ).double()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        density = mean_variance_loss(*module(x), y, torch.tensor(0.5, dtype=torch.float64))
        ensemble_loss(density, module.penalty(), 1000).backward()
        optimizer.step()
    points = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    mean, log_scale = module(points)
    assert torch.allclose(mean[:, 1] - mean[:, 0], torch.tensor(2.0).double(), atol=0.12)
    expected = torch.tensor([-1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(log_scale, expected.expand(2, 2), atol=0.12)


def test_densities_are_those_of_the_laws() -> None:
    residual, scale = torch.tensor([0.3, -2.0], dtype=torch.float64), torch.tensor(0.7)
    assert np.allclose(log_density(residual, scale), norm.logpdf(residual, scale=0.7), atol=1e-6)
    found = log_density(residual, scale, 4.0)
    assert np.allclose(found, t.logpdf(residual, 4, scale=0.7), atol=1e-6)


def test_noise_on_targets_belongs_to_the_row_and_the_member() -> None:
    keys = np.arange(3000)
    noise = target_noise(7, keys, 4)
    assert torch.equal(noise[:2, 500:510], target_noise(7, keys[500:510], 2))
    assert not torch.equal(noise, target_noise(8, keys, 4))
    assert float(noise.mean()) == pytest.approx(0.0, abs=4 / math.sqrt(12_000))
    assert float(noise.var()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 12_000))
    assert float(torch.corrcoef(noise)[0, 1].abs()) < 0.08


def test_agreement_of_members() -> None:
    one = torch.linspace(-1, 1, 20)
    same = agreement(torch.stack([one, one]))
    assert same == {"correlation": pytest.approx(1.0), "spread_ratio": pytest.approx(0.0)}
    against = agreement(torch.stack([one, -0.5 * one]))
    assert against["correlation"] == pytest.approx(-1.0)
    assert agreement(one[None]) == {"correlation": 1.0, "spread_ratio": 0.0}
    shifted = agreement(torch.stack([one, one + 1]))
    expected = math.sqrt(0.5) / float(one.double().std(correction=0))
    assert shifted["spread_ratio"] == pytest.approx(expected, rel=1e-5)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ScreenError, match="at least one member"):
        MemberLinear(0, 2, 2, seeded())
    with pytest.raises(ScreenError, match="positive"):
        MemberWeight(2, (2,), 0.0, seeded())
    with pytest.raises(ScreenError, match="widths"):
        MemberNetwork(2, (3,), seeded())
    with pytest.raises(ScreenError, match="random prior"):
        RandomisedPrior(linear_members(2, 0), linear_members(2, 1), 0.0)
