"""One live worker per name and per graphics card; jobs of the dead come back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from service.kit.database import utcnow
from service.kit.devices import Device
from service.kit.jobs import LeaseHeld, WorkerLease, lease_repository, leases, live_workers, process

CPU = Device("cpu", "asked for")
CARD = Device("cuda:0", "asked for", "GPU-1")


def acquire(database, name, device=CPU):
    return leases.acquire(database, name, device, ["cpu"], "1", 30.0)


def set_row(database, name, **values):
    with database.writing() as session:
        session.execute(update(WorkerLease).where(WorkerLease.name == name).values(**values))


def test_live_lease_is_refused_with_a_name_and_a_way_out(database):
    acquire(database, "a")
    with pytest.raises(LeaseHeld) as caught:
        acquire(database, "a")
    message = str(caught.value)
    assert f"process {os.getpid()}" in message
    assert process.host_name() in message
    assert "--name" in message


def test_same_card_is_refused_under_any_name_and_number(database):
    acquire(database, "a", CARD)
    with pytest.raises(LeaseHeld, match=r"device cuda:1 is taken.*--device"):
        acquire(database, "b", Device("cuda:1", "numbered differently", "GPU-1"))
    acquire(database, "c", Device("cuda:0", "another card", "GPU-2"))
    acquire(database, "d")


def test_only_one_of_many_gets_a_card(database):
    outcomes: list[str] = []
    gate = threading.Barrier(4)

    def start(name: str) -> None:
        gate.wait()
        try:
            outcomes.append(acquire(database, name, CARD).name)
        except LeaseHeld:
            outcomes.append("refused")

    threads = [threading.Thread(target=start, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:3] == ["refused"] * 3


def test_expired_lease_is_replaced_and_its_old_owner_learns_it(database):
    old = acquire(database, "a", CARD)
    set_row(database, "a", expires_at=utcnow() - timedelta(seconds=1), process="elsewhere")
    new = acquire(database, "a", CARD)
    with database.writing() as session:
        assert not lease_repository.renew(session, "a", old.token, 30.0, None)
        assert lease_repository.renew(session, "a", new.token, 30.0, "job_1")
        assert not lease_repository.is_held(session, "a", old.token)
    with database.reading() as session:
        (row,) = live_workers(session)
    assert (row.current_job, row.device, row.device_reason) == ("job_1", "cuda:0", "asked for")


def test_lease_of_a_process_that_died_here_is_free_at_once(database):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process.identify(child.pid)
    acquire(database, "a")
    set_row(database, "a", process=identity)
    with pytest.raises(LeaseHeld):
        acquire(database, "a")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended, and stays a zombie
    acquire(database, "a")  # not even waited for: a zombie process counts as dead
    child.communicate()


def test_processes_of_other_machines_and_containers_are_never_called_dead():
    boot, namespace, pid, started = process.identify().split(" ")
    assert process.is_certainly_dead(f"{boot} {namespace} {pid} 1")  # the number was reused
    assert not process.is_certainly_dead(f"{boot} {namespace} {pid} {started}")
    assert not process.is_certainly_dead(f"other-boot {namespace} 999999999 1")
    assert not process.is_certainly_dead(f"{boot} pid:[1] 999999999 1")
    assert not process.is_certainly_dead("unknown")


def test_a_worker_waits_for_a_reaper_that_holds_its_name(database):
    lease = leases.claim_dead(database, "a", 30.0)
    assert leases.claim_dead(database, "a", 30.0) is None
    timer = threading.Timer(0.5, leases.release, (database, lease))
    timer.start()
    acquire(database, "a")
    timer.join()


def test_a_name_under_reaping_is_not_a_live_worker(database):
    leases.claim_dead(database, "a", 30.0)
    with database.reading() as session:
        assert live_workers(session) == []


def test_keeper_renews_and_reports_a_loss_once(database):
    lost = threading.Event()
    lease = leases.acquire(database, "a", CPU, ["cpu"], "1", 1.0)
    keeper = leases.LeaseKeeper(database, lease, 0.3, lambda: None, lost.set)
    keeper.start()
    assert not lost.wait(1.0)
    set_row(database, "a", token="somebody else")
    assert lost.wait(20.0)
    keeper.stop()


def test_expiry_is_judged_by_the_database_clock(database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no clock of its own: all workers share this machine's")
    with database.reading() as session:
        stored = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        assert abs(lease_repository.now(session) - stored) < timedelta(seconds=5)
