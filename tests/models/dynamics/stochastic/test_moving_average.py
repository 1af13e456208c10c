"""The toy with a known posterior, against dense algebra."""

import numpy as np
import pytest
import scipy.stats
import torch

from models.dynamics.stochastic.moving_average import (
    autocovariances,
    exact_posterior,
    log_likelihood,
    simulate_moving_average,
)
from models.dynamics.stochastic.priors import TrianglePrior
from models.screen import ScreenError


def test_the_likelihood_is_that_of_the_banded_normal():
    theta = np.array([[0.6, 0.2], [-1.2, 0.5], [0.3, -0.6]])
    series = np.random.default_rng(0).normal(size=(4, 12))
    found = log_likelihood(theta, series)
    for column, (a, b) in zip(found.T, theta, strict=True):
        near, far = a + a * b, b
        cov = (
            np.eye(12) * (1 + a**2 + b**2)
            + near * (np.eye(12, k=1) + np.eye(12, k=-1))
            + far * (np.eye(12, k=2) + np.eye(12, k=-2))
        )
        assert column == pytest.approx(scipy.stats.multivariate_normal(cov=cov).logpdf(series))


def test_the_exact_posterior_is_calibrated():
    """Mean squared standardised error over prior draws is 1, within four standard errors."""
    generator = torch.Generator().manual_seed(1)
    theta = TrianglePrior().sample(60, generator)
    series = simulate_moving_average(theta, 100, generator).numpy()
    exact = exact_posterior(series, cells=80)
    assert exact.weights.sum(axis=1) == pytest.approx(np.ones(60))
    z = (theta.numpy() - exact.mean) / exact.sd
    assert np.mean(z**2, axis=0) == pytest.approx([1, 1], abs=4 * np.sqrt(2 / 60))


def test_without_data_the_posterior_is_the_prior():
    exact = exact_posterior(np.zeros((1, 0)), cells=120)
    draws = TrianglePrior().sample(40_000, torch.Generator().manual_seed(0)).numpy()
    assert exact.mean[0] == pytest.approx([0, 1 / 3], abs=1e-3)
    assert exact.sd[0] == pytest.approx(draws.std(axis=0), rel=0.02)


def test_autocovariances_are_those_of_the_model():
    theta = torch.tensor([[0.6, 0.2]], dtype=torch.float64).expand(500, -1)
    series = simulate_moving_average(theta, 400, torch.Generator().manual_seed(0)).numpy()
    assert autocovariances(series).mean(axis=0) == pytest.approx([0.72, 0.2], abs=0.02)


def test_beyond_the_triangle():
    with pytest.raises(ScreenError, match="triangle"):
        log_likelihood(np.array([[1.9, 0.2]]), np.zeros((1, 5)))
