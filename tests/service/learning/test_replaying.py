"""``nextround replay``: tables, files, picture, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.screen import Stopped
from models.synergy import registry
from service.cli import app
from tests.models.evaluation.small_folder import write_folder
from tests.models.synergy.ridge import Ridge


@dataclass
class Interrupted(Ridge):
    """Somebody presses Ctrl-C while it is fitted for the second time."""

    def fit(self, training: Any, *, should_stop: Any, **options: Any) -> Any:
        if self.fits:
            os.kill(os.getpid(), signal.SIGINT)
        if should_stop():
            raise Stopped
        return super().fit(training, should_stop=should_stop, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("screen"))


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Ridge]:
    known = {
        "ridge": Ridge(),
        "bad": Ridge("bad", fails=True),
        "interrupted": Interrupted("interrupted"),
        "plain_networks": Ridge("plain_networks"),
    }
    monkeypatch.setattr(registry, "MODELS", known | {"bnn_gaussian": Ridge()})
    monkeypatch.setenv("COLUMNS", "170")
    return known


def run(data: Path, out: Path, *more: str) -> Any:
    fixed = ("--batch", "10%", "--init", "20", "--rounds", "4", "--seeds", "2", "--jobs", "1")
    arguments = ["replay", "--data", str(data), "--json", str(out), *fixed, *more]
    return CliRunner().invoke(app, arguments)


def test_strategies_stand_side_by_side(data: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "new" / "out.json", tmp_path / "new" / "out.png"
    done = run(
        data,
        out,
        *("--model", "ridge", "--acquisition", "ucb", "--strategy", "random,one_hot_halves"),
        *("--threshold", "top 10%", "--plot", str(plot)),
    )
    assert done.exit_code == 0, done.output
    for name in ("ridge+ucb", "random", "one_hot_halves"):
        assert f"\n  {name} " in done.output
    assert "6 campaign(s) of 4 rounds, 1 at a time" in done.output
    assert "[6/6] one_hot_halves, all lines, seed 1: " in done.output
    assert "share of the top 1 % found, 95 % interval" in done.output
    assert "ridge+ucb minus the others" in done.output
    report = json.loads(out.read_text())
    assert report["study"]["threshold"] == {"score": None, "share": 0.1}
    assert report["strategies"]["random"]["summary"]["measured"] == [20, 34, 48, 62, 76]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new" / "out.json.rounds").iterdir())) == 6 * 4


def test_finished_rounds_are_reused(data: Path, tmp_path: Path, models: dict[str, Ridge]) -> None:
    out = tmp_path / "out.json"
    assert run(data, out, "--model", "ridge").exit_code == 0
    fits = len(models["ridge"].fits)
    assert run(data, out, "--model", "ridge", "--rounds", "3").exit_code == 0
    assert len(models["ridge"].fits) == fits
    assert run(data, out, "--model", "ridge", "--kappa", "1", "--seeds", "3").exit_code == 0
    assert len(models["ridge"].fits) == fits + fits // 2


def test_each_line_is_a_campaign(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options = ("--strategy", "random", "--lines", "3", "--init", "5", "--batch", "5")
    done = run(data, out, *options, "--seeds", "1", "--rounds", "2")
    assert done.exit_code == 0, done.output
    assert "bliss_mean, 3 lines apart, 1 seed(s)" in done.output
    summary = json.loads(out.read_text())["strategies"]["random"]["summary"]
    assert (summary["n_units"], summary["measured"]) == (3, [5, 10, 15])


def test_plates_cost_what_they_cost(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = run(data, out, "--model", "ridge", "--plates", "free,7x6x1", "--seeds", "1")
    assert done.exit_code == 0, done.output
    strategies = json.loads(out.read_text())["strategies"]
    on_plates = strategies["ridge+hit_probability on 7x6x1"]["campaigns"][0]["rounds"]
    assert next(iter(strategies)) == "ridge+hit_probability"
    assert all(r["distinct"]["cell_lines"] <= 2 for r in on_plates[1:])


def test_a_model_that_cannot_be_fitted_is_told_apart(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "out.json", "--model", "bad", "--strategy", "random")
    assert done.exit_code == 1
    assert "bad+hit_probability, all lines, seed 0 could not be played: this model" in done.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert (len(report["failed"]), list(report["strategies"])) == (2, ["random"])
    alone = run(data, tmp_path / "x.json", "--model", "bad", "--plot", str(tmp_path / "x.png"))
    assert alone.exit_code == 1
    assert not (tmp_path / "x.png").exists()


def test_ctrl_c_keeps_what_is_finished(data: Path, tmp_path: Path, models: Any) -> None:
    out, before = tmp_path / "out.json", signal.getsignal(signal.SIGINT)
    done = run(data, out, "--model", "interrupted", "--strategy", "random")
    assert done.exit_code == 130
    assert "the same command goes on" in done.output
    assert not out.exists()
    assert signal.getsignal(signal.SIGINT) is before
    models["interrupted"].fits.clear()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "oracle"), "strategy oracle+hit_probability: unknown model 'oracle'"),
        (("--acquisition", "magic", "--model", "ridge"), "unknown acquisition 'magic'"),
        (("--strategy", "deepsynergy"), "known are recover, batchie, one_hot_halves, one_hot_"),
        (("--strategy", "random", "--score", "loewe"), "unknown score"),
        (("--strategy", "random", "--batch", "2.5"), "share of 2.5"),
        (("--strategy", "random", "--threshold", "many"), "no threshold"),
        (("--strategy", "random", "--lines", "99"), "the screen has 5 cell lines"),
        (("--strategy", "random", "--plates", "24"), "no plate"),
        (("--strategy", "random", "--data", "/nowhere"), "compounds.csv is missing"),
    ],
)
def test_a_wrong_request_is_explained(
    data: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = run(data, tmp_path / "out.json", *options)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_the_picture_is_loaded_only_when_it_is_drawn() -> None:
    """The API, a worker and a replay without a picture never load matplotlib."""
    code = (
        "import sys, service.app, service.cli, service.learning.replaying, "
        "service.learning.replay_plot; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
