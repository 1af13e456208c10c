"""Mixture predictions: against closed forms and simulated worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from models.bayes.predictive import (
    Noise,
    coverage,
    log_predictive_density,
    pearson,
    predictive_quantiles,
    probability_below,
    rmse,
    spearman,
)


def test_one_gaussian_draw_is_a_gaussian() -> None:
    noise = Noise(np.array([2.0]))
    draws, at = np.array([[1.0], [1.0]]), np.array([3.0])
    assert probability_below(draws, 3.0, noise)[0] == pytest.approx(norm.cdf(1.0))
    assert log_predictive_density(draws, at, noise)[0] == pytest.approx(norm.logpdf(3, 1, 2))
    low, high = predictive_quantiles(draws, noise, (0.05, 0.95))[:, 0]
    assert (low, high) == pytest.approx((1 - 2 * 1.645, 1 + 2 * 1.645), abs=0.15)


def test_mixture_averages_densities() -> None:
    noise = Noise(np.array([1.0]), 4.0)
    density = log_predictive_density(np.array([[0.0], [5.0]]), np.array([1.0]), noise)
    assert math.exp(density[0]) == pytest.approx(0.5 * (t.pdf(1, 4) + t.pdf(-4, 4)))
    assert noise.sd()[0] == pytest.approx(math.sqrt(2))


def test_coverage_of_the_truth_is_nominal() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=4000)
    draws = centre + rng.normal(size=(64, 4000))
    observed = centre + rng.normal(size=4000) + 0.5 * rng.standard_t(5, 4000)
    found = coverage(draws, observed, Noise(np.full(4000, 0.5), 5.0))
    for level, share in found.items():
        assert share == pytest.approx(level, abs=0.02)


def test_correlations_of_too_little_are_none() -> None:
    flat, rising = np.zeros(5), np.arange(5.0)
    assert pearson(flat, rising) is None
    assert spearman(rising[:2], rising[:2]) is None
    assert spearman(rising, rising**3) == pytest.approx(1.0)
    assert rmse(flat, np.full(5, 2.0)) == 2.0
