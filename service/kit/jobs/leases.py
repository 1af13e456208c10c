"""The right to work under a name: one live worker per name and per graphics card."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.kit.database import Database
from service.kit.devices import Device
from service.kit.jobs import lease_repository
from service.kit.jobs.errors import LeaseHeld
from service.kit.jobs.process import host_name, identify, is_certainly_dead
from service.kit.jobs.tables import WorkerLease

log = structlog.get_logger(__name__)

_REAPING_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Lease:
    """A name that is ours while its row carries our token."""

    name: str
    token: str


def acquire(
    database: Database, name: str, device: Device, queues: list[str], version: str, lease_s: float
) -> Lease:
    """Take the name and the card, or raise :class:`LeaseHeld` that says who has them.

    The lease of a process that has certainly died on this machine is taken at once; a colleague
    that is collecting a dead worker's jobs is waited for.
    """
    give_up_at = time.monotonic() + _REAPING_PATIENCE_S
    while True:
        lease = Lease(name, secrets.token_hex(16))
        rival = _try_to_take(database, lease, device, queues, version, lease_s)
        if rival is None:
            return lease
        if not rival.reaping or time.monotonic() > give_up_at:
            raise LeaseHeld(_why_held(rival, name, device))
        time.sleep(0.1)


def claim_dead(database: Database, name: str, lease_s: float) -> Lease | None:
    """The right to collect the jobs of worker ``name``, or None while somebody else has it."""
    lease = Lease(name, secrets.token_hex(16))
    nothing = Device("cpu", "collecting the jobs of a dead worker")
    rival = _try_to_take(database, lease, nothing, [], "", lease_s, reaping=True)
    return lease if rival is None else None


def expire_dead_processes(database: Database) -> None:
    """End the leases of processes of this machine that have died: no need to wait for those."""
    with database.reading() as session:
        dead = [row for row in lease_repository.every(session) if is_certainly_dead(row.process)]
    for row in dead:
        with database.writing() as session:
            lease_repository.expire(session, row.name, row.token)


def release(database: Database, lease: Lease) -> None:
    """Give the name up."""
    with database.writing() as session:
        lease_repository.release(session, lease.name, lease.token)


def _try_to_take(
    database: Database,
    lease: Lease,
    device: Device,
    queues: list[str],
    version: str,
    lease_s: float,
    *,
    reaping: bool = False,
) -> WorkerLease | None:
    host = host_name()
    values = {
        "name": lease.name,
        "token": lease.token,
        "host": host,
        "device": device.name,
        "device_key": device.key,
        "device_reason": device.reason,
        "pid": os.getpid(),
        "process": identify(),
        "version": version,
        "queues": queues,
        "reaping": reaping,
    }
    expire_dead_processes(database)
    while True:
        with database.reading() as session:
            rival = lease_repository.find_rival(session, lease.name, host, device.key)
        if rival is not None:
            return rival
        try:
            with database.writing() as session:
                lease_repository.take(session, values, lease_s)
            return None
        except IntegrityError:
            continue  # Somebody was faster: look who it is.


def _why_held(rival: WorkerLease, name: str, device: Device) -> str:
    since = f"{rival.started_at:%Y-%m-%d %H:%M:%S} UTC"
    who = f"worker {rival.name!r} (host {rival.host}, process {rival.pid}, since {since})"
    if rival.name == name:
        return (
            f"the name {name!r} is taken: {who} is alive. Stop that worker, or start this one "
            f"under another name with --name. If it has just died, its name is free again at "
            f"{rival.expires_at:%H:%M:%S} UTC."
        )
    return (
        f"the device {device.name} is taken: {who} works on it. Stop that worker, or choose "
        f"another device with --device (cpu, cuda:0, cuda:1, ...)."
    )


class LeaseKeeper:
    """Renews a lease in a thread, and says once when it is lost."""

    def __init__(
        self,
        database: Database,
        lease: Lease,
        lease_s: float,
        current_job: Callable[[], str | None],
        on_lost: Callable[[], None],
    ) -> None:
        self._database = database
        self._lease = lease
        self._lease_s = lease_s
        self._current_job = current_job
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Renew every third of a lease from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()
        self._thread.join(timeout=self._lease_s)

    def _run(self) -> None:
        while not self._stop.wait(self._lease_s / 3):
            try:
                with self._database.writing() as session:
                    held = lease_repository.renew(
                        session,
                        self._lease.name,
                        self._lease.token,
                        self._lease_s,
                        self._current_job(),
                    )
            except SQLAlchemyError as error:
                # Whether the lease is lost is the database's to say, once it answers again.
                log.warning("lease not renewed", worker=self._lease.name, error=str(error))
                continue
            if not held:
                log.error("lease lost: another process was told that this worker is dead")
                self._on_lost()
                return
