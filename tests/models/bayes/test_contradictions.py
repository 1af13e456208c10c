"""Pairs that contradict each other: found where they were planted, rare where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from models.bayes.contradictions import (
    FDR,
    find_contradictions,
    q_values,
)
from models.screen import FloatArray, ScreenError


def _smooth(
    n: int, seed: int, error: float = 1.0, twins: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Inputs, outcomes, errors and the truth; the last ``twins`` are near copies of the first."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    if twins:
        x[-twins:] = x[:twins] + 1e-3 * rng.normal(size=(twins, 3))
    truth = 5 * np.sin(x[:, 0]) + 3 * x[:, 1]
    return x, truth + error * rng.normal(size=n), np.full(n, error), truth


def test_a_planted_contradiction_is_found_and_its_odd_half_named() -> None:
    x, y, errors, truth = _smooth(300, seed=0, twins=60)
    y[7] += 12.0  # its twin is 247
    found = find_contradictions(x, y, errors, truth)
    top = found.flagged[0]
    assert (top.suspect, top.other) == (7, 247)
    assert top.q < 0.01
    assert found.tested >= 60


def test_a_model_that_memorised_both_does_not_hide_the_contradiction() -> None:
    x, y, errors, _ = _smooth(300, seed=0, twins=60)
    y[7] += 12.0
    memorised = find_contradictions(x, y, errors, fitted=y.copy())
    pairs = [{one.suspect, one.other} for one in memorised.flagged]
    assert {7, 247} in pairs


def test_without_any_few_are_flagged_and_the_rate_holds() -> None:
    """Under the null of all pairs any flag is false: at most FDR of the data sets have one."""
    flagged = 0
    for seed in range(60):
        x, y, errors, truth = _smooth(120, seed=seed, twins=40)
        flagged += bool(find_contradictions(x, y, errors, truth).flagged)
    expected = scipy.stats.binom.ppf(0.999, 60, FDR)
    assert flagged <= expected


def test_errors_that_promise_too_much_raise_no_flood() -> None:
    """All standard errors are a third of the truth: the spread of z shows it."""
    x, y, errors, truth = _smooth(600, seed=4, twins=250)
    found = find_contradictions(x, y, errors / 3, truth)
    assert found.spread == pytest.approx(3.0, rel=0.25)
    assert len(found.flagged) <= 3


def test_what_the_fitted_function_changes_over_the_distance_is_granted() -> None:
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(size=(200, 1)), axis=0)
    y = 1000 * x[:, 0]
    errors = np.full(200, 0.01)
    steep = find_contradictions(x, y, errors, fitted=y)
    flat = find_contradictions(x, y, errors, fitted=np.zeros(200))
    assert not steep.flagged
    assert steep.data_slope == pytest.approx(1000, rel=1e-6)
    assert steep.fitted_slope == pytest.approx(1000, rel=1e-6)
    assert flat.fitted_slope == 0.0
    assert flat.flagged or flat.spread > 10


def test_exact_duplicates_grant_nothing() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(30, 8)), 2, axis=0)
    y = np.zeros(60)
    y[10], y[11] = 4.0, -4.0
    found = find_contradictions(x, y, np.ones(60), np.zeros(60))
    assert found.tested == 30
    (only,) = found.flagged
    assert {only.suspect, only.other} == {10, 11}
    assert only.distance == 0.0
    assert only.z == pytest.approx(8 / np.sqrt(2))
    assert only.p == pytest.approx(2 * scipy.stats.norm.sf(8 / np.sqrt(2)))


def test_q_values_are_scipys() -> None:
    p = np.random.default_rng(0).uniform(size=50) ** 2
    assert np.allclose(q_values(p), scipy.stats.false_discovery_control(p))


def test_small_and_silent_cases() -> None:
    none = find_contradictions(np.zeros((1, 2)), np.zeros(1), np.ones(1), np.zeros(1))
    assert none.flagged == ()
    assert none.data_slope is None
    without_errors = find_contradictions(np.zeros((4, 1)), np.arange(4.0), np.zeros(4), np.zeros(4))
    assert without_errors.tested == 0
    with pytest.raises(ScreenError, match="every experiment needs"):
        find_contradictions(np.zeros((3, 1)), np.zeros(2), np.ones(3), np.zeros(3))
