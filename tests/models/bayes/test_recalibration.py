"""Recalibration: the factor in closed form, the guarantee of conformal intervals, no silence."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from models.bayes.forecast import mark
from models.bayes.predictive import Noise, coverage, log_predictive_density
from models.bayes.recalibration import describe_recalibration, learn_conformal, learn_scale
from models.screen import ScreenError


def described(draws: np.ndarray, observed: np.ndarray, noise: Noise) -> dict | None:
    return describe_recalibration(draws, observed, noise, mark(draws, observed, noise))


def test_the_factor_of_a_gaussian_forecast_is_known() -> None:
    """One draw and Gaussian noise: the maximum is at sqrt(mean of squared z)."""
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=300), rng.uniform(0.5, 2.0, 300)
    observed = mean + 1.7 * sd * rng.normal(size=300)
    found = learn_scale(mean[None], observed, Noise(sd))
    z = (observed - mean) / sd
    exact = math.sqrt(np.mean(z**2))
    assert found.factor == pytest.approx(exact, rel=1e-5)
    best = -0.5 - np.log(exact * sd).mean() - 0.5 * math.log(2 * math.pi)
    assert found.elpd_after == pytest.approx(best, abs=1e-8)
    assert found.elpd_before < found.elpd_after
    assert "widened by the factor 1." in found.words


def test_the_likelihood_is_that_of_the_stretched_forecast() -> None:
    """Stretching draws and noise by hand gives the density that was promised, and coverage."""
    rng = np.random.default_rng(1)
    mean = 2 * rng.normal(size=4000)
    draws = mean + 0.5 * rng.normal(size=(300, 4000))
    observed = mean + 2 * (0.5 * rng.normal(size=4000) + 0.8 * rng.normal(size=4000))
    found = learn_scale(draws, observed, Noise(np.full(4000, 0.8)))
    assert found.factor == pytest.approx(2.0, rel=0.03)
    centre = draws.mean(axis=0)
    stretched = centre + found.factor * (draws - centre)
    noise = Noise(np.full(4000, 0.8 * found.factor))
    density = log_predictive_density(stretched, observed, noise).mean()
    assert density == pytest.approx(found.elpd_after, abs=1e-9)
    assert coverage(stretched, observed, noise)[0.9] == pytest.approx(0.9, abs=0.02)


def test_a_calibrated_forecast_is_left_alone() -> None:
    rng = np.random.default_rng(2)
    mean = rng.normal(size=4000)
    found = learn_scale(mean[None], mean + rng.normal(size=4000), Noise(np.ones(4000)))
    assert found.factor == pytest.approx(1.0, abs=4 / math.sqrt(2 * 4000))


def test_what_no_factor_can_mend_is_refused() -> None:
    with pytest.raises(ScreenError, match="20 held-out"):
        learn_scale(np.zeros((2, 5)), np.zeros(5), Noise(np.ones(5)))
    far = np.random.default_rng(0).normal(size=50) * 1e4
    with pytest.raises(ScreenError, match="another model"):
        learn_scale(np.zeros((1, 50)), far, Noise(np.ones(50)))
    report = described(np.zeros((1, 50)), far, Noise(np.ones(50)))
    assert report is not None
    assert report["scale"]["factor"] is None
    assert "another model" in report["scale"]["words"]


@pytest.mark.parametrize("n", [19, 39, 60])
def test_conformal_intervals_cover_at_least_what_they_promise(n: int) -> None:
    """Whatever the model: its mean is biased, its sd too small and noise is skewed. Marginal
    coverage is ceil((n + 1) level) / (n + 1), checked to four standard errors."""
    rng, repeats, level = np.random.default_rng(n), 4000, 0.9
    inside = 0
    for _ in range(repeats):
        x = rng.normal(size=n + 1)
        observed = x + (0.3 + np.abs(x)) * (rng.exponential(size=n + 1) - 0.5)
        mean, sd = 0.6 * x + 0.4, 0.1 + 0.05 * np.abs(x)
        fitted = learn_conformal(mean[:n], sd[:n], observed[:n], (level,))
        low, high = fitted.interval(mean[n:], sd[n:], level)
        inside += int(low[0] <= observed[n] <= high[0])
    promised = math.ceil((n + 1) * level - 1e-9) / (n + 1)
    error = math.sqrt(promised * (1 - promised) / repeats)
    assert promised >= level
    assert inside / repeats == pytest.approx(promised, abs=4 * error)


def test_a_level_that_so_few_cannot_promise_is_refused() -> None:
    rng = np.random.default_rng(0)
    fitted = learn_conformal(np.zeros(10), np.ones(10), rng.normal(size=10), (0.5, 0.95))
    assert fitted.multipliers[0.95] is None
    with pytest.raises(ScreenError, match="needs 19 held-out observations, there are 10"):
        fitted.interval(np.zeros(1), np.ones(1), 0.95)
    with pytest.raises(ScreenError, match="no interval"):
        fitted.interval(np.zeros(1), np.ones(1), 0.7)
    assert fitted.report()["multipliers"]["95"] is None
    just = learn_conformal(np.zeros(19), np.ones(19), np.arange(19.0), (0.95,))
    assert just.multipliers[0.95] == 18.0
    with pytest.raises(ScreenError, match="positive"):
        learn_conformal(np.zeros(3), np.zeros(3), np.zeros(3))


def test_the_report_says_that_nothing_was_applied() -> None:
    rng = np.random.default_rng(0)
    draws, observed = rng.normal(size=(50, 40)), 2 * rng.normal(size=40)
    report = described(draws, observed, Noise(np.ones(40)))
    assert report is not None
    assert report["applied"] is False
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert described(draws[:, :5], observed[:5], Noise(np.ones(5))) is None
