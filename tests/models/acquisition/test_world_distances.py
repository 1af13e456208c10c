"""Distances between worlds by hand and by the definition."""

from __future__ import annotations

import numpy as np
import pytest

from models.acquisition import world_distances
from models.acquisition.draws import AcquisitionError
from models.acquisition.world_distances import (
    hit_set_distance,
    require_distance,
    score_distance,
    top_k_distance,
)

DRAWS = np.array([[3.0, 1.0, 0.0, 2.0], [3.0, 2.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0]])


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_distances, "COLUMNS", 3)


def test_distances_by_hand() -> None:
    assert score_distance(DRAWS) == pytest.approx(
        np.array([[0, 5 / 4, 14 / 4], [5 / 4, 0, 23 / 4], [14 / 4, 23 / 4, 0]])
    )
    assert hit_set_distance(DRAWS, 1.5).tolist() == [[0, 0.5, 0.5], [0.5, 0, 1.0], [0.5, 1.0, 0]]
    assert top_k_distance(DRAWS, 2).tolist() == [[0, 0.5, 0.5], [0.5, 0, 1.0], [0.5, 1.0, 0]]
    assert not top_k_distance(DRAWS, 9).any()


def test_distances_are_distances() -> None:
    draws = np.random.default_rng(0).normal(size=(12, 40)) + 1e6
    draws[3] = draws[7]
    exact = np.square(draws[:, None] - draws[None]).mean(-1)
    assert score_distance(draws) == pytest.approx(exact, abs=1e-9)
    for distance in (score_distance(draws), hit_set_distance(draws, 1e6), top_k_distance(draws, 5)):
        assert np.array_equal(require_distance(distance, 12), distance)
        assert distance[3, 7] == pytest.approx(0, abs=1e-9)
        assert distance.max() > 0


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (np.zeros((2, 3)), "shape"),
        (np.array([[0.0, -1.0], [-1.0, 0.0]]), "not negative"),
        (np.array([[0.0, np.nan], [np.nan, 0.0]]), "finite"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "symmetric"),
        (np.eye(2), "itself"),
    ],
)
def test_what_is_no_distance_is_refused(wrong: np.ndarray, word: str) -> None:
    with pytest.raises(AcquisitionError, match=word):
        require_distance(wrong, 2)
