"""What judges plates is loaded while nobody waits, and what fails says so."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.assays.uploads.warming import JUDGING, warm_up


def test_the_start_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns while the module still waits for a sign that only comes afterwards."""
    gate = threading.Event()
    monkeypatch.setattr(threading, "the_gate_of_this_test", gate, raising=False)
    (tmp_path / "slow_warm_up.py").write_text(
        "import threading\nassert threading.the_gate_of_this_test.wait(60)\nready = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    thread = warm_up("slow_warm_up")
    assert thread.daemon
    assert thread.is_alive()
    gate.set()
    thread.join(60)
    assert sys.modules["slow_warm_up"].ready


def test_in_a_fresh_process_what_judges_plates_is_loaded() -> None:
    code = f"""
import sys
from service.assays.uploads.warming import warm_up
assert "scipy" not in sys.modules and "numpy" not in sys.modules
warm_up().join(120)
assert "scipy.stats" in sys.modules and hasattr(sys.modules[{JUDGING!r}], "judge")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=180)


def test_a_module_that_fails_is_logged_and_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_warm_up.py").write_text("raise RuntimeError('no SciPy today')")
    monkeypatch.syspath_prepend(tmp_path)
    with capture_logs() as logs:
        warm_up("broken_warm_up").join(30)
    (entry,) = logs
    assert (entry["log_level"], entry["event"]) == ("error", "warm-up failed")
    assert entry["module"] == "broken_warm_up"
    assert entry["exc_info"]
    with pytest.raises(RuntimeError, match="no SciPy today"):
        __import__("broken_warm_up")


def test_serving_warms_up() -> None:
    """The command line calls it before it listens: the first file is not to pay for it."""
    from service import cli

    source = Path(cli.__file__).read_text()
    serve = source.split("def serve(")[1].split("@app.command()")[0]
    assert serve.index("warm_up()") < serve.index("uvicorn.run(")
