"""Improvement over the best so far, and membership of the best, on numbers known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from models.acquisition.draws import AcquisitionError
from models.acquisition.improvement import (
    expected_improvement,
    probability_of_improvement,
    top_k,
)

DRAWS = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 2.0]])
N = 4000
MEAN, SD = np.array([-1.0, 0.0, 2.0]), np.array([0.5, 2.0, 1.0])


def gaussian() -> np.ndarray:
    """The quantiles of three Gaussians: expectations without Monte-Carlo error."""
    return MEAN + SD * norm.ppf((np.arange(N) + 0.5) / N)[:, None]


def test_improvement_by_hand() -> None:
    assert expected_improvement(DRAWS, 1.5).tolist() == [0.75, 1.25, 0.5]
    assert expected_improvement(DRAWS, 1.5, xi=1.0).tolist() == [0.25, 0.75, 0.0]
    assert probability_of_improvement(DRAWS, 1.5).tolist() == [0.5, 0.5, 1.0]
    assert probability_of_improvement(DRAWS, 1.5, xi=0.5).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(("incumbent", "xi"), [(0.5, 0.0), (1.0, 0.7), (-3.0, 0.2)])
def test_gaussian_draws_give_the_closed_forms(incumbent: float, xi: float) -> None:
    u = (MEAN - incumbent - xi) / SD
    expected = SD * (u * norm.cdf(u) + norm.pdf(u))
    assert expected_improvement(gaussian(), incumbent, xi) == pytest.approx(expected, abs=1e-3)
    assert probability_of_improvement(gaussian(), incumbent, xi) == pytest.approx(
        norm.cdf(u), abs=1e-3
    )


def test_limits_of_the_incumbent() -> None:
    """Far below, improvement is the mean's; far above there is none."""
    assert expected_improvement(DRAWS, -1e6) - 1e6 == pytest.approx(DRAWS.mean(axis=0))
    assert probability_of_improvement(DRAWS, -1e6).tolist() == [1.0, 1.0, 1.0]
    assert expected_improvement(DRAWS, 1e6).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("function", [expected_improvement, probability_of_improvement])
def test_a_missing_or_broken_incumbent_is_refused(function: object) -> None:
    for incumbent in (None, float("nan"), float("inf")):
        with pytest.raises(AcquisitionError, match="incumbent"):
            function(DRAWS, incumbent)  # type: ignore[operator]
    for xi in (-0.1, float("nan")):
        with pytest.raises(AcquisitionError, match="xi"):
            function(DRAWS, 0.0, xi)  # type: ignore[operator]


def test_top_k_counts_worlds() -> None:
    draws = np.array([[9.0, 8.0, 1.0, 0.0], [9.0, 0.0, 1.0, 8.0], [0.0, 3.0, 2.0, 1.0]])
    assert top_k(draws, 1) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert top_k(draws, 2) == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert top_k(draws, 9).tolist() == [1.0] * 4


def test_top_k_ties_go_to_the_earlier_candidate() -> None:
    assert top_k(np.zeros((2, 5)), 2).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_shares_of_the_best_sum_to_k() -> None:
    draws = np.random.default_rng(0).normal(size=(20, 50))
    for k in (1, 7, 50):
        assert top_k(draws, k).sum() == pytest.approx(k)


def test_the_best_of_two_gaussians() -> None:
    """P(f_1 > f_2) = Phi((mu_1 - mu_2) / sqrt(s_1^2 + s_2^2)); 40,000 draws err by 0.0025."""
    random = np.random.default_rng(1)
    draws = random.normal([0.3, 0.0], [1.0, 2.0], size=(40_000, 2))
    assert top_k(draws, 1)[0] == pytest.approx(norm.cdf(0.3 / 5**0.5), abs=0.0075)


def test_nobody_is_among_the_best_none() -> None:
    with pytest.raises(AcquisitionError, match="at least 1"):
        top_k(DRAWS, 0)
