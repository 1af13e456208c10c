"""R-hat and effective sample size of chains whose mixing is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.bayes.diagnostics import (
    bulk_ess,
    describe_chains,
    describe_members,
    rank_rhat,
    tail_ess,
)
from models.screen import ScreenError


def autoregressive(phi: float, chains: int, draws: int, quantities: int, seed: int) -> np.ndarray:
    """Stationary AR(1) with variance 1: the effective share is (1 - phi) / (1 + phi)."""
    noise = np.random.default_rng(seed).normal(size=(chains, draws, quantities))
    values = np.empty_like(noise)
    values[:, 0] = noise[:, 0]
    for t in range(1, draws):
        values[:, t] = phi * values[:, t - 1] + np.sqrt(1 - phi**2) * noise[:, t]
    return values


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, -0.4])
def test_effective_sample_size_of_an_autoregressive_chain(phi: float) -> None:
    chains = autoregressive(phi, 4, 4000, 40, seed=1)
    expected = 16_000 * (1 - phi) / (1 + phi)
    assert bulk_ess(chains).mean() == pytest.approx(expected, rel=0.06)
    assert np.all(rank_rhat(chains) < 1.01)


def test_tails_mix_like_the_bulk_where_draws_are_independent() -> None:
    chains = autoregressive(0.0, 4, 2000, 40, seed=2)
    assert tail_ess(chains).mean() == pytest.approx(8000, rel=0.1)


def test_chains_at_different_places_have_not_converged() -> None:
    chains = np.random.default_rng(0).normal(size=(4, 500, 2))
    chains[0, :, 1] += 2.0
    rhat = rank_rhat(chains)
    assert rhat[0] < 1.01 < 1.1 < rhat[1]
    assert bulk_ess(chains)[1] < 50


def test_a_trend_inside_a_chain_is_seen_by_splitting() -> None:
    chains = np.random.default_rng(0).normal(size=(4, 500)) + np.linspace(-1.5, 1.5, 500)
    assert rank_rhat(chains) > 1.2


def test_chains_of_different_width_are_seen_by_folding() -> None:
    """Their ranks around the median agree; only |x - median| tells them apart."""
    chains = np.random.default_rng(0).normal(size=(4, 1000))
    chains[:2] *= 4.0
    assert rank_rhat(chains) > 1.1


def test_ranks_do_not_mind_heavy_tails_or_another_unit() -> None:
    chains = np.random.default_rng(3).standard_cauchy(size=(4, 1000))
    assert rank_rhat(chains) < 1.02
    monotone = np.arctan(chains / 7.0) * 3.0 + 5.0
    assert bulk_ess(monotone) == pytest.approx(float(bulk_ess(chains)), rel=1e-12)
    assert tail_ess(monotone) == pytest.approx(float(tail_ess(chains)), rel=1e-12)
    assert rank_rhat(chains[::-1]) == pytest.approx(float(rank_rhat(chains)), rel=1e-12)


def test_a_quantity_that_never_moves_shows_nothing() -> None:
    chains = np.random.default_rng(0).normal(size=(4, 100, 2))
    chains[..., 0] = 3.0
    assert np.isnan(rank_rhat(chains)).tolist() == [True, False]
    assert np.isnan(bulk_ess(chains)).tolist() == [True, False]
    report = describe_chains(chains)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["rhat_max"] == pytest.approx(float(rank_rhat(chains)[1]), abs=1e-6)
    assert (report["chains"], report["draws"], report["quantities"]) == (4, 100, 2)
    stuck = describe_chains(np.ones((2, 10)))
    assert stuck["rhat_max"] is None
    assert (stuck["constant"], stuck["stuck"]) == (1, 0)
    assert stuck["ess_bulk_min"] is None


def test_stuck_chains_at_different_places_are_the_worst_case() -> None:
    """Each constant, but not the same constant: infinite R-hat is no number in JSON."""
    chains = np.repeat(np.arange(4.0)[:, None], 50, axis=1)
    assert np.isinf(rank_rhat(chains))
    report = describe_chains(chains)
    assert json.dumps(report, allow_nan=False)
    assert report["stuck"] == 1
    assert report["share_rhat_above_1.01"] == 1.0


def test_broken_chains_are_refused() -> None:
    with pytest.raises(ScreenError, match="4 draws"):
        rank_rhat(np.zeros((4, 3)))
    with pytest.raises(ScreenError, match="finite"):
        bulk_ess(np.full((2, 10), np.nan))


def test_members_agree_or_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    close = truth + 0.1 * rng.normal(size=(5, 400))
    alone = rng.normal(size=(5, 400))
    near, far = describe_members(close), describe_members(alone)
    assert near["correlation_mean"] == pytest.approx(1 / 1.01, abs=0.003)
    assert near["spread_share"] == pytest.approx(0.8 * 0.01 / (1 + 0.01), rel=0.2)
    assert far["correlation_mean"] == pytest.approx(0.0, abs=0.06)
    assert far["spread_share"] == pytest.approx(0.8, abs=0.02)
    same = describe_members(np.tile(truth, (3, 1)))
    assert same["spread_share"] == pytest.approx(0.0, abs=1e-12)
    assert describe_members(truth[None])["correlation_mean"] is None
    with pytest.raises(ScreenError, match="finite"):
        describe_members(truth)
