"""Whole studies: the same in one process and in two, stopped and gone on, failures told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.evaluation.past_campaign import SimulationSource
from models.evaluation.replay_running import ReplayWatcher, RoundNews, run_replays
from models.evaluation.replay_study import Amount, ReplayStudy, ReplayTask, Threshold
from models.evaluation.strategies import RANDOM, Strategy
from models.screen import ScreenError, Stopped
from models.synergy import registry
from tests.models.synergy.ridge import Ridge

RIDGE = Strategy("ours", "ridge", "hit_probability")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Ridge]:
    known = {"ridge": Ridge(), "bad": Ridge("bad", fails=True)}
    monkeypatch.setattr(registry, "MODELS", known | {"bnn_gaussian": Ridge()})
    return known


def study(*strategies: Strategy, rounds: int = 3, seeds: int = 2) -> ReplayStudy:
    return ReplayStudy(
        sources=(SimulationSource(8, 2, "bliss_mean", doses=2),),
        strategies=strategies,
        batch=Amount(count=6),
        initial=Amount(count=12),
        rounds=rounds,
        seeds=seeds,
        threshold=Threshold(share=0.1),
    )


class Heard:
    """A watcher that remembers, and stops after so many fresh rounds."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.rounds: list[tuple[str, RoundNews]] = []
        self.finished: list[str] = []
        self._stop_after = stop_after

    def watcher(self) -> ReplayWatcher:
        def over(task: ReplayTask, news: RoundNews) -> None:
            self.rounds.append((task.name, news))

        stop: Callable[[], bool] = lambda: self.fresh >= self._stop_after  # noqa: E731
        return ReplayWatcher(
            round=over, finished=lambda task, _: self.finished.append(task.name), should_stop=stop
        )

    @property
    def fresh(self) -> int:
        return sum(news.number > 0 and not news.reused for _, news in self.rounds)


def without_seconds(report: dict[str, Any]) -> str:
    for entry in report["strategies"].values():
        entry["summary"].pop("seconds")
        for campaign in entry["campaigns"]:
            for played in campaign["rounds"]:
                del played["wall"], played["cpu"]
    return json.dumps(report, allow_nan=False)


def test_a_study_is_played_and_reported(tmp_path: Path, models: dict[str, Ridge]) -> None:
    heard = Heard()
    report = run_replays(study(RIDGE, RANDOM), tmp_path, watcher=heard.watcher())
    assert list(report["strategies"]) == ["ours", "random"]
    assert report["failed"] == {}
    assert (len(heard.finished), heard.fresh) == (4, 12)
    ours = report["strategies"]["ours"]
    assert ours["definition"]["acquisition"] == "hit_probability"
    assert ours["summary"]["measured"] == [12, 18, 24, 30]
    assert ours["summary"]["n_units"] == 2
    assert set(ours["against"]) == {"random"}
    for one, other in zip(
        ours["campaigns"], report["strategies"]["random"]["campaigns"], strict=True
    ):
        assert one["rounds"][0] == other["rounds"][0]
    assert len(list(tmp_path.iterdir())) == 12
    json.dumps(report, allow_nan=False)


def test_what_was_stopped_goes_on(tmp_path: Path, models: dict[str, Ridge]) -> None:
    asked = study(RIDGE, RANDOM)
    whole = run_replays(asked, tmp_path / "whole")
    fits = len(models["ridge"].fits)
    first, second = Heard(stop_after=4), Heard()
    with pytest.raises(Stopped):
        run_replays(asked, tmp_path / "parts", watcher=first.watcher())
    report = run_replays(asked, tmp_path / "parts", watcher=second.watcher())
    assert first.fresh + second.fresh == 12
    assert len(models["ridge"].fits) == 2 * fits
    assert without_seconds(report) == without_seconds(whole)
    longer = Heard()
    run_replays(
        study(RIDGE, RANDOM, rounds=4, seeds=1), tmp_path / "parts", watcher=longer.watcher()
    )
    assert longer.fresh == 2


def test_a_campaign_that_fails_leaves_the_others(tmp_path: Path, models: dict[str, Ridge]) -> None:
    broken = Strategy("broken", "bad", "ucb")
    report = run_replays(study(broken, RANDOM, seeds=1), tmp_path)
    assert list(report["strategies"]) == ["random"]
    (name,) = report["failed"]
    assert name.startswith("broken, simulated")
    assert report["failed"][name] == "this model never fits"


def test_too_large_a_start_is_said_once(tmp_path: Path) -> None:
    big = ReplayStudy(
        study(RANDOM).sources, (RANDOM,), Amount(count=6), Amount(count=99), rounds=1, seeds=1
    )
    (reason,) = run_replays(big, tmp_path)["failed"].values()
    assert reason == "cannot start from 99 of 56 blocks"
    with pytest.raises(ScreenError, match="0 jobs"):
        run_replays(big, tmp_path, jobs=0)


@pytest.mark.slow
def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    asked = study(RANDOM, rounds=2, seeds=2)
    heard, stopping = Heard(), Heard(stop_after=1)
    alone = run_replays(asked, tmp_path / "alone")
    with pytest.raises(Stopped):
        run_replays(asked, tmp_path / "apart", jobs=2, watcher=stopping.watcher())
    apart = run_replays(asked, tmp_path / "apart", jobs=2, watcher=heard.watcher())
    assert without_seconds(alone) == without_seconds(apart)
    assert sorted(heard.finished) == sorted(task.name for task in asked.tasks())
    assert heard.fresh < 4
    assert sorted(p.name for p in (tmp_path / "alone").iterdir()) == sorted(
        p.name for p in (tmp_path / "apart").iterdir()
    )


@pytest.mark.slow
def test_a_known_world_is_learned_and_promises_are_kept(tmp_path: Path) -> None:
    """A simulated screen through the real process: more found than by chance, honest forecasts."""
    ours = Strategy("ours", "gp_pairs", "hit_probability")
    asked = ReplayStudy(
        sources=(SimulationSource(16, 3, "bliss_mean", doses=3),),
        strategies=(ours, RANDOM),
        batch=Amount(count=18),
        initial=Amount(count=54),
        rounds=4,
        seeds=2,
        threshold=Threshold(share=0.1),
    )
    report = run_replays(asked, tmp_path)
    found = [report["strategies"][name]["summary"]["curves"] for name in ("ours", "random")]
    last = [curves["hits"][-1]["mean"] for curves in found]
    assert last[0] > 1.25 * last[1]
    covered = report["strategies"]["ours"]["summary"]["coverage"]["all"]
    assert 0.65 < covered["90"] <= 1.0
    assert np.isfinite(report["strategies"]["ours"]["summary"]["curves"]["log_density"][1]["mean"])
