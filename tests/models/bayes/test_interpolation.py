"""The constructions of the literature, worked out: what so few numbers can and cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from models.bayes.interpolation import Interpolant, fewest_parameters, interpolating_parameters
from models.screen import FloatArray, ScreenError


def _points(n: int, d: int, seed: int = 3) -> tuple[FloatArray, FloatArray]:
    """Points of the unit ball with labels that mean nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x *= rng.uniform(size=(n, 1)) ** (1 / d) / np.linalg.norm(x, axis=1, keepdims=True)
    return x, rng.normal(size=n)


@pytest.mark.parametrize(
    ("n", "d", "count", "error"), [(200, 5, 404, 1e-8), (1000, 20, 2019, 1e-7)]
)
def test_any_labels_are_met_with_few_numbers_in_float64(
    n: int, d: int, count: int, error: float
) -> None:
    x, y = _points(n, d)
    found = Interpolant.through(x, y, seed=1)
    assert found.n_parameters == count == interpolating_parameters(n, d)
    assert np.abs(found(x) - y).max() < error


def test_it_is_a_broken_line_that_goes_on_from_its_last_piece() -> None:
    x, y = _points(30, 3)
    found = Interpolant.through(x, y, seed=0)
    place = np.sort(x @ found.direction)
    start = x[np.argmin(x @ found.direction)]
    beyond = start - 5 * found.direction
    assert found(beyond[None])[0] == pytest.approx(found(start[None])[0])
    far = [(place[-1] + t) * found.direction / 1.0 for t in (1.0, 2.0, 3.0)]
    values = found(np.array(far))
    assert values[2] - values[1] == pytest.approx(values[1] - values[0], rel=1e-6)


def test_float32_cannot_when_the_gaps_come_near_its_resolution() -> None:
    """1,000 points on a line of length 2 have a least gap of about 2e-6; labels are missed by
    the rounding of places (6e-8) times slopes of 1e6."""
    x, y = _points(1000, 20)
    exact = Interpolant.through(x, y, seed=1)
    gap = np.diff(np.sort(x @ exact.direction)).min()
    assert gap < 100 * np.finfo(np.float32).eps
    rounded = Interpolant.through(x, y, seed=1, dtype=np.float32)
    assert np.abs(rounded(x) - y).max() > 1e-2


def test_points_closer_than_float32_can_tell_are_refused_in_words() -> None:
    x = np.array([[0.5, 0.0], [0.5 + 1e-12, 0.0], [0.1, 0.2]])
    y = np.array([0.0, 1.0, 2.0])
    assert np.abs(Interpolant.through(x, y, seed=0)(x) - y).max() < 1e-3
    with pytest.raises(ScreenError, match="coincide on the line in float32"):
        Interpolant.through(x, y, seed=0, dtype=np.float32)
    with pytest.raises(ScreenError, match="cannot both be met"):
        Interpolant.through(np.ones((2, 2)), y[:2], seed=0)


def test_twelve_numbers_hold_144_labels_on_a_grid() -> None:
    """Bit extraction: a column's labels are the bits of one weight. One stage of thresholds takes
    one bit off: 12 stages read any of them. On a grid this beats one number a label; at irregular
    points it cannot (Siegel 2023)."""
    labels = np.random.default_rng(0).integers(0, 2, size=(12, 12))
    weights = labels @ 2.0 ** -np.arange(1, 13)
    assert len(weights) == 12
    column, row = np.meshgrid(np.arange(12), np.arange(12), indexing="ij")
    rest, found = weights[column], np.zeros((12, 12), int)
    for stage in range(12):
        bit = (2 * rest >= 1).astype(float)  # a threshold unit
        found = np.where(row == stage, bit, found)
        rest = 2 * rest - bit
    assert np.array_equal(found, labels)


def test_the_counts() -> None:
    assert interpolating_parameters(1, 7) == 8
    assert fewest_parameters(1) == 1
    assert fewest_parameters(1024) == 102  # ceil(sqrt(1024 * 10))
    counts = [fewest_parameters(n) for n in range(1, 3000)]
    assert all(np.diff(counts) >= 0)
    assert all(fewest_parameters(n) < interpolating_parameters(n, 1) for n in range(3, 3000, 7))
