"""Observation laws against scipy's, and what a decoder's output means under each."""

from __future__ import annotations

import numpy as np
import scipy.stats
import torch

from models.perturbation.vae.observations import (
    ContinuousObservation,
    CountObservation,
    negative_binomial_log_pmf,
)


def test_the_negative_binomial_is_scipys() -> None:
    count = np.arange(60.0)
    mean, theta = 7.3, 2.4
    expected = scipy.stats.nbinom.logpmf(count, theta, theta / (theta + mean))
    values = [torch.tensor(x, dtype=torch.float64) for x in (count, mean, theta)]
    assert np.allclose(negative_binomial_log_pmf(*values), expected, atol=1e-10)


def test_its_mean_is_exactly_the_mean_that_it_was_given() -> None:
    """A constant added to the rate, as published, would move it."""
    count = torch.arange(5000, dtype=torch.float64)
    for mean, theta in ((0.02, 0.5), (3.0, 1.0), (40.0, 8.0)):
        mean, theta = torch.tensor(mean).double(), torch.tensor(theta).double()
        mass = torch.exp(negative_binomial_log_pmf(count, mean, theta))
        assert abs(float(mass.sum()) - 1) < 1e-9
        assert abs(float((mass * count).sum()) / float(mean) - 1) < 1e-9


def test_means_of_counts_sum_to_the_library() -> None:
    raw = torch.randn(6, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    library = torch.tensor([1.0, 50, 900, 1e4, 3e5, 7]).double()
    mean = CountObservation(11).location(raw, library)
    assert torch.allclose(mean.sum(-1), library, rtol=1e-12)
    assert torch.allclose(mean, library[:, None] * torch.softmax(raw, -1))


def test_a_count_of_zero_where_nothing_can_be_seen_is_certain() -> None:
    zero = torch.tensor(0.0)
    assert negative_binomial_log_pmf(zero, zero, torch.tensor(2.0)) == 0


def test_missing_values_say_nothing_and_stop_no_gradient() -> None:
    observation = ContinuousObservation(torch.ones(3))
    raw = torch.zeros(2, 3, requires_grad=True)
    values = torch.tensor([[1.0, float("nan"), 2.0], [float("nan")] * 3])
    seen = observation.log_likelihood(raw, values, torch.ones(2))
    assert seen[0, 1] == 0
    assert (seen[1] == 0).all()
    seen.sum().backward()
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad[1] == 0).all()
    assert torch.isfinite(observation.log_scale.grad).all()
