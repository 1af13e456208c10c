"""Promised and found: sums by hand, intervals by simulation, reports put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.evaluation.campaign_report import Round, forecast_report
from models.evaluation.past_campaign import SimulationSource
from models.evaluation.promises import campaigns_by_strategy, promised_and_found, promises
from models.evaluation.replay_running import run_replays
from models.evaluation.replay_study import Amount, ReplayStudy, choose_strategies
from models.evaluation.replay_summary import Played
from models.screen import ScreenError


def entry(k: int, p: list[float], hit: list[int], model: str | None = "m") -> Round:
    n = len(p)
    forecast = {
        "hit_probability": np.array(p),
        "mean": np.zeros(n),
        "sd": np.ones(n),
        "position": np.full(n, 0.5),
        "log_density": np.zeros(n),
    }
    report = forecast_report(forecast, np.array(hit, bool), np.zeros(n))
    return {"number": k, "model": model, "forecast": report}


def campaign(seed: int, *rounds: Round) -> Played:
    first = {"number": 0, "model": None, "forecast": None}
    return Played("all lines", seed, 100, [first, *rounds], 10.0)


def test_sums_and_bins_by_hand() -> None:
    played = [
        campaign(0, entry(1, [0.2, 0.8], [0, 1]), entry(4, [0.25, 0.25, 0.85, 0.85], [0, 1, 1, 1])),
        campaign(1, entry(1, [0.3, 0.9], [0, 0]), entry(4, [0.25, 0.85], [0, 0])),
    ]
    found = promises(played)
    assert [row["number"] for row in found["by_round"]] == [1, 4]
    settled = found["settled"]
    assert (settled["n"], settled["found"], settled["campaigns"]) == (6, 3, 2)
    assert settled["expected"] == pytest.approx(3.3)
    assert settled["ratio"] == pytest.approx(3 / 3.3, abs=1e-6)
    # Two campaigns found 3 of 2.2 and 0 of 1.1 promised: away by 1 and -1.
    half = 12.7062 * np.sqrt(2 * (1 + 1)) / 3.3
    assert settled["ratio_high"] == pytest.approx(3 / 3.3 + half, rel=1e-4)
    assert settled["ratio_low"] == 0
    low, high = settled["bins"]
    assert (low["low"], low["n"], low["p"], low["share"]) == (0.2, 3, 0.25, pytest.approx(1 / 3))
    assert (high["low"], high["n"], high["share"]) == (0.8, 3, pytest.approx(2 / 3))
    assert high["campaign_high"] == 1.0
    first = promised_and_found(played, lambda number: number == 1)
    assert first["ratio"] == pytest.approx(1 / 2.2, abs=1e-6)
    one = promised_and_found(played[:1])
    assert (one["ratio_low"], one["bins"][0]["campaign_high"]) == (None, None)


def test_the_interval_over_campaigns_covers_when_blocks_err_together() -> None:
    """Honest on average, but each campaign is lucky or not: the exact interval is too narrow."""
    random, runs = np.random.default_rng(0), 200
    covered = {"share": 0, "campaign": 0}
    for _ in range(runs):
        played = []
        for seed in range(8):
            truth = random.beta(4, 6)
            played.append(campaign(seed, entry(5, [0.45] * 60, (random.random(60) < truth) * 1)))
        (row,) = promised_and_found(played)["bins"]
        for key in covered:
            covered[key] += row[f"{key}_low"] <= 0.4 <= row[f"{key}_high"]
    # Standard error of a coverage of 0.95 over 200 runs: 0.015.
    assert 0.90 <= covered["campaign"] / runs <= 0.99
    assert covered["share"] / runs < 0.75


def test_chance_and_first_rounds_promise_nothing() -> None:
    played = [campaign(0, entry(1, [0.5], [1], None), entry(5, [0.5], [1]))]
    assert promised_and_found(played)["n"] == 1
    nothing = promised_and_found(played, lambda number: number > 9)
    assert (nothing["n"], nothing["ratio"], nothing["bins"]) == (0, None, [])


@pytest.mark.slow
def test_reports_are_put_together(tmp_path: Path) -> None:
    study = ReplayStudy(
        sources=(SimulationSource(8, 3, "bliss_mean", doses=2),),
        strategies=choose_strategies("plain_gp", "greedy", "random", 1.0),
        batch=Amount(count=8),
        initial=Amount(count=12),
        rounds=5,
        seeds=2,
    )
    report = run_replays(study, tmp_path)
    found = campaigns_by_strategy([report])
    assert list(found) == ["plain_gp+greedy"]
    settled = promises(found["plain_gp+greedy"])["settled"]
    whole = report["strategies"]["plain_gp+greedy"]["summary"]["calibration"]["settled"]
    assert {key: settled[key] for key in ("n", "expected", "found")} == {
        key: whole[key] for key in ("n", "expected", "found")
    }
    assert [row["share"] for row in settled["bins"]] == [row["share"] for row in whole["bins"]]
    with pytest.raises(ScreenError, match="seed 0 is in two reports"):
        campaigns_by_strategy([report, report])
    broken: dict[str, Any] = {"strategies": []}
    with pytest.raises(ScreenError, match="no report of replayed campaigns"):
        campaigns_by_strategy([broken])
