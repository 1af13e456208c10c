"""Pareto-smoothed weights: known tails, smoothing, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from models.dynamics.psis import pareto_shape, smoothed
from models.screen import ScreenError


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_the_shape_of_a_pareto_tail_is_found(k: float) -> None:
    rng = np.random.default_rng(0)
    uniform = rng.uniform(size=(4000, 40))
    log_weights = np.log1p(((1 - uniform) ** -k - 1) / k)
    found = pareto_shape(log_weights)
    # The tail has 190 weights: sd of k-hat is about (1 + k) / sqrt(190) = 0.1; 40 columns.
    assert found.mean() == pytest.approx(k, abs=0.07)
    assert found.shape == (40,)


def test_light_tails_are_reliable_and_too_narrow_proposals_are_not() -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(2000, 2))
    good = -0.5 * (draws[:, 0] ** 2) * (1 / 0.8**2 - 1)
    narrow = -0.5 * draws[:, 1] ** 2 * (0.4**2 - 1)
    found = pareto_shape(np.stack([good, narrow], axis=1))
    assert found[0] < 0.5
    assert found[1] > 0.7


def test_smoothing_keeps_the_body_and_tames_the_largest() -> None:
    rng = np.random.default_rng(2)
    log_weights = rng.standard_t(2, size=(1000, 1)) * 1.5
    found = smoothed(log_weights)
    assert np.exp(found).sum() == pytest.approx(1.0)
    order = np.argsort(log_weights[:, 0])
    assert (np.diff(found[order, 0]) >= -1e-12).all()
    plain = log_weights - np.logaddexp.reduce(log_weights[:, 0])
    assert found.max() < plain.max()
    body = order[:500]
    steps = np.diff(found[body, 0]) - np.diff(plain[body, 0])
    assert np.abs(steps).max() < 1e-9


def test_equal_weights_have_no_tail_to_fit() -> None:
    assert np.isinf(pareto_shape(np.zeros((100, 1)))).all()
    np.testing.assert_allclose(np.exp(smoothed(np.zeros((100, 1)))), 0.01)


@pytest.mark.parametrize("apart", [180.0, 190.0, 2000.0])
def test_weights_beyond_the_range_of_numbers_are_unreliable(apart: float) -> None:
    """One sample has everything: no shape is not a number, and smoothing leaves it all."""
    log_weights = -apart * np.arange(25.0)[:, None]
    assert np.isinf(pareto_shape(log_weights)).all()
    assert np.exp(smoothed(log_weights))[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.zeros((10, 1)), np.zeros(100), np.full((100, 1), np.nan)])
def test_what_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ScreenError):
        pareto_shape(bad)
