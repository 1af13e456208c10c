"""The embedded worker is kept alive, and does not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from job_worker import ROOT, until

from service.kit.jobs import Supervisor

pytestmark = [pytest.mark.slow]

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, sys, time; signal.signal(15, signal.SIG_IGN); "
    "open(sys.argv[1], 'w').close(); time.sleep(600)",
]


@pytest.fixture
def supervise():
    supervisors: list[Supervisor] = []

    def start(command: list[str]) -> Supervisor:
        supervisor = Supervisor(command, first_wait_s=0.05)
        supervisors.append(supervisor)
        supervisor.start()
        return supervisor

    yield start
    for supervisor in supervisors:
        supervisor.stop(timeout_s=1.0)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_child_is_replaced(supervise):
    supervisor = supervise(SLEEPER)
    first = until(lambda: supervisor.pid, "a child")
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.pid not in (None, first), "another child")
    assert supervisor.restarts == 1


def test_a_child_that_fails_at_once_is_restarted_ever_more_slowly(supervise, tmp_path):
    record = tmp_path / "starts"
    code = f"import time; open({str(record)!r}, 'a').write(f'{{time.monotonic()}}\\n')"
    supervisor = supervise([sys.executable, "-c", code])
    until(lambda: supervisor.restarts >= 5, "five restarts")
    supervisor.stop()
    starts = [float(line) for line in record.read_text().splitlines()]
    assert starts[4] - starts[3] > 0.05 * 2**3 * 0.9


def test_stop_is_polite_and_final(supervise):
    supervisor = supervise(SLEEPER)
    pid = until(lambda: supervisor.pid, "a child")
    supervisor.stop(timeout_s=30.0)
    assert not is_running(pid)
    assert supervisor.pid is None
    assert supervisor.restarts == 0


def test_stop_kills_a_child_that_does_not_listen(supervise, tmp_path):
    supervisor = supervise([*STUBBORN, str(tmp_path / "up")])
    until((tmp_path / "up").exists, "the child ignores SIGTERM")
    pid = supervisor.pid
    supervisor.stop(timeout_s=0.5)
    assert not is_running(pid)


def test_a_command_that_does_not_exist_is_no_crash(supervise):
    supervisor = supervise(["/nonexistent/nextround"])
    until(lambda: supervisor.restarts >= 2, "two tries")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux only")
def test_the_child_dies_with_its_killed_parent():
    code = (
        "import sys, time\n"
        "from service.kit.jobs.supervisor import Supervisor\n"
        f"supervisor = Supervisor({SLEEPER!r})\n"
        "supervisor.start()\n"
        "while supervisor.pid is None: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "print(supervisor.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    until(lambda: not is_running(child), "the child ended")
