"""What a handler sees of the world while it runs one job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.kit.artifacts import ArtifactStore
from service.kit.database import Database, dump_json
from service.kit.jobs import lease_repository, repository
from service.kit.jobs.errors import BadJobArguments, Fenced, JobStopped
from service.kit.jobs.progress import ProgressMeter
from service.kit.jobs.repository import Claim
from service.settings import Settings

log = structlog.get_logger(__name__)

Value = TypeVar("Value")

MAX_JSON_BYTES = 256 * 1024
_POLL_S = 0.5


def plain_json(value: Any, what: str) -> str:
    """``value`` as JSON text; refuses what the databases would change, refuse or choke on."""
    try:
        text = dump_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadJobArguments(
            f"{what} must be plain JSON without NaN or infinity: {error}"
        ) from None
    if len(text) > MAX_JSON_BYTES:
        raise BadJobArguments(
            f"{what} is {len(text)} characters of JSON, more than {MAX_JSON_BYTES}; "
            f"put large data into an artifact and pass its name"
        )
    return text


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Runtime:
    """What all jobs of one process share."""

    settings: Settings
    database: Database
    artifacts: ArtifactStore
    device: str = "cpu"
    device_reason: str = "run without a worker"
    worker: str = "inline"
    lease_token: str | None = None
    is_stopping: Callable[[], bool] = _never
    on_lease_lost: Callable[[], None] = lambda: None


class JobContext:
    """One attempt at one job."""

    def __init__(self, claim: Claim, runtime: Runtime) -> None:
        self.job_id = claim.job_id
        self.workspace_id = claim.workspace_id
        self.campaign_id = claim.campaign_id
        self.kind = claim.kind
        self.args = claim.args
        self.attempt = claim.attempt
        self.max_attempts = claim.max_attempts
        self.created_by = claim.created_by
        self.settings = runtime.settings
        self.database = runtime.database
        self.artifacts = runtime.artifacts
        self.device = runtime.device
        self.device_reason = runtime.device_reason
        self.claim = claim
        self._runtime = runtime
        self._is_stopping = runtime.is_stopping
        self.meter = ProgressMeter()
        self._steps_seen: set[str] = set()
        self._standing = repository.Standing(is_mine=True, cancel_requested=False)
        self._looked_at = time.monotonic()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Say how far the job is; call it as often as you like, it writes about 4 times a second.

        Raises :class:`Fenced` when the job is no longer ours.
        """
        values = self.meter.measure(stage, done, total)
        if values is None:
            return
        try:
            with self.database.writing() as session:
                mine = repository.change(session, self.claim.still_mine, values, "progress", values)
        except OperationalError as error:
            # A database that is busy for a moment must not cost hours of training.
            log.warning("progress not written", job=self.job_id, error=str(error.orig))
            return
        if not mine:
            self._fence()

    def should_stop(self) -> bool:
        """Whether to stop: cancelled, taken over, or the worker is going away. Cheap."""
        if self._is_stopping() or self._has_ended():
            return True
        now = time.monotonic()
        if now - self._looked_at >= _POLL_S:
            self._looked_at = now
            self._look()
        return self._has_ended()

    def raise_if_stopped(self) -> None:
        """Raise :class:`JobStopped` where :meth:`should_stop` is true."""
        if self.should_stop():
            if not self._standing.is_mine:
                self._fence()
            raise JobStopped(f"job {self.job_id} was asked to stop")

    def step(self, name: str, fn: Callable[[], Value]) -> Value:
        """Run ``fn`` once in the life of the job: a later attempt gets what it returned.

        The value is small plain JSON, such as the name of an artifact. A crash between the end
        of ``fn`` and the note of it repeats ``fn``, so it should be harmless to repeat; for
        changes to the database use :meth:`transaction`.
        """
        known = self._recall(name)
        if known is not None:
            value: Value = json.loads(known)
            return value
        self.raise_if_stopped()
        text = plain_json(fn(), f"what step {name!r} returns")
        with self.writing() as session:
            repository.save_step(session, self.claim, name, text)
        value = json.loads(text)
        return value

    def transaction(self, name: str, fn: Callable[[Session], Value]) -> Value:
        """Like :meth:`step` for changes to the database: ``fn``'s changes happen exactly once."""
        known = self._recall(name)
        if known is None:
            self.raise_if_stopped()
            with self.writing() as session:
                known = plain_json(fn(session), f"what step {name!r} returns")
                repository.save_step(session, self.claim, name, known)
        value: Value = json.loads(known)
        return value

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that takes effect only while this attempt owns the job."""
        with self.database.writing() as session:
            if not repository.hold(session, self.claim):
                self._fence()
            began = time.monotonic()
            yield session
            if time.monotonic() - began > self.settings.lease_s / 3:
                self._renew(session)

    def _renew(self, session: Session) -> None:
        """Where a transaction locks the whole database, nobody could renew the lease meanwhile;
        whoever looks next finds it renewed together with what was written."""
        if self._runtime.lease_token is not None:
            name, token = self._runtime.worker, self._runtime.lease_token
            lease_repository.renew(session, name, token, self.settings.lease_s, self.job_id)

    def look_again(self) -> repository.Standing:
        """The job's standing, asked now."""
        self._look()
        return self._standing

    def _recall(self, name: str) -> str | None:
        if name in self._steps_seen:
            raise ValueError(f"step {name!r} occurs twice in one job; steps need distinct names")
        self._steps_seen.add(name)
        with self.database.reading() as session:
            return repository.find_step(session, self.job_id, name)

    def _look(self) -> None:
        try:
            with self.database.reading() as session:
                self._standing = repository.standing(session, self.claim)
        except OperationalError as error:
            log.warning("could not look whether to stop", job=self.job_id, error=str(error.orig))

    def _has_ended(self) -> bool:
        return self._standing.cancel_requested or not self._standing.is_mine

    def _fence(self) -> None:
        self._standing = repository.Standing(is_mine=False, cancel_requested=False)
        raise Fenced(f"job {self.job_id} is no longer run by attempt {self.attempt}")
