"""The rows that go into RESULTS.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.replay import PEERS, SETTINGS, calibration, markdown
from models.evaluation.past_campaign import SimulationSource
from models.evaluation.peer_rules import find_peer
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


def test_the_peers_exist() -> None:
    assert all(find_peer(name).name == name for name in PEERS.split(","))


def test_calibration_is_printed_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = ReplayStudy(
        sources=(SimulationSource(8, 3, "bliss_mean", doses=2),),
        strategies=choose_strategies("plain_gp", "greedy", "random", 1.0),
        batch=Amount(count=8),
        initial=Amount(count=12),
        rounds=5,
        seeds=1,
    )
    report = run_replays(study, tmp_path)
    path, plot = tmp_path / "report.json", tmp_path / "plots" / "calibration.png"
    path.write_text(json.dumps(report))
    calibration([path], plot)
    said = capsys.readouterr().out
    assert "plain_gp+greedy: hits promised and found, by round" in said
    assert "plain_gp+greedy: all rounds after the third, by probability" in said
    assert "random" not in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="cannot be read"):
        calibration([tmp_path / "none.json"], plot)
    with pytest.raises(SystemExit, match="in two reports"):
        calibration([path, path], plot)
    del report["strategies"]["plain_gp+greedy"]
    path.write_text(json.dumps(report))
    with pytest.raises(SystemExit, match="chosen by a model"):
        calibration([path], plot)
