"""Conditioning: the closed form is the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.screen import ScreenError
from models.synergy.gaussian_process.prior_draws import PriorDraws
from models.synergy.gaussian_process.solving import exact_or_inducing
from models.synergy.gaussian_process.tails import learn_tails
from tests.models.synergy.gaussian_process.screens import everything, kernel, rows, tables

ORDER = np.random.default_rng(0).permutation(180)
DATA, TEST = everything().select(np.sort(ORDER[:100])), everything().select(ORDER[100:])
TARGET = torch.tensor(np.random.default_rng(1).normal(size=100), dtype=torch.float32)
NOISE = torch.tensor(np.random.default_rng(2).uniform(0.1, 0.4, 100), dtype=torch.float32)


def closed_form() -> tuple[torch.Tensor, torch.Tensor]:
    k, t = kernel(), tables()
    own = k(rows(DATA), rows(DATA), t).double() + torch.diag(NOISE.double())
    cross = k(rows(TEST), rows(DATA), t).double()
    prior = k(rows(TEST), rows(TEST), t).double()
    mean = cross @ torch.linalg.solve(own, TARGET.double())
    return mean, prior - cross @ torch.linalg.solve(own, cross.T)


@pytest.mark.parametrize("exact_rows", [1000, 10])
def test_draws_have_the_mean_and_covariance_of_the_exact_posterior(exact_rows: int) -> None:
    """With every block an inducing block the approximation is exact, too."""
    k, t, n = kernel(), tables(), 4000
    solver = exact_or_inducing(k, t, rows(DATA), TARGET, NOISE, exact_rows, 100)
    assert solver.is_exact == (exact_rows > 100)
    prior = PriorDraws(k, t, n, 5)
    draws = (prior(rows(TEST)) + solver.cross(rows(TEST)) @ solver.weights(prior, 6)).double()
    mean, covariance = closed_form()
    sd = covariance.diagonal().sqrt()
    assert float(((draws.mean(1) - mean) / sd).abs().max()) < 4.5 / math.sqrt(n)
    found = torch.cov(draws)
    assert float(((found - covariance) / (sd[:, None] * sd)).abs().max()) < 0.12


def test_fewer_inducing_blocks_are_close() -> None:
    k, t = kernel(), tables()
    solver = exact_or_inducing(k, t, rows(DATA), TARGET, NOISE, 10, 60)
    prior = PriorDraws(k, t, 2000, 5)
    draws = prior(rows(TEST)) + solver.cross(rows(TEST)) @ solver.weights(prior, 6)
    mean, _ = closed_form()
    correlation = np.corrcoef(draws.mean(1).numpy(), mean.numpy())[0, 1]
    assert correlation > 0.7
    assert len(solver.left_out(10)) == 0


def test_left_out_residuals_are_those_of_leaving_each_block_out() -> None:
    k, t = kernel(), tables()
    found = exact_or_inducing(k, t, rows(DATA), TARGET, NOISE).left_out(100)
    own = (k(rows(DATA), rows(DATA), t) + torch.diag(NOISE)).double()
    expected = []
    for i in range(100):
        rest = [j for j in range(100) if j != i]
        weight = torch.linalg.solve(own[rest][:, rest], own[rest, i])
        variance = own[i, i] - weight @ own[rest, i]
        expected.append(float((TARGET[i] - weight @ TARGET[rest].double()) / variance.sqrt()))
    assert np.allclose(np.sort(found.numpy()), np.sort(expected), atol=2e-3)


def test_a_covariance_that_is_none_is_refused_in_words() -> None:
    twice = DATA.select(np.array([0, 0, 1]))
    with pytest.raises(ScreenError, match="standard errors"):
        exact_or_inducing(kernel(), tables(), rows(twice), TARGET[:3], torch.full((3,), -1.0))


@pytest.mark.parametrize(("df", "spread"), [(5.0, 1.2), (40.0, 0.8)])
def test_tails_are_learned_from_residuals(df: float, spread: float) -> None:
    z = np.random.default_rng(3).standard_t(df, 4000) * spread * math.sqrt((df - 2) / df)
    found = learn_tails(z)
    assert found.spread == pytest.approx(spread, rel=0.06)
    assert (found.df < 8) == (df < 8)
    assert learn_tails(z[:5]).spread == 1.0
