"""Stacking weights: known answers, brute force, and the certificate that comes with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bayes.stacking import TOLERANCE, allot, stack
from models.screen import ScreenError


def mixture(log_density: np.ndarray, weights: np.ndarray) -> float:
    return float(np.log(weights @ np.exp(log_density)).mean())


def test_models_that_each_explain_their_own_share() -> None:
    """p_k is 1 on its own observations and e^-60 elsewhere: weights are the shares."""
    owner = np.repeat([0, 1, 2], [50, 30, 20])
    log_density = np.where(owner == np.arange(3)[:, None], 0.0, -60.0)
    found = stack(log_density)
    assert found.weights == pytest.approx([0.5, 0.3, 0.2], abs=1e-7)
    shares = np.array([0.5, 0.3, 0.2])
    assert found.elpd == pytest.approx(float(shares @ np.log(shares)), abs=1e-9)


def test_a_dominated_model_gets_nothing() -> None:
    base = np.random.default_rng(0).normal(size=200)
    found = stack(np.stack([base, base - 0.01 - np.random.default_rng(1).random(200)]))
    assert found.weights[1] == pytest.approx(0.0, abs=1e-9)


def test_identical_models_share_in_any_way() -> None:
    base = np.random.default_rng(0).normal(size=40)
    found = stack(np.stack([base, base, base]))
    assert found.elpd == pytest.approx(base.mean(), abs=1e-9)
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)
    other = base + np.random.default_rng(1).normal(size=40)
    pair, triple = stack(np.stack([base, other])), stack(np.stack([base, other, base]))
    assert triple.elpd == pytest.approx(pair.elpd, abs=1e-7)
    assert triple.weights[[0, 2]].sum() == pytest.approx(pair.weights[0], abs=1e-3)


def test_no_point_of_a_grid_is_better() -> None:
    log_density = np.random.default_rng(5).normal(size=(3, 60)) - np.array([[0.0], [0.1], [0.3]])
    found = stack(log_density)
    steps = np.linspace(0, 1, 101)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
    values = np.log(np.clip(grid, 0, 1) @ np.exp(log_density)).mean(axis=1)
    best = int(values.argmax())
    assert found.elpd >= values[best] - 1e-9
    assert found.weights == pytest.approx(grid[best], abs=0.02)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 60), st.sampled_from([0.01, 1.0, 30.0]), st.integers(0, 99)
)
def test_the_certificate_holds(k: int, m: int, spread: float, seed: int) -> None:
    """No vertex and no random mixture gains more than the gap that is reported."""
    rng = np.random.default_rng(seed)
    log_density = spread * rng.normal(size=(k, m)) - 400.0
    found = stack(log_density)
    assert 0 <= found.weights.min() <= found.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.gap <= TOLERANCE
    tries = np.concatenate([np.eye(k), rng.dirichlet(np.ones(k), 50)])
    others = [mixture(log_density + 400.0, w) - 400.0 for w in tries]
    assert max(others) <= found.elpd + max(found.gap, 0.0) + 1e-9


def test_stacking_finds_the_true_mixture() -> None:
    """Observations from 0.7 N(-1, 1) + 0.3 N(2, 1); the standard error of the share is 0.012."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(3000) < 0.7, rng.normal(-1, 1, 3000), rng.normal(2, 1, 3000))
    log_density = np.stack([-((y + 1) ** 2) / 2, -((y - 2) ** 2) / 2])
    assert stack(log_density).weights[0] == pytest.approx(0.7, abs=0.03)


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(ScreenError, match="NaN"):
        stack(np.array([[0.0, np.nan]]))
    with pytest.raises(ScreenError, match="no model gives"):
        stack(np.full((2, 3), -np.inf))
    with pytest.raises(ScreenError, match="not"):
        stack(np.zeros(3))
    impossible = np.array([[0.0, -np.inf], [-1.0, -1.0]])
    assert np.isfinite(stack(impossible).elpd)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000))
def test_draws_are_allotted_by_weight(n: int, seed: int) -> None:
    weights = np.array([0.45, 0.0, 0.35, 0.2])
    owner = allot(weights, n, seed)
    count = np.bincount(owner, minlength=4)
    assert np.all(np.abs(count - n * weights) < 1)
    assert count[1] == 0
    assert np.array_equal(owner, allot(weights, n, seed))


def test_any_beginning_of_the_draws_is_mixed() -> None:
    owner = allot(np.array([0.5, 0.5]), 4000, 1)
    assert abs(owner[:400].mean() - 0.5) < 5 * 0.5 / 400**0.5
