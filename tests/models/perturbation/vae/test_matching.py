"""Controls matched to treated cells: used evenly, near, and where they should be."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial.distance

from models.perturbation.vae.matching import matched_controls
from models.screen import ScreenError


def _profiles() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    library = rng.lognormal(0, 0.4, 260)[:, None]
    rates = rng.gamma(0.5, 2, 100) * library * np.exp(0.5 * rng.standard_normal((260, 100)))
    profiles = np.log1p(rng.poisson(rates))
    return profiles[:60], profiles[60:]


def test_no_control_is_used_twice_while_there_are_enough() -> None:
    """The published plan is uniform; its maximum used one control up to 16 times."""
    treated, controls = _profiles()
    matched = matched_controls(treated, controls, seed=0)
    assert len(set(matched.tolist())) == len(treated)


def test_matches_are_nearer_than_chance_and_close_to_the_nearest() -> None:
    treated, controls = _profiles()
    distance = scipy.spatial.distance.cdist(treated, controls)
    matched = distance[np.arange(60), matched_controls(treated, controls, seed=0)].mean()
    assert matched < 0.5 * (distance.mean() + distance.min(axis=1).mean())


def test_a_copy_among_the_controls_is_found() -> None:
    treated, controls = _profiles()
    order = np.random.default_rng(1).permutation(len(controls))
    controls[order[: len(treated)]] = treated
    assert np.array_equal(matched_controls(treated, controls, 0), order[: len(treated)])


def test_few_controls_are_used_evenly() -> None:
    treated, controls = _profiles()
    counts = np.bincount(matched_controls(treated, controls[:7], seed=0), minlength=7)
    assert counts.max() <= 9
    assert counts.sum() == 60


def test_there_must_be_controls() -> None:
    with pytest.raises(ScreenError, match="no control cells"):
        matched_controls(np.zeros((2, 3)), np.zeros((0, 3)), 0)
