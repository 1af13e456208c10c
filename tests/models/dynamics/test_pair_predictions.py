"""Kriging of what the mechanism missed: exact cases, and what leaving out must choose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.dynamics.pair_predictions import covariance, fitted_kriging

PLACES = np.array(list(itertools.product(np.arange(4.0), np.arange(4.0))))
PAIRS = np.all(PLACES > 0, axis=1)


def test_a_plane_is_carried_on_exactly() -> None:
    seen = (1 + 2 * PLACES[:, 0] - PLACES[:, 1])[:, None] * np.array([1.0, -0.5])
    found = fitted_kriging(PLACES, PAIRS, seen, np.zeros_like(seen))
    assert found is not None
    weights, left = found.weights(np.array([[1.5, 2.5]]))
    np.testing.assert_allclose(weights @ seen, [[1.5, -0.75]], atol=0.01)
    assert 0 < left[0] < 2


def test_a_mechanism_that_is_right_is_used_and_one_that_is_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    mechanism = rng.normal(size=(len(PLACES), 6))
    right = fitted_kriging(PLACES, PAIRS, mechanism + 0.05, mechanism)
    wrong = fitted_kriging(PLACES, PAIRS, np.ones_like(mechanism) * PLACES[:, :1], mechanism)
    assert right is not None
    assert wrong is not None
    assert (right.share, wrong.share) == (1.0, 0.0)


def test_the_spread_is_that_of_pairs_left_out_one_by_one() -> None:
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(len(PLACES), 3)) + PLACES[:, :1]
    found = fitted_kriging(PLACES, PAIRS, seen, np.zeros_like(seen))
    assert found is not None
    total = np.zeros(3)
    for i in np.flatnonzero(PAIRS):
        others = np.arange(len(PLACES)) != i
        at = PLACES[others]
        known = covariance(at, at, found.reach) + found.nugget * np.eye(len(at))
        across = covariance(PLACES[i : i + 1], at, found.reach)
        own = covariance(PLACES[i : i + 1], PLACES[i : i + 1], found.reach) + found.nugget
        left = own - across @ np.linalg.solve(known, across.T)
        total += (seen[i] - (across @ np.linalg.solve(known, seen[others]))[0]) ** 2 / left[0]
    np.testing.assert_allclose(found.variance, total / PAIRS.sum(), rtol=1e-6)


def test_pairs_without_readings_are_left_out_and_too_few_give_nothing() -> None:
    seen = PLACES[:, :1].copy()
    seen[3] = np.nan
    found = fitted_kriging(PLACES, PAIRS, seen, np.zeros_like(seen))
    assert found is not None
    assert 3 not in found.rows
    assert fitted_kriging(PLACES[:6], PAIRS[:6], seen[:6], seen[:6]) is None
    assert np.isfinite(found.weights(PLACES)[0]).all()
    assert pytest.approx(1 + 100 * 3) == covariance(PLACES[5:6], PLACES[5:6], 2.0)[0, 0]
