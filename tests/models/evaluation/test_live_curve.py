"""The curve of a running campaign against random orders that are really drawn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from models.evaluation.live_curve import live_curve
from models.screen import ScreenError

SCORES = np.array([12.0, 3.0, 15.0, 8.0, 11.0, 30.0])
ROUNDS = np.array([1, 1, 1, 2, 2, 5])


def test_hits_are_counted_and_expected() -> None:
    curve = live_curve(SCORES, ROUNDS, 10.0, np.full(14, 0.25))
    assert [(r.number, r.measured, r.found) for r in curve] == [(1, 3, 2), (2, 5, 3), (5, 6, 4)]
    # 4 hits known and 3.5 expected among 20 blocks.
    assert [r.random for r in curve] == pytest.approx([3 * 7.5 / 20, 5 * 7.5 / 20, 6 * 7.5 / 20])
    assert curve[0].enrichment == pytest.approx(2 / (3 * 7.5 / 20))
    assert curve[0].to_json()["measured"] == 3


def test_the_order_of_rows_does_not_matter() -> None:
    mixed = np.random.default_rng(0).permutation(6)
    p = np.linspace(0, 1, 9)
    assert live_curve(SCORES[mixed], ROUNDS[mixed], 10.0, p) == live_curve(SCORES, ROUNDS, 10.0, p)


def test_a_known_number_of_hits_is_hypergeometric() -> None:
    p = np.r_[np.ones(5), np.zeros(9)]
    for left in (None, np.array([5, 5])):
        for row in live_curve(SCORES, ROUNDS, 10.0, p, hits_left=left):
            law = scipy.stats.hypergeom(20, 9, row.measured)
            assert row.random == pytest.approx(law.mean())
            assert (row.random_low, row.random_high) == (law.ppf(0.05), law.ppf(0.95))


def test_the_band_is_that_of_random_orders_of_uncertain_pools() -> None:
    random = np.random.default_rng(3)
    scores, rounds = random.normal(size=120), np.repeat([1, 2, 3, 4], 30)
    p = random.beta(1, 4, size=400)
    curve = live_curve(scores, rounds, 1.0, p)
    known = scores > 1.0
    simulated = np.empty((4000, 4))
    for k in range(len(simulated)):
        hit = np.concatenate([known, random.random(400) < p])
        simulated[k] = np.cumsum(random.permutation(hit)[:120].reshape(4, 30).sum(axis=1))
    for j, row in enumerate(curve):
        assert row.random == pytest.approx(simulated[:, j].mean(), abs=0.25)
        inside = (simulated[:, j] >= row.random_low) & (simulated[:, j] <= row.random_high)
        assert 0.88 <= inside.mean() <= 0.99  # whole numbers hold a little more than 90 %
        assert abs(row.random_low - np.quantile(simulated[:, j], 0.05)) <= 1
        assert abs(row.random_high - np.quantile(simulated[:, j], 0.95)) <= 1


def test_blocks_that_err_together_widen_the_band() -> None:
    scores, rounds, p = np.zeros(100), np.ones(100, np.int64), np.full(100, 0.3)
    alone = live_curve(scores, rounds, 1.0, p)[0]
    together = live_curve(scores, rounds, 1.0, p, hits_left=np.array([0, 30, 60]))[0]
    assert together.random == pytest.approx(alone.random)
    assert together.random_low < alone.random_low
    assert together.random_high > alone.random_high


def test_limits() -> None:
    none_left = live_curve(SCORES, ROUNDS, 10.0, np.empty(0))
    assert (none_left[-1].found, none_left[-1].random) == (4, 4.0)
    assert (none_left[-1].random_low, none_left[-1].random_high) == (4, 4)
    no_hits = live_curve(SCORES, ROUNDS, 99.0, np.zeros(5))
    assert (no_hits[-1].enrichment, no_hits[-1].random_high) == (None, 0)
    for call in (
        lambda: live_curve(SCORES, ROUNDS[:3], 10.0, np.zeros(2)),
        lambda: live_curve(np.empty(0), np.empty(0, np.int64), 10.0, np.zeros(2)),
        lambda: live_curve(np.array([np.nan]), np.array([1]), 10.0, np.zeros(2)),
        lambda: live_curve(SCORES, ROUNDS, 10.0, np.array([1.2])),
        lambda: live_curve(SCORES, ROUNDS, 10.0, np.zeros(2), hits_left=np.array([3])),
    ):
        with pytest.raises(ScreenError):
            call()
