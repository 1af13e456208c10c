"""Which wells next: against brute force over what would be left."""

from __future__ import annotations

import numpy as np
import pytest

from models.screen import ScreenError
from models.surfaces.next_wells import next_wells
from models.surfaces.prediction import SurfacePrediction


def _prediction(noise: float = 0.05) -> SurfacePrediction:
    rng = np.random.default_rng(4)
    place = np.stack(np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij"), -1).reshape(-1, 2)
    away = np.abs(place[:, None] - place[None]).sum(-1)
    scale = np.linspace(0.06, 0.2, 12).reshape(1, 3, 4)
    return SurfacePrediction(
        0.5 + 0.02 * rng.standard_normal((5, 1, 3, 4)), scale, np.inf,
        np.full((1, 3, 4), noise), np.exp(-away / 1.5)[None],
    )  # fmt: skip


def test_the_first_well_leaves_the_least_variance() -> None:
    """Every other first well leaves more, by the normal conditional written out."""
    prediction = _prediction()
    found = next_wells(prediction, 0, 12)
    c = prediction.covariance()[0]
    left = [np.trace(c - np.outer(c[:, j], c[j]) / (c[j, j] + 0.05**2)) for j in range(12)]
    best = int(np.argmin(left))
    assert (found.rows[0], found.columns[0]) == (best // 4, best % 4)
    assert found.taken[0] == pytest.approx(1 - left[best] / np.trace(c))
    assert found.left[0] == pytest.approx(np.sqrt(left[best] / 12))


def test_all_wells_together_leave_what_the_joint_conditional_leaves() -> None:
    """Greedy steps are exact: after all of them, the order no longer matters."""
    prediction = _prediction()
    c = prediction.covariance()[0]
    joint = c - c @ np.linalg.solve(c + 0.05**2 * np.eye(12), c)
    found = next_wells(prediction, 0, 12)
    assert found.left[-1] == pytest.approx(np.sqrt(np.trace(joint) / 12))
    assert sorted(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == [
        (i, j) for i in range(3) for j in range(4)
    ]
    assert np.all(np.diff(found.left) < 0)


def test_wells_that_are_not_allowed_are_not_proposed() -> None:
    """Fewer where fewer are left; nonsense is refused."""
    allowed = np.zeros((3, 4), bool)
    allowed[1, 2] = allowed[0, 0] = True
    found = next_wells(_prediction(), 0, 5, allowed)
    assert set(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == {(1, 2), (0, 0)}
    with pytest.raises(ScreenError):
        next_wells(_prediction(), 0, -1)
