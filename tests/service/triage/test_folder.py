"""``nextround triage``: a card of a folder, on the terminal, as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import app
from tests.models.evaluation.small_folder import write_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("screen"))


def run(data: Path, out: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["triage", "--data", str(data), "--json", str(out), *more])


def test_a_card_is_printed_and_written(data: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "card.json", tmp_path / "card.html"
    done = run(data, out, "--threshold", "1", "--html", str(page))
    assert done.exit_code == 0, done.output
    assert "Add up the points" in done.output
    found = json.loads(out.read_text())
    assert found["report"]["n_hits"] > 0
    assert found["card"]["format"] == "nextround-scorecard/1"
    assert page.read_text().startswith("<!DOCTYPE html>")
    again = tmp_path / "again.json"
    run(data, again, "--threshold", "1")
    assert again.read_text() == out.read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--threshold", "99"], "lower the threshold"), (["--score", "no_such"], "no_such")],
)
def test_what_cannot_be_learned_is_said(
    data: Path, tmp_path: Path, more: list[str], words: str
) -> None:
    done = run(data, tmp_path / "card.json", *more)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (tmp_path / "card.json").exists()
