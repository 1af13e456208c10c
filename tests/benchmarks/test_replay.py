"""The rows that go into RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.replay import SETTINGS, markdown
from models.evaluation.past_campaign import SimulationSource
from models.evaluation.replay_running import run_replays
from models.evaluation.replay_study import Amount, ReplayStudy, choose_strategies, on_plates


def test_a_row_for_each_strategy_and_a_line_for_each_test(tmp_path: Path) -> None:
    study = ReplayStudy(
        sources=(SimulationSource(8, 2, "bliss_mean", doses=2),),
        strategies=on_plates(choose_strategies(None, None, "random", 1.0), "free,5x5x1"),
        batch=Amount(count=5),
        initial=Amount(count=2),
        rounds=2,
        seeds=2,
    )
    lines = markdown(run_replays(study, tmp_path))
    assert len(lines) == 2 + 2 + 1
    assert lines[2].startswith("| random | ")
    assert lines[3].startswith("| random on 5x5x1 | ")
    assert lines[4].startswith("random minus random on 5x5x1, area: ")
    assert {line.count("|") for line in lines[:4]} == {8}


def test_the_bars_are_those_of_the_protocols() -> None:
    assert SETTINGS["oneil"].rounds == SETTINGS["plates"].rounds == 9
    lines = SETTINGS["lines"]
    assert (lines.initial, lines.batch, lines.rounds, lines.lines) == ("30", "30", 20, "10")
