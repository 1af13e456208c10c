"""Smooth terms: straight lines stay straight, curves come back, bands cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from models.screen import ScreenError
from models.triage.splines import Basis, fit_curves_of


def drawn(truth: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(truth)) < expit(truth)).astype(float)


def test_functions_have_mean_zero_and_span_the_straight_line() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.gamma(2, 1, 500), rng.uniform(0.5, 2, 500)
    basis = Basis.of(x, w)
    design = basis.design(x)
    assert w @ design == pytest.approx(np.zeros(design.shape[1]), abs=1e-9)
    line = x - np.average(x, weights=w)
    assert np.diag(basis.bent)[-1] == 0.0
    slope = (design[:, -1] @ line) / (line @ line)
    assert design[:, -1] == pytest.approx(slope * line, abs=1e-9)


def test_a_value_that_is_not_known_adds_nothing_and_ends_go_on_flat() -> None:
    basis = Basis.of(np.array([0.0, 1.0, 2.0, np.nan, 5.0]), np.ones(5))
    design = basis.design(np.array([np.nan, -3.0, 0.0, 5.0, 9.0]))
    assert not design[0].any()
    assert np.array_equal(design[1], design[2])
    assert np.array_equal(design[3], design[4])


def test_a_curve_comes_back_with_standard_errors_that_cover() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, 4000)
    truth = 1.2 * np.sin(2 * x)
    curve = fit_curves_of(np.zeros((4000, 0)), {"x": x}, drawn(truth - 1, 2), np.ones(4000)).curves[
        "x"
    ]
    grid = np.linspace(-1.9, 1.9, 39)
    fitted, error = curve.at(grid)
    known = 1.2 * np.sin(2 * grid) - truth.mean()
    assert np.abs(fitted - known).max() < 0.35
    # Bands of 95 % cover across the curve (Nychka 1988); 39 places are far from independent.
    assert np.mean(np.abs(fitted - known) < 1.96 * error) > 0.8
    assert 4 < curve.freedom < 9


def test_a_straight_line_costs_about_one_degree_of_freedom() -> None:
    x = np.random.default_rng(3).standard_normal(3000)
    curve = fit_curves_of(np.zeros((3000, 0)), {"x": x}, drawn(x - 1, 4), np.ones(3000)).curves["x"]
    assert curve.freedom < 3.0
    low, high = curve.at(np.array([-1.0, 1.0]))[0]
    assert high - low == pytest.approx(2.0, abs=0.3)


def test_noise_is_nearly_flat() -> None:
    x = np.random.default_rng(5).standard_normal(3000)
    smooth = fit_curves_of(
        np.zeros((3000, 0)), {"x": x, "same": np.full(3000, 2.0)}, drawn(np.full(3000, -1.0), 6),
        np.ones(3000),
    )  # fmt: skip
    assert list(smooth.curves) == ["x"]
    fitted, error = smooth.curves["x"].at(np.linspace(-1.5, 1.5, 7))
    assert np.all(np.abs(fitted) < 3 * error + 0.05)


def test_known_penalties_give_the_same_curve() -> None:
    x = np.random.default_rng(7).standard_normal(1500)
    hit, none, one = drawn(np.sin(x), 8), np.zeros((1500, 0)), np.ones(1500)
    first = fit_curves_of(none, {"x": x}, hit, one)
    again = fit_curves_of(none, {"x": x}, hit, one, known=first.penalties)
    assert again.curves["x"].at(x)[0] == pytest.approx(first.curves["x"].at(x)[0], abs=1e-4)


def test_one_value_has_no_curve() -> None:
    with pytest.raises(ScreenError, match="two different"):
        Basis.of(np.array([1.0, 1.0, np.nan]), np.ones(3))
