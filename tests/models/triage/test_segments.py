"""Cuts of least cost, against all cuts there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.screen import ScreenError
from models.triage.segments import best_segments, cluster_values, segment_means


def cost_of(values: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> float:
    means = segment_means(values, weights, labels)
    return float((weights * (values - means[labels]) ** 2).sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_segments_are_the_best_of_all(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(max(k, 3), 13))
    values, weights = rng.standard_normal(n), rng.uniform(0.1, 5.0, n)
    every = (
        np.repeat(np.arange(k), np.diff([0, *cuts, n]))
        for cuts in itertools.combinations(range(1, n), k - 1)
    )
    least = min(cost_of(values, weights, labels) for labels in every)
    found = best_segments(values, weights, 12)
    assert found.cost[k - 1] == pytest.approx(least, abs=1e-10)
    assert cost_of(values, weights, found.labels(k)) == pytest.approx(least, abs=1e-10)
    assert np.all(np.diff(found.labels(k)) >= 0)


@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_the_best_of_all_partitions(seed: int) -> None:
    """Of any sets at all, not only of runs: Fisher's lemma, by brute force."""
    rng = np.random.default_rng(seed)
    values, weights = rng.standard_normal(8), rng.uniform(0.1, 5.0, 8)
    every = (np.array(labels) for labels in itertools.product(range(3), repeat=8))
    least = min(cost_of(values, weights, labels) for labels in every if len(np.unique(labels)) == 3)
    segments, place = cluster_values(values, weights, 5)
    assert segments.cost[2] == pytest.approx(least, abs=1e-10)
    assert cost_of(values, weights, segments.labels(3)[place]) == pytest.approx(least, abs=1e-10)


def test_as_many_segments_as_distinct_values_cost_nothing() -> None:
    values = np.array([3.0, 1.0, 1.0, 2.0, 3.0, 2.0])
    segments, place = cluster_values(values, np.ones(6), 6)
    assert segments.cost[2] == pytest.approx(0.0, abs=1e-12)
    assert segments.cost[1] > 0.1
    labels = segments.labels(3)[place]
    assert [labels[k] for k in (1, 3, 0)] == [0, 1, 2]
    assert labels.tolist() == [2, 0, 0, 1, 2, 1]


@pytest.mark.parametrize(
    ("values", "weights", "most", "words"),
    [
        (np.zeros(0), np.zeros(0), 2, "0 values"),
        (np.zeros(2), np.array([1.0, 0.0]), 2, "positive"),
        (np.zeros(2), np.ones(2), 0, "at least one"),
    ],
)
def test_what_cannot_be_cut_is_refused(
    values: np.ndarray, weights: np.ndarray, most: int, words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        best_segments(values, weights, most)


def test_a_number_of_segments_that_was_not_computed_is_refused() -> None:
    with pytest.raises(ScreenError, match="1 to 2"):
        best_segments(np.arange(4.0), np.ones(4), 2).labels(3)
