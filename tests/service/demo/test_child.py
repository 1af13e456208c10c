"""The service as a child: every way to fail is told in words, and nothing is left running."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from service.demo import child
from service.demo.child import ServiceChild
from service.demo.labs import DemoError

Impostor = Callable[[str], None]


@pytest.fixture
def impostor(monkeypatch: pytest.MonkeyPatch) -> Impostor:
    """Runs some Python in place of ``nextround``; its arguments follow."""

    def use(program: str) -> None:
        def command(arguments: Sequence[str]) -> list[str]:
            return [sys.executable, "-c", program, *arguments]

        monkeypatch.setattr(child, "_nextround", command)

    return use


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=rf"Port {port} cannot be used \(.*in use\)"):
            ServiceChild(tmp_path, port)


def test_a_free_port_is_found(tmp_path: Path) -> None:
    service = ServiceChild(tmp_path)
    assert 1024 <= service.port < 65_536
    assert service.url == f"http://127.0.0.1:{service.port}"


def test_a_service_that_ends_at_once_shows_the_end_of_its_log(
    tmp_path: Path, impostor: Impostor
) -> None:
    impostor("import sys; print('\\n'.join(map(str, range(50)))); sys.exit('no such database')")
    with pytest.raises(DemoError) as caught, ServiceChild(tmp_path / "new"):
        pass
    text = str(caught.value)
    assert text.startswith("The service ended while it started.")
    assert "no such database" in text
    assert "  49\n" in text
    assert "  10\n" not in text


def test_a_service_that_never_becomes_ready_is_stopped(
    tmp_path: Path, impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_READY_WITHIN_S", 1.0)
    impostor(
        f"import time, os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
        " time.sleep(60)"
    )
    with pytest.raises(DemoError, match=r"not ready after 1 s: it does not answer"):
        ServiceChild(tmp_path).__enter__()
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_service_that_does_not_stop_is_killed_with_all_its_children(
    tmp_path: Path, impostor: Impostor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_STOPS_WITHIN_S", 0.5)
    pids = tmp_path / "pids"
    impostor(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "other = os.fork()\n"
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        "time.sleep(60)\n"
    )
    service = ServiceChild(tmp_path)
    service._start()
    deadline = time.monotonic() + 20
    while len(pids.read_text().split() if pids.exists() else []) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.stop()
    service.stop()  # once more does no harm
    assert service.pid is None
    parent, other = sorted(int(pid) for pid in pids.read_text().split())
    assert not is_running(parent)
    while _is_alive(other):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    """Running, and not a zombie that only waits for a parent that does not collect it."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_the_log_is_for_its_owner_only(tmp_path: Path, impostor: Impostor) -> None:
    impostor("")
    with pytest.raises(DemoError), ServiceChild(tmp_path):
        pass
    assert stat.S_IMODE((tmp_path / child.LOG_NAME).stat().st_mode) == 0o600


def test_settings_of_a_real_installation_do_not_reach_the_demo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTROUND_DATABASE_URL", "postgresql://production")
    monkeypatch.setenv("NEXTROUND_ARTIFACTS_URL", "/precious")
    monkeypatch.setenv("NEXTROUND_DEVICE", "cpu")
    environment = child._environment()
    assert [name for name in environment if name.startswith("NEXTROUND_")] == ["NEXTROUND_DEVICE"]
    assert environment["PATH"] == os.environ["PATH"]


def test_a_key_that_cannot_be_made_says_why(tmp_path: Path, impostor: Impostor) -> None:
    impostor("import sys; sys.exit('nextround: there is no workspace')")
    with pytest.raises(DemoError, match="no key could be made: nextround: there is no workspace"):
        ServiceChild(tmp_path).create_key()


def test_a_key_may_do_what_the_demo_does_and_nothing_more(
    tmp_path: Path, impostor: Impostor
) -> None:
    impostor("import sys; print(' '.join(sys.argv[1:]))")
    command = ServiceChild(tmp_path).create_key().split()
    assert command[:2] == ["keys", "create"]
    assert "admin" not in command
    assert command.count("--scope") == 7
    assert command[-2:] == ["--data-dir", str(tmp_path)]


def test_it_is_asked_to_end_before_it_is_made_to(tmp_path: Path, impostor: Impostor) -> None:
    impostor(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('in good order'))\n"
        f"open({str(tmp_path / 'up')!r}, 'w').close()\n"
        "time.sleep(60)\n"
    )
    service = ServiceChild(tmp_path)
    service._start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    service.stop()
    assert "in good order" in service.log.read_text()
