"""Fronts and volumes against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.objectives.pareto import (
    FreeRegion,
    front_probability,
    hypervolume,
    mean_front,
    non_dominated,
    reference_point,
)
from models.screen import BoolArray, FloatArray, ScreenError


def brute_front(values: FloatArray) -> BoolArray:
    """By definition, pair by pair."""
    beats = (values[None] >= values[:, None]).all(-1) & (values[None] > values[:, None]).any(-1)
    return ~beats.any(axis=1)


def brute_volume(values: FloatArray, reference: FloatArray) -> float:
    """Inclusion and exclusion over all subsets."""
    total = 0.0
    for size in range(1, len(values) + 1):
        for subset in itertools.combinations(values, size):
            side = np.maximum(np.min(subset, axis=0) - reference, 0.0)
            total -= (-1) ** size * float(side.prod())
    return total


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_front_with_ties(k: int, levels: int) -> None:
    rng = np.random.default_rng(10 * k + levels)
    values = rng.integers(0, levels, (20, 30, k)).astype(float)
    assert np.array_equal(non_dominated(values), [brute_front(world) for world in values])


@pytest.mark.parametrize("k", [2, 3, 4])
def test_front_of_many(k: int) -> None:
    """More candidates than are compared at once, a good part of them on the front."""
    rng = np.random.default_rng(k)
    values = rng.normal(size=(1500, k))
    values[:400] /= np.linalg.norm(values[:400], axis=1, keepdims=True) / 3.0
    values[:200] = np.abs(values[:200])
    values[700:720] = values[:20]
    assert np.array_equal(non_dominated(values), brute_front(values))


def test_equal_candidates_are_on_the_front_together() -> None:
    values = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    assert non_dominated(values).tolist() == [True, True, False, True, True]
    assert non_dominated(np.empty((0, 2))).tolist() == []
    assert non_dominated(np.empty((0, 3))).tolist() == []


def test_front_probability_is_a_share_of_worlds() -> None:
    draws = np.array([[[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.5], [2.0, 1.0, 2.0]]])
    # World 0: (2, 0), (1, 1), (0, 0.5). World 1: (0, 2), (1, 1), (0, 2).
    assert front_probability(draws).tolist() == [1.0, 1.0, 0.5]
    # Means: (1, 1), (1, 1), (0, 1.25).
    assert mean_front(draws).tolist() == [True, True, True]


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_volume_by_inclusion_and_exclusion(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(7, k)) if seed % 2 else rng.integers(0, 4, (7, k)).astype(float)
    reference = np.full(k, -0.3)
    assert hypervolume(values, reference) == pytest.approx(brute_volume(values, reference))


def test_volume_by_hand_and_its_limits() -> None:
    steps = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert hypervolume(steps, np.zeros(2)) == 6.0
    assert hypervolume(steps, np.array([3.0, 3.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0.0
    assert hypervolume(np.concatenate([steps, steps, steps - 0.5]), np.zeros(2)) == 6.0


@pytest.mark.parametrize("k", [2, 3])
def test_gain_is_a_difference_of_volumes_in_any_order(k: int) -> None:
    rng = np.random.default_rng(k)
    points, tried, reference = rng.random((9, k)), rng.random((20, k)), np.full(k, 0.1)
    region = FreeRegion(reference)
    before = sum(region.add(point) for point in points)
    assert before == pytest.approx(hypervolume(points, reference))
    for point, gain in zip(tried, region.gain(tried), strict=True):
        after = hypervolume(np.vstack([points, point]), reference)
        assert gain == pytest.approx(after - before, abs=1e-12)


def test_reference_lies_below_the_front() -> None:
    values = np.array([[0.0, 10.0], [10.0, 0.0], [-50.0, -50.0]])
    assert reference_point(values).tolist() == [-1.0, -1.0]
    assert reference_point(np.array([[1.0, 5.0], [1.0, 3.0]])) == pytest.approx([0.9, 4.8])


def test_broken_values_are_refused() -> None:
    with pytest.raises(ScreenError, match="k 2 to 4"):
        non_dominated(np.zeros((3, 5)))
    with pytest.raises(ScreenError, match="NaN"):
        non_dominated(np.array([[0.0, np.nan]]))
    with pytest.raises(ScreenError, match="2 draws"):
        front_probability(np.zeros((2, 1, 3)))
