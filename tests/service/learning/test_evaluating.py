"""``nextround evaluate``: tables, files, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.evaluation import running
from models.screen import Stopped
from service.cli import app
from tests.models.evaluation.small_folder import write_folder
from tests.models.synergy.ridge import Ridge


@dataclass
class Interrupted(Ridge):
    """Somebody presses Ctrl-C while it is fitted."""

    def fit(self, training: Any, *, should_stop: Any, **options: Any) -> Any:
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
        "blind": Ridge("blind", 0.05),
        "bad": Ridge("bad", fails=True),
        "interrupted": Interrupted("interrupted"),
    }
    monkeypatch.setattr(running, "MODELS", known)
    monkeypatch.setenv("COLUMNS", "140")
    return known


def run(data: Path, out: Path, *more: str) -> Any:
    arguments = ["evaluate", "--data", str(data), "--json", str(out), "--folds", "3", *more]
    return CliRunner().invoke(app, arguments)


def test_all_models_stand_in_one_table(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    done = run(data, out, "--model", "ridge,blind", "--split", "cell-line", "--seed", "2")
    assert done.exit_code == 0, done.output
    for row in ("mean", "additive", "ridge", "blind"):
        assert f"\n  {row} " in done.output
    assert "[6/6] blind, fold 2" in done.output
    assert "bliss_mean, cell-line split: gain over additive, paired over folds" in done.output
    assert "3/3" in done.output or "0/3" in done.output
    report = json.loads(out.read_text())
    assert report["study"]["split"] == "cell-line"
    assert report["study"]["seed"] == 2
    assert len(list((tmp_path / "new" / "out.json.folds").iterdir())) == 3 * 3


def test_finished_folds_are_reused(data: Path, tmp_path: Path, models: dict[str, Ridge]) -> None:
    out = tmp_path / "out.json"
    options = ("--model", "ridge", "--split", "pair", "--train-limit", "40")
    assert run(data, out, *options, "--only-folds", "1").exit_code == 0
    done = run(data, out, *options)
    assert len(models["ridge"].fits) == 3
    assert {rows for rows, *_ in models["ridge"].fits} == {40}
    assert done.output.count(", reused\n") == 1
    assert len(json.loads(out.read_text())["models"]["ridge"]["folds"]) == 3


def test_one_fold_has_no_paired_test(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "out.json", "--model", "ridge", "--only-folds", "0")
    assert done.exit_code == 0
    assert "gain over" not in done.output


def test_viability_stands_beside_bliss(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "out.json", "--model", "ridge", "--score", "viability")
    assert done.exit_code == 0, done.output
    assert "\n  bliss " in done.output
    assert "gain over bliss" in done.output


def test_a_control_is_named_and_never_taken_for_the_real_thing(data: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out.json", ("--model", "ridge", "--split", "random")
    run(data, out, *options)
    honest = json.loads(out.read_text())["models"]["ridge"]["summary"]["scores"]
    done = run(data, out, *options, "--permuted-labels")
    assert "reused" not in done.output
    assert "control: permuted labels" in done.output
    broken = json.loads(out.read_text())["models"]["ridge"]["summary"]["scores"]
    assert broken != honest
    assert abs(broken["pearson"]) < 0.3
    run(data, out, *options, "--shuffled-features")
    same = json.loads(out.read_text())["models"]["ridge"]["summary"]["scores"]
    assert same == honest  # this model looks at identities only


def test_a_model_that_cannot_be_fitted_is_told_apart(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "out.json", "--model", "all", "--only-folds", "0,1")
    assert done.exit_code == 130  # the last of all models is interrupted
    done = run(data, tmp_path / "out.json", "--model", "bad,ridge", "--only-folds", "0,1")
    assert done.exit_code == 1
    assert "bad could not be evaluated: this model never fits" in done.output
    assert json.loads((tmp_path / "out.json").read_text())["failed"] == {
        "bad": "this model never fits"
    }


def test_ctrl_c_keeps_what_is_finished(data: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out.json", signal.getsignal(signal.SIGINT)
    done = run(data, out, "--model", "ridge,interrupted")
    assert done.exit_code == 130
    assert "the same command goes on" in done.output
    assert not out.exists()
    names = sorted(path.name.split("-")[0] for path in Path(f"{out}.folds").iterdir())
    assert names == ["baselines", "ridge"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "oracle"), "known are all, ridge"),
        (("--model", "ridge", "--split", "scaffold"), "known are random, pair"),
        (("--model", "ridge", "--score", "loewe"), "viability"),
        (("--model", "ridge", "--only-folds", "7"), "0 to 2"),
        (("--model", "ridge", "--data", "/nowhere"), "compounds.csv is missing"),
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
