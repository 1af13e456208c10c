"""Replayed campaigns: arms start alike, active learning finds more."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.replay import PastCampaign, replay
from models.pharmacology.simulate import simulate_screen
from models.rounds import RoundRules
from models.screen import ScreenError


def small() -> PastCampaign:
    return PastCampaign.of_simulation(simulate_screen(12, 4, 3, 0.05, 3), "bliss_mean", 1, 3)


def test_random_arm_measures_each_block_once_and_ends_with_the_pool() -> None:
    campaign = small()
    rules = RoundRules(acquisition="random", batch_size=100)
    records = replay(campaign, rules, rounds=5, initial=30, seed=1)
    chosen = np.concatenate([record.chosen for record in records])
    assert [record.measured for record in records] == [30, 130, 230, 264]
    assert len(set(chosen.tolist())) == 264
    assert records[-1].top_found == 1.0
    other = replay(campaign, RoundRules(acquisition="random"), rounds=0, initial=30, seed=1)
    assert np.array_equal(other[0].chosen, records[0].chosen)
    with pytest.raises(ScreenError, match="start from 0"):
        replay(campaign, rules, rounds=1, initial=0, seed=1)


@pytest.mark.slow
def test_active_learning_hits_more_often_than_chance() -> None:
    campaign = PastCampaign.of_simulation(simulate_screen(20, 6, 3, 0.05, 4), "bliss_mean", 1, 4)
    rules = RoundRules(batch_size=30, hit_threshold=float(np.quantile(campaign.truth, 0.95)))
    records = replay(campaign, rules, rounds=3, initial=60, seed=0)
    assert np.mean([record.hit_rate for record in records[1:]]) > 3 * 0.05
