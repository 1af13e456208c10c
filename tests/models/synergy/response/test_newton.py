"""Draws against exact posteriors."""

import numpy as np
import torch

from models.synergy.response.newton import (
    Fit,
    GaussianPrior,
    Slope,
    fixed_metropolis,
    gather_fit,
    newton_ascent,
    newton_metropolis,
)

UNITS = 4000


def repeat(values: torch.Tensor) -> torch.Tensor:
    return values.expand(UNITS, *values.shape).clone()


def linear_problem() -> tuple[torch.Tensor, torch.Tensor, GaussianPrior]:
    """Exact posterior mean and covariance of y = X b + e, and the prior of b."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((5, 2)))
    y = torch.tensor(rng.standard_normal(5))
    matrix = x.T @ x * 4.0 + torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64))
    right = 4.0 * x.T @ y + torch.tensor([1.0, 2.0], dtype=torch.float64) * 0.3
    prior = GaussianPrior(
        torch.full((UNITS, 2), 0.3, dtype=torch.float64),
        repeat(torch.tensor([1.0, 2.0], dtype=torch.float64)),
    )
    linear_problem.data = (x, y)  # type: ignore[attr-defined]
    return torch.linalg.solve(matrix, right), torch.linalg.inv(matrix), prior


def linear_fit(value: torch.Tensor) -> Fit:
    x, y = linear_problem.data  # type: ignore[attr-defined]
    residual = y - value @ x.T
    density = -2.0 * residual.square().sum(1)
    return Fit(density, 4.0 * residual @ x, repeat(4.0 * x.T @ x), ())


def same(wins: torch.Tensor) -> torch.Tensor:
    return wins


def test_a_linear_unit_is_drawn_from_its_exact_posterior_at_once() -> None:
    mean, covariance, prior = linear_problem()
    generator = torch.Generator().manual_seed(1)
    start = torch.full((UNITS, 2), 5.0, dtype=torch.float64)
    moved = newton_metropolis(start, prior, linear_fit, same, generator)
    assert bool(moved.accepted.all())
    error = (covariance.diagonal() / UNITS).sqrt()
    assert bool(((moved.value.mean(0) - mean).abs() < 4 * error).all())
    assert torch.allclose(torch.cov(moved.value.T), covariance, rtol=0.12, atol=0.005)


def test_persistent_steps_keep_the_posterior() -> None:
    mean, covariance, prior = linear_problem()
    generator = torch.Generator().manual_seed(2)
    value = newton_metropolis(prior.mean, prior, linear_fit, same, generator, persistence=0.0).value
    for _ in range(3):
        moved = newton_metropolis(value, prior, linear_fit, same, generator, persistence=0.8)
        assert float(moved.accepted.double().mean()) > 0.999
        value = moved.value
    error = (covariance.diagonal() / UNITS).sqrt()
    assert bool(((value.mean(0) - mean).abs() < 4 * error).all())
    assert torch.allclose(torch.cov(value.T), covariance, rtol=0.12, atol=0.005)


def curved_level(value: torch.Tensor) -> torch.Tensor:
    return torch.exp(-0.7 * value)


def exact_curved_moments() -> tuple[float, float]:
    """Of b in 0.2 ~ N(exp(-0.7 b), 0.2^2), b ~ N(0, 1), by a fine grid."""
    grid = torch.linspace(-6, 8, 20001, dtype=torch.float64)
    log = -0.5 * ((0.2 - curved_level(grid)) / 0.2) ** 2 - 0.5 * grid**2
    weight = torch.softmax(log, 0)
    mean = float((weight * grid).sum())
    return mean, float((weight * (grid - mean) ** 2).sum())


def test_a_curved_unit_is_drawn_from_its_exact_posterior() -> None:
    mean, variance = exact_curved_moments()
    one = torch.ones((UNITS, 1), dtype=torch.float64)
    prior = GaussianPrior(0 * one, one)
    weight = torch.full((UNITS,), 25.0, dtype=torch.float64)
    eye = torch.eye(UNITS, dtype=torch.float64).to_sparse()

    def evaluate(value: torch.Tensor) -> Fit:
        level = curved_level(value[:, 0])
        return gather_fit(0.2 - level, (-0.7 * level,), weight, eye, ())

    generator, value = torch.Generator().manual_seed(3), one.clone()
    for number in range(40):
        value = newton_metropolis(
            value, prior, evaluate, same, generator, persistence=0.5 * (number % 2)
        ).value
    assert abs(float(value.mean()) - mean) < 5 * (variance / UNITS) ** 0.5
    assert abs(float(value.var()) / variance - 1) < 0.12


def test_a_fixed_matrix_gives_the_same_posterior() -> None:
    mean, variance = exact_curved_moments()
    one = torch.ones((UNITS, 1), dtype=torch.float64)
    prior = GaussianPrior(0 * one, one)
    matrix = torch.full((UNITS, 1, 1), 25.0 * (0.7 * 0.35) ** 2, dtype=torch.float64)

    def evaluate(value: torch.Tensor) -> Slope:
        level = curved_level(value[:, 0])
        residual = 0.2 - level
        return Slope(-12.5 * residual**2, (25.0 * residual * -0.7 * level)[:, None], level)

    generator, value, rate = torch.Generator().manual_seed(4), one.clone(), 0.0
    for _ in range(40):
        value, wins, _, _ = fixed_metropolis(value, prior, matrix, evaluate, generator)
        rate = float(wins.double().mean())
    assert rate > 0.6
    assert abs(float(value.mean()) - mean) < 5 * (variance / UNITS) ** 0.5
    assert abs(float(value.var()) / variance - 1) < 0.12


def test_the_ascent_ends_at_the_mode() -> None:
    mean, _, prior = linear_problem()
    value = torch.full((UNITS, 2), 9.0, dtype=torch.float64)
    for _ in range(15):
        value = newton_ascent(value, prior, linear_fit, same).value
    assert torch.allclose(value, mean.expand_as(value), atol=1e-6)
