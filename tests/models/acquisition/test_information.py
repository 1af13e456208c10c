"""Entropies against adaptive quadrature, information against Gaussian closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from models.acquisition.draws import AcquisitionError
from models.acquisition.information import bald, entropy, hit_information, noise_entropy
from models.bayes.predictive import Noise

DF = [2.1, 3.0, 5.0, 30.0, math.inf]


def law_of(df: float) -> object:
    return stats.norm if math.isinf(df) else stats.t(df)


def integrated(draws: np.ndarray, scale: float, df: float) -> float:
    """-int p log p of one column, by adaptive quadrature between and around the draws."""
    law = law_of(df)

    def integrand(y: float) -> float:
        p = float(law.pdf((y - draws) / scale).mean()) / scale  # type: ignore[attr-defined]
        return -p * math.log(p) if p > 0 else 0.0

    at = np.unique(draws)
    inner = np.unique(np.concatenate([at + k * scale for k in (-40, -8, -3, 0, 3, 8, 40)]))
    total = sum(quad(integrand, a, b, limit=200)[0] for a, b in pairwise(inner))
    if math.isinf(df):
        return float(total)
    return float(
        total + quad(integrand, -np.inf, inner[0])[0] + quad(integrand, inner[-1], np.inf)[0]
    )


@pytest.mark.parametrize("df", DF)
def test_entropy_is_the_integral_over_the_mixture(df: float) -> None:
    """Draws that agree, overlap, stand apart, and one that is far from all others."""
    random = np.random.default_rng(0)
    columns = [np.full(6, 4.0), *(spread * random.normal(size=6) for spread in (0.5, 2, 6, 40))]
    columns.append(np.array([0.0, 0.3, 1.0, -0.5, 2.0, 900.0]))
    draws, scale = np.stack(columns, axis=1), np.array([1.0, 0.5, 1.0, 2.0, 1.0, 1.5])
    exact = [integrated(column, s, df) for column, s in zip(draws.T, scale, strict=True)]
    assert np.abs(entropy(draws, Noise(scale, df)) - exact).max() < 1e-3


@pytest.mark.parametrize("df", DF)
def test_entropy_of_the_noise(df: float) -> None:
    assert noise_entropy(df) == pytest.approx(float(law_of(df).entropy()), abs=1e-9)  # type: ignore[attr-defined]


@pytest.mark.parametrize("df", DF)
def test_bald_between_nothing_and_the_number_of_draws(df: float) -> None:
    """Draws that agree tell nothing; draws far apart are told from each other: log n."""
    apart = np.array([0.0, 1e5, 3e5, 4e5])
    values = bald(np.stack([np.zeros(4), apart, [0, 0, 1e5, 1e5]], axis=1), Noise(np.ones(3), df))
    assert values == pytest.approx([0.0, math.log(4), math.log(2)], abs=2e-3)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
def test_bald_of_gaussian_draws(ratio: float) -> None:
    """1/2 log(1 + var f / sigma^2), with the quantiles of a Gaussian for draws."""
    n = 512
    draws = ratio * 3.0 * stats.norm.ppf((np.arange(n) + 0.5) / n)[:, None]
    found = bald(draws, Noise(np.array([3.0])))
    assert found == pytest.approx(0.5 * math.log1p(ratio**2), abs=5e-3)


def test_entropy_of_a_wider_unit_adds_its_logarithm() -> None:
    draws, scale = np.random.default_rng(2).normal(size=(9, 4)), np.array([0.5, 1, 1, 2])
    first = entropy(draws, Noise(scale, 4.0))
    assert entropy(10 * draws + 5, Noise(10 * scale, 4.0)) == pytest.approx(
        first + math.log(10), abs=1e-4
    )
    assert bald(10 * draws + 5, Noise(10 * scale, 4.0)) == pytest.approx(
        bald(draws, Noise(scale, 4.0)), abs=1e-4
    )


def test_hit_information_of_joint_gaussians() -> None:
    """N given as a number that is jointly Gaussian with f: -1/2 log(1 - rho^2) exactly."""
    random = np.random.default_rng(3)
    n = 40_000
    number = random.normal(size=n)
    weight = np.array([0.0, 0.5, 1.0, -1.0])
    draws = weight * number[:, None] + random.normal(size=(n, 4))
    noise = Noise(np.array([1.0, 1.0, 0.1, 2.0]))
    found = hit_information(draws, 0.0, noise, hits=number)
    rho = weight / np.sqrt(weight**2 + 1 + noise.sd() ** 2)
    # The error of a correlation of n pairs is (1 - rho^2) / sqrt(n); 4 of them.
    exact = -0.5 * np.log1p(-(rho**2))
    assert np.all(np.abs(found - exact) < 4 * np.abs(rho) / math.sqrt(n) + 1e-3)


def test_hit_information_by_hand() -> None:
    draws = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0], [1.0, 5.0, 4.0], [3.0, 5.0, 4.0]])
    found = hit_information(draws, 2.0, Noise(np.full(3, 1.0)))
    # N = 1, 2, 2, 3 with variance 2/3; f_1 has covariance 2/3 and variance 4/3, f_3 twice that.
    shared = np.array([(2 / 3) ** 2 / ((4 / 3 + 1) * 2 / 3), 0.0, (4 / 3) ** 2 / (19 / 3 * 2 / 3)])
    assert found == pytest.approx(-0.5 * np.log1p(-shared))


def test_noise_hides_hits_and_silence_tells_nothing() -> None:
    draws = np.random.default_rng(4).normal(size=(30, 6))
    clear, loud = (hit_information(draws, 0.0, Noise(np.full(6, s))) for s in (0.1, 3.0))
    assert np.all(clear > loud)
    assert hit_information(draws, 99.0, Noise(np.ones(6))).tolist() == [0.0] * 6


def test_what_has_no_answer_is_refused() -> None:
    draws = np.random.default_rng(4).normal(size=(5, 2))
    with pytest.raises(AcquisitionError, match="threshold"):
        hit_information(draws, float("nan"), Noise(np.ones(2)))
    with pytest.raises(AcquisitionError, match="hits have shape"):
        hit_information(draws, 0.0, Noise(np.ones(2)), hits=np.ones(4))
