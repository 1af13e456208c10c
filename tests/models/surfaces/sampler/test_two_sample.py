"""Discrepancy with an invariant kernel: false alarms, power, what it must not see."""

from __future__ import annotations

import numpy as np
import pytest

from models.screen import ScreenError
from models.surfaces.sampler.two_sample import (
    compare_samples,
    compare_surfaces,
    energy_distance,
    energy_score,
    invariant_kernel,
)


def surfaces(n: int, seed: int, shift: float = 0.0, tilt: float = 0.0) -> np.ndarray:
    """Departures of 4 x 4 blocks: ``tilt`` leans all of them to the row drug."""
    rng = np.random.default_rng(seed)
    lean = tilt * np.linspace(-1, 1, 4)[:, None]
    return 0.1 * rng.normal(size=(n, 4, 4)) + shift + lean


def test_one_law_raises_few_alarms() -> None:
    found = [
        compare_surfaces(surfaces(12, s), surfaces(15, 1000 + s), permutations=99).p_value
        for s in range(120)
    ]
    # 5 % of 120 is 6; sd of a binomial 2.4.
    assert sum(p <= 0.05 for p in found) <= 14
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_a_shifted_plate_is_seen() -> None:
    found = compare_surfaces(surfaces(20, 0), surfaces(20, 1, shift=0.08))
    assert found.differ
    assert found.statistic > 0
    assert found.sizes == (20, 20)


def test_the_order_of_drugs_is_no_difference() -> None:
    """One plate lists its pairs the other way round: an ordinary kernel calls that a drift."""
    one, other = surfaces(25, 0, tilt=0.15), surfaces(25, 1, tilt=0.15).transpose(0, 2, 1)
    assert compare_surfaces(one, other).p_value > 0.05
    assert compare_samples(one.reshape(25, -1), other.reshape(25, -1)).p_value <= 0.01
    turned = compare_surfaces(one.transpose(0, 2, 1), other)
    assert turned.statistic == pytest.approx(compare_surfaces(one, other).statistic, abs=1e-12)


def test_the_kernel_is_positive_and_invariant() -> None:
    rows = surfaces(10, 0)
    flat, turned = rows.reshape(10, -1), rows.transpose(0, 2, 1).reshape(10, -1)
    kernel = invariant_kernel(flat, turned)
    assert np.allclose(kernel, kernel.T)
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    mixed = np.where(np.arange(10)[:, None] % 2 == 0, flat, turned)
    back = np.where(np.arange(10)[:, None] % 2 == 0, turned, flat)
    whole = invariant_kernel(np.concatenate([flat, mixed]), np.concatenate([turned, back]))
    assert np.allclose(whole[:10, :10], whole[10:, :10])


def test_the_statistic_is_unbiased_about_zero() -> None:
    values = [
        compare_surfaces(surfaces(8, s), surfaces(8, 500 + s), permutations=1).statistic
        for s in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)


def test_energy_distance_and_score() -> None:
    rng = np.random.default_rng(0)
    one, other, far = (rng.normal(size=(800, 1)) + shift for shift in (0.0, 0.0, 2.0))
    assert abs(energy_distance(one, other)) < 0.02
    # For normals of sd 1 two apart: 2 E|N(2, 2)| - 2 E|N(0, 2)|.
    apart = np.abs(np.random.default_rng(1).normal(2, np.sqrt(2), 10**6)).mean()
    assert energy_distance(one, far) == pytest.approx(2 * apart - 4 / np.sqrt(np.pi), abs=0.15)
    truth = rng.normal(size=(400, 3))
    right, wide, off = (
        shift + scale * rng.normal(size=(64, 400, 3))
        for shift, scale in ((0, 1.0), (0, 2.0), (1, 1.0))
    )
    scores = [energy_score(draws, truth).mean() for draws in (right, wide, off)]
    assert scores[0] < min(scores[1:])


def test_too_little_is_refused() -> None:
    with pytest.raises(ScreenError, match="at least 4"):
        compare_surfaces(surfaces(3, 0), surfaces(9, 0))
    with pytest.raises(ScreenError, match="missing"):
        compare_surfaces(surfaces(9, 0), np.full((9, 4, 4), np.nan))
    with pytest.raises(ScreenError, match="square"):
        compare_surfaces(surfaces(9, 0), surfaces(9, 0)[:, :3])
