"""Nearest neighbours against all distances, by the tree and by products, with duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from models.bayes import neighbours
from models.bayes.neighbours import Neighbours


@pytest.mark.parametrize("d", [2, 12, 13, 40])
def test_they_are_those_of_all_distances(d: int) -> None:
    x = np.random.default_rng(d).normal(size=(80, d))
    apart = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    found = Neighbours.of(x)
    assert np.array_equal(found.others, np.argsort(apart, axis=1)[:, :5])
    assert np.allclose(found.distances, np.sort(apart, axis=1)[:, :5], rtol=1e-12)


@pytest.mark.parametrize("d", [3, 30])
def test_tiny_distances_are_exact_far_from_the_origin(d: int) -> None:
    x = 1e3 + np.random.default_rng(0).normal(size=(60, d))
    x[1] = x[0]
    x[1, 0] += 1e-5
    found = Neighbours.of(x)
    assert found.others[0, 0] == 1
    assert found.distances[0, 0] == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize("d", [2, 20])
def test_many_duplicates_leave_each_point_others_only(d: int) -> None:
    x = np.zeros((12, d))
    x[9:] = np.random.default_rng(0).normal(size=(3, d))
    found = Neighbours.of(x)
    assert found.others.shape == (12, 5)
    assert not (found.others == found.rows[:, None]).any()
    assert not found.distances[:9].any()


def test_pairs_are_named_once() -> None:
    x = np.array([[0.0], [1.0], [3.0]])
    first, second, distance = Neighbours.of(x, k=2).pairs(3)
    assert list(zip(first, second, distance, strict=True)) == [
        (0, 1, 1.0),
        (0, 2, 3.0),
        (1, 2, 2.0),
    ]


def test_of_very_many_points_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST_LOOKED_AT", 20)
    x = np.random.default_rng(0).normal(size=(50, 3))
    part = Neighbours.of(x)
    monkeypatch.undo()
    whole = Neighbours.of(x)
    assert len(part.rows) == 20
    assert np.array_equal(part.others, whole.others[part.rows])


def test_a_single_point_has_none() -> None:
    assert Neighbours.of(np.zeros((1, 2))).others.shape == (1, 0)
