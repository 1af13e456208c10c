"""A worker: one process, one device, one name."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from types import FrameType

import structlog

from service.kit.artifacts import ArtifactStore
from service.kit.database import Database
from service.kit.devices import Device, DeviceError, probe_device
from service.kit.jobs import leases
from service.kit.jobs.context import Runtime
from service.kit.jobs.engine import JobClient, WorkflowRunner
from service.kit.jobs.errors import EngineNotReady, LeaseHeld, UnknownQueue
from service.kit.jobs.execution import execute
from service.kit.jobs.leases import Lease, LeaseKeeper
from service.kit.jobs.patience import patiently
from service.kit.jobs.process import host_name
from service.kit.jobs.reaper import Reaper
from service.kit.jobs.registry import QUEUES, registered_kinds
from service.settings import Settings

log = structlog.get_logger(__name__)

DRAIN_S = 20.0
EXIT_DRAINED = 0
EXIT_CANNOT_START = 2
EXIT_TRY_AGAIN = 75
"""The name or the device is taken, or the lease was lost: start again a little later."""


class JobEngine:
    """Takes and runs jobs in this process until stopped. At most one per process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        artifacts: ArtifactStore,
        *,
        device: Device | None = None,
        name: str | None = None,
        queues: Sequence[str] | None = None,
    ) -> None:
        self.device = device or probe_device(settings.device)
        self.name = name or settings.worker_name or f"{host_name()}:{self.device.name}"
        self.queues = _known(queues)
        self._settings = settings
        self._database = database
        self._artifacts = artifacts
        self._client = JobClient(database.url)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._running: set[str] = set()
        self._lease: Lease | None = None
        self.lost_lease = False

    def launch(self) -> None:
        """Take the lease and start working. Raises :class:`LeaseHeld`, :class:`EngineNotReady`."""
        settings = self._settings
        self._client.check()
        self._lease = leases.acquire(
            self._database, self.name, self.device, self.queues, _version(), settings.lease_s
        )
        self._keeper = LeaseKeeper(
            self._database, self._lease, settings.lease_s, self._current_job, self._lose_lease
        )
        self._reaper = Reaper(self._database, self._client, settings)
        self._runner = WorkflowRunner(self._database.url, self.name, self._execute)
        self._keeper.start()
        try:
            self._runner.start(self.queues, QUEUES, settings.job_poll_s)
        except BaseException:
            self._keeper.stop()
            leases.release(self._database, self._lease)
            raise
        self._reaper.start()
        log.info(
            "worker ready",
            worker=self.name,
            device=self.device.name,
            reason=self.device.reason,
            queues=self.queues,
            kinds=registered_kinds(),
        )

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until asked to stop or until the lease is lost."""
        return self._ended.wait(timeout_s)

    def request_stop(self) -> None:
        """Ask :meth:`wait` to return; safe in a signal handler."""
        self._ended.set()

    def stop(self, drain_s: float = DRAIN_S) -> bool:
        """Take no more jobs, let running ones stop or finish; whether all of them did.

        A job that obeys ``should_stop`` goes back to its queue at once and keeps its finished
        steps; one that does not is recovered by the next worker that looks.
        """
        self._stopping.set()
        self._ended.set()
        self._reaper.stop()
        self._runner.stop(drain_s)
        self._keeper.stop()
        drained = not self._running
        if self._lease is not None and not self.lost_lease:
            leases.release(self._database, self._lease)
        self._client.close()
        log.info("worker stopped", worker=self.name, drained=drained)
        return drained

    def _execute(self, job_id: str, ticket: str) -> None:
        runtime = Runtime(
            settings=self._settings,
            database=self._database,
            artifacts=self._artifacts,
            device=self.device.name,
            device_reason=self.device.reason,
            worker=self.name,
            lease_token=self._lease.token if self._lease else "",
            is_stopping=self._stopping.is_set,
            on_lease_lost=self._lose_lease,
        )
        self._running.add(job_id)
        try:
            execute(runtime, job_id, ticket)
        finally:
            self._running.discard(job_id)

    def _lose_lease(self) -> None:
        self.lost_lease = True
        self._stopping.set()
        self._ended.set()

    def _current_job(self) -> str | None:
        return min(self._running.copy(), default=None)


def run_worker(
    settings: Settings,
    *,
    device: str | None = None,
    name: str | None = None,
    queues: Sequence[str] | None = None,
    ready: Callable[[JobEngine], None] | None = None,
) -> int:
    """Work until SIGTERM or SIGINT, in the main thread of a process of its own.

    Returns the exit code. The caller has imported the modules that register handlers. If a job
    does not stop in time, or if the lease was lost, the process ends here and now: a thread cannot
    be ended, and one of the engine may wait for a job that another worker has by then.
    """
    database = Database(settings.resolved_database_url)
    try:
        engine = JobEngine(
            settings,
            database,
            ArtifactStore(settings.resolved_artifacts_url),
            device=probe_device(device or settings.device),
            name=name,
            queues=queues,
        )
        _install_signals(engine)
        patiently(engine.launch, lambda: engine.wait(0.0))
    except (DeviceError, EngineNotReady, UnknownQueue) as error:
        return _refuse(EXIT_CANNOT_START, error)
    except LeaseHeld as error:
        return _refuse(EXIT_TRY_AGAIN, error)
    if ready is not None:
        ready(engine)
    engine.wait()
    drained = engine.stop()
    code = EXIT_TRY_AGAIN if engine.lost_lease else EXIT_DRAINED
    if not drained or engine.lost_lease:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    database.dispose()
    return code


def _install_signals(engine: JobEngine) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        engine.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _refuse(code: int, error: Exception) -> int:
    print(f"nextround worker: {error}", file=sys.stderr)
    return code


def _known(queues: Sequence[str] | None) -> list[str]:
    chosen = list(QUEUES) if queues is None else list(dict.fromkeys(queues))
    unknown = [queue for queue in chosen if queue not in QUEUES]
    if unknown or not chosen:
        raise UnknownQueue(f"there is no queue {unknown}; the queues are {list(QUEUES)}")
    return chosen


def _version() -> str:
    try:
        return metadata.version("nextround")
    except metadata.PackageNotFoundError:
        return "unknown"
