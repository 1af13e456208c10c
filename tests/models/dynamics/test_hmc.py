"""Hamiltonian Monte Carlo against posteriors that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.dynamics.hmc import (
    NotFiniteError,
    Settings,
    curvature,
    maximum,
    sample,
)
from models.screen import ScreenError, Stopped

A = torch.tensor([[400.0, 30.0, 0.0], [30.0, 4.0, 0.5], [0.0, 0.5, 1.0]]).double()
CENTRE = torch.tensor([1.0, -2.0, 0.5]).double()


def gaussian(points: Tensor) -> Tensor:
    off = points - CENTRE
    return -0.5 * torch.einsum("ki,ij,kj->k", off, A, off)


def draw(density, dim: int, settings: Settings, seed: int = 0):  # type: ignore[no-untyped-def]
    start = torch.zeros(dim).double()
    return sample(density, start, settings, torch.Generator().manual_seed(seed))


def test_mode_and_curvature_of_a_normal_density() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    mode = maximum(gaussian, torch.zeros(3).double(), eye, iterations=50)
    torch.testing.assert_close(mode, CENTRE, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(curvature(gaussian, mode), A, rtol=1e-6, atol=1e-5)


def test_draws_have_the_moments_of_a_normal_density() -> None:
    found = draw(gaussian, 3, Settings(chains=16, warm_up=60, draws=120))
    points = found.draws.flatten(0, 1)
    sd = torch.linalg.inv(A).diagonal().sqrt()
    # 1,920 draws, worth several hundred: 4 standard errors of mean and sd.
    assert ((points.mean(0) - CENTRE).abs() < 0.15 * sd).all()
    torch.testing.assert_close(points.std(0), sd, rtol=0.12, atol=0)
    assert 0.6 < found.acceptance <= 1
    assert found.divergent == 0


def test_draws_of_a_skewed_density() -> None:
    """log of a gamma(3) variate: mean digamma(3), sd sqrt(trigamma(3)); no normal law has it."""

    def density(points: Tensor) -> Tensor:
        return (3 * points - torch.exp(points)).sum(1)

    points = draw(density, 2, Settings(16, 60, 150), seed=1).draws.flatten()
    assert points.mean().item() == pytest.approx(0.92278, abs=0.07)
    assert points.std().item() == pytest.approx(math.sqrt(0.39493), rel=0.1)
    skewness = ((points - points.mean()) ** 3).mean() / points.std() ** 3
    assert skewness < -0.3


def test_same_seed_same_draws() -> None:
    settings = Settings(2, 20, 4)
    first, second = draw(gaussian, 3, settings), draw(gaussian, 3, settings)
    assert torch.equal(first.draws, second.draws)
    assert not torch.equal(first.draws, draw(gaussian, 3, settings, seed=1).draws)


def test_what_goes_wrong_is_said() -> None:
    with pytest.raises(ScreenError, match="chains"):
        Settings(chains=1)
    with pytest.raises(NotFiniteError):
        draw(lambda points: points.sum(1) * math.nan, 2, Settings(2, 20, 4))
    with pytest.raises(Stopped):
        sample(gaussian, CENTRE, Settings(2, 20, 4), torch.Generator(), should_stop=lambda: True)
