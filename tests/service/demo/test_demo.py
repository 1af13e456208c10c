"""The whole demo: options, then a real service in a real child process, from start to stop."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.demo.console import Show
from service.demo.labs import DemoError
from service.demo.plan import DemoOptions, Plan
from service.demo.run import run_demo
from service.demo.simulated import SimulatedLab

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _width_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are as long as in a log, whatever ``COLUMNS`` the tests were started with."""
    monkeypatch.delenv("COLUMNS", raising=False)


def tiny_lab(options: DemoOptions) -> SimulatedLab:
    return SimulatedLab(n_compounds=8, n_cell_lines=3, n_doses=3, seed=options.plan.seed)


def play(options: DemoOptions) -> tuple[int, str]:
    stream = io.StringIO()
    code = run_demo(options, Show(stream), tiny_lab)
    return code, stream.getvalue()


def test_the_plan_begins_with_two_batches_or_one_in_a_hundred_and_never_above_a_quarter() -> None:
    plan = Plan()
    assert [plan.n_initial(n) for n in (84, 1000, 7560, 40_000)] == [21, 192, 192, 400]
    assert plan.max_per_compound == 32
    assert Plan(batch=1).max_per_compound == 2


def test_a_plan_larger_than_the_lab_is_refused_with_numbers() -> None:
    with pytest.raises(DemoError, match=r"321 blocks; this lab has 132\. Ask for fewer"):
        Plan(rounds=3, batch=96).check(132)
    code, text = play(DemoOptions(plan=Plan(rounds=3, batch=96)))
    assert code == 1
    assert "3 rounds of 96 blocks and the 21 to begin with are 309 blocks" in text
    assert "starting" not in text


def test_a_folder_of_somebody_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    code, text = play(DemoOptions(data_dir=tmp_path, keep=False))
    assert code == 1
    assert "with --no-keep the demo would delete it" in text
    assert (tmp_path / "precious").exists()


def test_the_folder_is_kept_when_it_was_named(tmp_path: Path) -> None:
    assert not DemoOptions().keeps
    assert DemoOptions(data_dir=tmp_path).keeps
    assert DemoOptions(keep=True).keeps
    assert not DemoOptions(data_dir=tmp_path, keep=False).keeps


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_campaign_from_start_to_stop_and_another_in_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    code, text = play(DemoOptions(plan=Plan(rounds=2, batch=8, seed=1), data_dir=folder))
    assert code == 0, text
    assert "\x1b" not in text
    for expected in (
        "8 compounds x 3 cell lines = 84 possible blocks of 3 x 3 doses",
        "8 compounds registered with their structures",
        "3 cell lines registered, 24 features each",
        "16 random blocks measured and submitted, 144 wells",
        "Round 2 of 2",
        "Compounds + cell line ",
        "service stopped",
        f"nextround serve --data-dir {folder}",
    ):
        assert expected in text
    # The cap on uses of one of only eight compounds may leave a batch one short, for a reason.
    words = " ".join(text.split())
    batches = re.findall(
        r"batch of (\d) accepted and in the lab( \(1 fewer than asked for: )?", words
    )
    measured = re.findall(r"(\d) blocks measured, (\d+) wells submitted, batch done", words)
    sizes = [int(size) for size, _ in batches]
    assert len(sizes) == 2
    assert "8" in {size for size, _ in batches}
    assert all(
        size == 8 or (size == 7 and short) for size, (_, short) in zip(sizes, batches, strict=True)
    )
    assert measured == [(str(size), str(9 * size)) for size in sizes]
    assert f"The rounds measured {sum(sizes)} of 68 blocks" in words
    assert (folder / "nextround.db").exists()
    code, text = play(DemoOptions(plan=Plan(rounds=1, batch=6, seed=1), data_dir=folder))
    assert code == 0, text
    assert "(8 were known)" in text
    assert "batch of 6 accepted" in text


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        demo = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "demo", "--data-dir", str(tmp_path / "demo")],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # A shell that runs the tests in the background has SIGINT ignored, and we inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        _wait_for(log, "single-agent wells submitted", demo)
        demo.send_signal(number)
        assert demo.wait(90) == 130
    finally:
        demo.kill()
        demo.wait()
    assert "Interrupted. The service was stopped." in log.read_text()
    assert "Traceback" not in log.read_text()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running


def _wait_for(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 150
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
