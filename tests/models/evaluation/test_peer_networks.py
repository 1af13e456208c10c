"""The one-hot peers' network: it learns from a hundred blocks and is symmetric in compounds."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.stats
import torch

from models.evaluation.past_campaign import PastCampaign, SimulationSource
from models.evaluation.peer_networks import (
    MEMBERS,
    OneHotNetworks,
    OneHotPosterior,
    _Pairs,
    _scores,
)
from models.evaluation.peer_rules import blinded
from models.rounds import RoundRules, prepare, training_of
from models.screen import Candidates, IntArray, ScreenError, Stopped
from models.synergy.inputs import ScoredBlocks, Training


@cache
def screen(seed: int) -> PastCampaign:
    return SimulationSource(20, 4, "bliss_mean", doses=3, seed=seed).load()


def known(seed: int) -> IntArray:
    """The first one hundred blocks."""
    return np.random.default_rng(seed).permutation(len(screen(seed).candidates))[:100]


def training(seed: int) -> Training:
    """What the peer sees of the first blocks."""
    shown = screen(seed).reveal(known(seed))
    seen, prepared = blinded(shown, prepare(shown, RoundRules()), "identities")
    return training_of(seen, prepared, "bliss_mean")


@cache
def fitted(seed: int) -> OneHotPosterior:
    return OneHotNetworks().fit(training(seed), seed=seed)


@pytest.mark.slow
def test_predictions_vary_and_beat_chance_on_simulated_screens() -> None:
    """Rank correlations with unmeasured blocks on six screens, t-test against 0. (With the weight
    decay of ``plain_networks`` predictions are constant on some of these.)"""
    found = []
    for seed in range(6):
        campaign = screen(seed)
        rest = np.setdiff1d(np.arange(len(campaign.candidates)), known(seed))
        draws = fitted(seed).draws(campaign.candidates.select(rest), MEMBERS, 0).numpy()
        spread = float(campaign.truth.std())
        assert draws.mean(0).std() > 0.05 * spread, "predictions vary"
        assert draws.std(0).mean() > 0.02 * spread, "members differ"
        found.append(scipy.stats.spearmanr(draws.mean(0), campaign.truth[rest])[0])
    test = scipy.stats.ttest_1samp(found, 0.0, alternative="greater")
    assert test.pvalue < 0.01, found


def test_swapping_compounds_changes_no_bit() -> None:
    pairs = _Pairs.of(screen(0).candidates)
    swapped = _Pairs(pairs.second, pairs.first, pairs.line)
    weights = fitted(0).weights
    assert torch.equal(_scores(weights, pairs), _scores(weights, swapped))


def test_draws_are_the_members_and_the_same_seed_gives_the_same_bits() -> None:
    at = screen(0).candidates.select(np.arange(50))
    draws = fitted(0).draws(at, 2 * MEMBERS + 1, 5)
    assert torch.equal(draws[:MEMBERS], draws[MEMBERS : 2 * MEMBERS])
    assert torch.equal(draws[0], draws[-1])
    again = OneHotNetworks().fit(training(0), seed=0)
    assert torch.equal(again.draws(at, 5, 0), fitted(0).draws(at, 5, 0))
    other = OneHotNetworks().fit(training(0), seed=1)
    assert not torch.equal(other.draws(at, 5, 0), fitted(0).draws(at, 5, 0))
    blocks = training(0).blocks
    turned = np.arange(len(blocks))[::-1]
    upside_down = Training(blocks.select(turned), training(0).features)
    assert torch.equal(
        OneHotNetworks().fit(upside_down, seed=0).draws(at, 5, 0), fitted(0).draws(at, 5, 0)
    )


def test_the_noise_is_that_of_blocks_that_were_not_seen() -> None:
    """Where compounds add up, little is left; where scores are noise, all of it."""
    random = np.random.default_rng(0)
    blocks = training(0).blocks
    at = blocks.candidates
    effect = random.normal(size=20)
    rows = {
        "sum": 10 * effect[at.compounds].sum(axis=1),
        "noise": random.normal(size=len(blocks)) * 10,
    }
    share = {}
    for name, score in rows.items():
        data = Training(ScoredBlocks(at, score, np.zeros(len(at))), training(0).features)
        posterior = OneHotNetworks().fit(data, seed=0)
        share[name] = float(posterior.noise_scale(at)[0]) / score.std()
        assert posterior.noise_sd(at)[0] == posterior.noise_scale(at)[0]
    assert share["sum"] < 0.7
    assert 0.8 < share["noise"] < 1.3


def test_what_it_refuses() -> None:
    blocks = training(0).blocks
    few = Training(blocks.select(np.arange(9)), training(0).features)
    with pytest.raises(ScreenError, match="at least 10 measured blocks, the screen has 9"):
        OneHotNetworks().fit(few, seed=0)
    with pytest.raises(Stopped):
        OneHotNetworks().fit(training(0), seed=0, should_stop=lambda: True)
    outside = Candidates.of(np.array([0]), np.array([25]), np.array([0]))
    with pytest.raises(ScreenError, match="outside the tables"):
        fitted(0).draws(outside, 1, 0)
    with pytest.raises(ScreenError, match="cannot draw 0"):
        fitted(0).draws(blocks.candidates, 0, 0)
