"""The rule that lets synthetic data in: it refuses copies, noise and what only seems to help."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats

from models.screen import FloatArray, IntArray, ScreenError
from models.surfaces.sampler.admission import (
    Admission,
    HeldOut,
    check_copying,
    judge_admission,
    paired_gain,
)

D, GROUPS = 6, 10


def real(n: int, seed: int) -> tuple[FloatArray, IntArray]:
    """Departures from Bliss: one shared size and a little noise of each well."""
    rng = np.random.default_rng(seed)
    rows = 0.2 * rng.normal(size=(n, 1)) + 0.05 * rng.normal(size=(n, D))
    return rows, np.arange(n) % GROUPS


def log_density(train: FloatArray, at: FloatArray) -> FloatArray:
    """A learner that needs data: the Gaussian of the training rows."""
    cov = np.cov(train.T) + 1e-4 * np.eye(D)
    return np.asarray(scipy.stats.multivariate_normal(train.mean(0), cov).logpdf(at))


def judged(synthetic: FloatArray) -> Admission:
    train, _ = real(14, 1)
    at, group = real(400, 2)
    turned = train[:, ::-1]
    held_out = HeldOut(
        log_density(train, at),
        log_density(np.concatenate([train, turned]), at),
        log_density(np.concatenate([train, turned, synthetic]), at),
        group,
    )
    return judge_admission(held_out, check_copying(synthetic, train, real(14, 3)[0]))


def test_a_sampler_of_the_true_law_is_let_in() -> None:
    found = judged(real(200, 9)[0])
    assert found.admitted
    assert found.over_none.mean > found.over_swapped.mean > 0
    assert "copies nothing" in found.reason
    assert json.loads(json.dumps(found.report()))["admitted"] is True


def test_a_sampler_that_copies_is_refused() -> None:
    train, _ = real(14, 1)
    rng = np.random.default_rng(0)
    copies = train[rng.integers(0, 14, 200)] + 0.004 * rng.normal(size=(200, D))
    found = judged(copies)
    assert not found.admitted
    assert found.copying.copies
    assert "it copies what it learned from" in found.reason


def test_copies_are_refused_even_where_they_would_help() -> None:
    train, _ = real(14, 1)
    better = HeldOut(
        np.zeros(50), np.full(50, 0.1), np.full(50, 1.0) + 0.01 * np.arange(50), np.arange(50) % 10
    )
    copying = check_copying(train[np.arange(100) % 14] + 1e-3, train, real(14, 3)[0])
    assert not judge_admission(better, copying).admitted


def test_swapped_copies_are_copies() -> None:
    train, _ = real(30, 1)
    some = train[np.arange(60) % 30][:, ::-1] + 1e-3
    fresh = real(30, 3)[0]
    turned = (some[:, ::-1], fresh[:, ::-1])
    assert check_copying(some, train, fresh, turned=turned).copies


def test_a_sampler_that_adds_noise_is_refused() -> None:
    rng = np.random.default_rng(0)
    found = judged(real(200, 9)[0] + 0.3 * rng.normal(size=(200, D)))
    assert not found.admitted
    assert not found.copying.copies
    assert "no gain over real blocks alone" in found.reason


def test_gains_over_none_that_swapping_gives_for_nothing_are_refused() -> None:
    rng = np.random.default_rng(1)
    gain = 1.0 + 0.1 * rng.normal(size=60)
    held_out = HeldOut(np.zeros(60), gain, gain + 0.1 * rng.normal(size=60), np.arange(60) % GROUPS)
    fresh = check_copying(real(50, 7)[0], real(50, 1)[0], real(50, 3)[0])
    found = judge_admission(held_out, fresh)
    assert found.over_none.p_value < 1e-6
    assert not found.admitted
    assert "no gain over swapped copies" in found.reason


def test_fresh_data_are_no_copies() -> None:
    found = [
        check_copying(real(60, 3 * s)[0], real(60, 3 * s + 1)[0], real(60, 3 * s + 2)[0], seed=s)
        for s in range(60)
    ]
    assert sum(each.copies for each in found) <= 6
    assert np.mean([each.learned_share for each in found]) == pytest.approx(0.5, abs=0.04)


def test_a_group_counts_once_however_large() -> None:
    """One group of a thousand lucky blocks is one group."""
    difference = np.concatenate([np.full(1000, 5.0), np.array([-0.1, 0.1, -0.1, 0.1, -0.05])])
    group = np.concatenate([np.zeros(1000), np.arange(1, 6)]).astype(np.int64)
    found = paired_gain(difference, group)
    assert found.groups == 6
    assert found.p_value > 0.1
    by_hand = np.array([5.0, -0.1, 0.1, -0.1, 0.1, -0.05])
    expected = scipy.stats.ttest_1samp(by_hand, 0.0, alternative="greater").pvalue
    assert found.p_value == pytest.approx(expected)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ScreenError, match="5 groups"):
        paired_gain(np.ones(4), np.arange(4))
    with pytest.raises(ScreenError, match="same held-out blocks"):
        HeldOut(np.zeros(3), np.zeros(3), np.zeros(2), np.arange(3))
    with pytest.raises(ScreenError, match="not finite"):
        HeldOut(np.zeros(3), np.zeros(3), np.full(3, np.nan), np.arange(3))
    with pytest.raises(ScreenError, match="ten"):
        check_copying(np.zeros((5, 2)), np.zeros((50, 2)), np.zeros((50, 2)))
