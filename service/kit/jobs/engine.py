"""The only module that knows DBOS.

There is one workflow, whose argument is the id of one of our jobs and whose own id is the job's
ticket. DBOS decides which worker runs a ticket and when, and brings back the tickets of a dead
one; kinds, attempts, steps, results and events are rows of ours. So DBOS holds no data, never
replays a body, and could be replaced without touching a handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from dbos._serialization import DefaultSerializer
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from service.kit.jobs.errors import EngineNotReady

log = structlog.get_logger(__name__)

ENGINE_VERSION = "1"
"""Protocol between ``submit`` and the workflow. By default DBOS hashes the source code, and jobs
queued before an edit would wait for ever; this one changes only with the meaning of a ticket."""

_APPLICATION = "nextround"
_WORKFLOW = "nextround_job"
_SCHEMA = "dbos"
_POOL_SIZE = 5
_PAGE = 500
_LEAST_URGENT = 1001
_ALIVE = frozenset({"ENQUEUED", "DELAYED", "PENDING"})
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


def _refuse_pickle(_self: DefaultSerializer, _text: str) -> Any:
    raise ValueError("this row is pickled; nothing here loads pickle")


# The portable serializer alone is not enough: DBOS reads each row in the format that the row
# itself names, so whoever can write the table could still have a worker load pickle.
DefaultSerializer.deserialize = _refuse_pickle  # type: ignore[assignment, method-assign]


@dataclass(frozen=True)
class Submission:
    """A ticket to be queued. ``priority``: -1000 to 1000, larger runs sooner."""

    ticket: str
    job_id: str
    queue: str
    priority: int
    wait_s: float = 0.0


@dataclass(frozen=True)
class PendingTicket:
    """A ticket that some worker has taken and not finished."""

    ticket: str
    worker: str
    queue: str


def migrate_engine(database_url: str) -> None:
    """Create or update the tables of DBOS; needs the right to do so. Safe to repeat."""
    _quieten()
    DBOS.migrate(_dbos_url(database_url), schema=_SCHEMA)


def submit(session: Session, submission: Submission) -> None:
    """Queue a ticket in the caller's transaction."""
    options: EnqueueOptions = {
        "workflow_name": _WORKFLOW,
        "queue_name": submission.queue,
        "workflow_id": submission.ticket,
        "app_version": ENGINE_VERSION,
        "priority": _LEAST_URGENT - submission.priority,
    }
    if submission.wait_s > 0:
        options["delay_seconds"] = submission.wait_s
    client = _writer(session.get_bind().dialect.name)
    try:
        client.enqueue_in_transaction(session, options, submission.job_id)
    except (OperationalError, ProgrammingError) as error:
        if "workflow_status" in str(error.orig):
            raise EngineNotReady(_not_ready()) from error
        raise


@lru_cache(maxsize=2)
def _writer(dialect: str) -> DBOSClient:
    # It writes into connections of ours and never opens one, so its own address is a dummy.
    url = "sqlite://" if dialect == "sqlite" else "postgresql+psycopg://"
    return DBOSClient(
        system_database_engine=create_engine(url),
        dbos_system_schema=_SCHEMA,
        serializer=DBOSPortableJSONSerializer(),
        application_name=_APPLICATION,
        lazy=True,
    )


class JobClient:
    """Looks after tickets from outside: readiness, recovery, retention. Runs nothing itself."""

    def __init__(self, database_url: str) -> None:
        self._client = DBOSClient(
            system_database_url=_dbos_url(database_url),
            dbos_system_schema=_SCHEMA,
            serializer=DBOSPortableJSONSerializer(),
            system_database_pool_size=2,
            application_name=_APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def check(self) -> None:
        """Raise :class:`EngineNotReady` unless the tables of DBOS are there."""
        try:
            self._client.list_workflows(limit=1, load_input=False, load_output=False)
        except (OperationalError, ProgrammingError) as error:
            raise EngineNotReady(_not_ready()) from error

    def pending(self, worker: str | None = None) -> list[PendingTicket]:
        """Tickets that workers have taken, of one worker or of all."""
        rows = self._client.list_workflows(
            name=_WORKFLOW,
            status="PENDING",
            executor_id=worker,
            load_input=False,
            load_output=False,
        )
        return [
            PendingTicket(row.workflow_id, row.executor_id or "", row.queue_name or "")
            for row in rows
        ]

    def resume(self, pending: PendingTicket) -> None:
        """Put a dead worker's ticket back on its queue."""
        self._client.resume_workflow(pending.ticket, queue_name=pending.queue)

    def lost(self, tickets: Sequence[str]) -> list[str]:
        """Those of ``tickets`` that no worker will ever run."""
        rows = self._client.list_workflows(
            workflow_ids=list(tickets), load_input=False, load_output=False
        )
        alive = {row.workflow_id for row in rows if row.status in _ALIVE}
        return [ticket for ticket in tickets if ticket not in alive]

    def delete_finished(self, before: datetime) -> int:
        """Delete the traces of tickets that finished before then; return how many."""
        deleted = 0
        while True:
            rows = self._client.list_workflows(
                name=_WORKFLOW,
                status=_OVER,
                completed_before=before.isoformat(),
                limit=_PAGE,
                load_input=False,
                load_output=False,
            )
            self._client.delete_workflows([row.workflow_id for row in rows])
            deleted += len(rows)
            if len(rows) < _PAGE:
                return deleted

    def close(self) -> None:
        """Close the connections."""
        self._client.destroy()


class WorkflowRunner:
    """DBOS inside a worker: takes tickets from queues and calls ``run(job_id, ticket)``.

    DBOS is one per process, so there is at most one of these at a time.
    """

    def __init__(self, database_url: str, worker: str, run: Callable[[str, str], None]) -> None:
        self._url = _dbos_url(database_url)
        self._worker = worker
        self._run = run

    def start(self, queues: Iterable[str], slots: dict[str, int], poll_s: float) -> None:
        """Recover this worker's own tickets, then take new ones from ``queues``."""
        _quieten()
        self._register_queues(slots, poll_s)
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": self._url,
            "sys_db_pool_size": _POOL_SIZE,
            "application_version": ENGINE_VERSION,
            "executor_id": self._worker,
            "serializer": DBOSPortableJSONSerializer(),
            "dbos_system_schema": _SCHEMA,
            "run_migrations": False,
            "log_level": "WARNING",
        }
        DBOS(config=config)
        # Attempts are counted on our own rows, where a recovery does not set them back.
        DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=None)(self._workflow())
        DBOS.listen_queues(list(queues))
        DBOS.launch()

    def stop(self, drain_s: float) -> None:
        """Take no more tickets; wait for running ones up to ``drain_s``."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=round(drain_s))

    def _workflow(self) -> Callable[[str], None]:
        run = self._run

        def nextround_job(job_id: str) -> None:
            ticket = DBOS.workflow_id
            if ticket is not None:
                run(job_id, ticket)

        return nextround_job

    def _register_queues(self, slots: dict[str, int], poll_s: float) -> None:
        # Before the launch: queues that appear later are noticed up to a second late.
        client = DBOSClient(
            system_database_url=self._url,
            dbos_system_schema=_SCHEMA,
            serializer=DBOSPortableJSONSerializer(),
            application_name=_APPLICATION,
            lazy=True,
        )
        try:
            for name, at_once in slots.items():
                client.register_queue(name, worker_concurrency=at_once, polling_interval_sec=poll_s)
        except (OperationalError, ProgrammingError) as error:
            raise EngineNotReady(_not_ready()) from error
        finally:
            client.destroy()


def _dbos_url(database_url: str) -> str:
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


class _ToOurLog(logging.Handler):
    """Puts the warnings of DBOS into our log."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), source="dbos", exc_info=record.exc_info)


def _quieten() -> None:
    # DBOS writes to the console itself unless its logger already has a handler.
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(_ToOurLog())
        logger.propagate = False
    logger.setLevel(logging.WARNING)


def _not_ready() -> str:
    return (
        "the tables of the job engine are missing or older than this version; "
        "run `nextround migrate` first (`nextround serve` does so itself)"
    )
