"""The life of one attempt: begin under a lock, run the handler, settle behind the fence.

Workers and :func:`run_inline` share every line of this; only who calls :func:`execute` differs.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy.orm import Session

from service.kit.artifacts import ArtifactStore
from service.kit.database import Database, utcnow
from service.kit.ids import new_id
from service.kit.jobs import engine, lease_repository, repository
from service.kit.jobs.context import JobContext, Runtime, plain_json
from service.kit.jobs.errors import Fenced, JobFailed, JobStopped, UnknownJobKind, problem_dict
from service.kit.jobs.patience import patiently
from service.kit.jobs.registry import Handler, find_handler
from service.kit.jobs.repository import Claim
from service.kit.jobs.tables import Job
from service.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Succeeded:
    result: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """For good."""

    problem: dict[str, Any]


@dataclass(frozen=True)
class Crashed:
    """An unexpected error: worth another attempt while there are some left."""

    problem: dict[str, Any]


@dataclass(frozen=True)
class StoppedEarly:
    """The handler obeyed ``should_stop``, or stopped of its own accord."""


Outcome = Succeeded | Failed | Crashed | StoppedEarly


def run_inline(
    database: Database,
    artifacts: ArtifactStore,
    settings: Settings,
    job_id: str,
    *,
    device: str = "cpu",
) -> Job:
    """Make one attempt at a queued job here and now, and return the job as it then is."""
    with database.reading() as session:
        job = repository.find(session, job_id)
    if job is None:
        raise LookupError(f"there is no job {job_id}")
    execute(Runtime(settings, database, artifacts, device=device), job_id, job.ticket)
    with database.reading() as session:
        after = repository.find(session, job_id)
    return after if after is not None else job


def execute(runtime: Runtime, job_id: str, ticket: str) -> None:
    """Make one attempt, unless ``ticket`` is out of date or there is nothing left to do."""
    claim = patiently(lambda: _begin(runtime, job_id, ticket), runtime.is_stopping)
    if claim is None:
        return
    ctx = JobContext(claim, runtime)
    try:
        outcome = _attempt(ctx, find_handler(claim.kind))
    except Fenced:
        log.warning("job was taken over; this attempt leaves no trace", job=job_id, ticket=ticket)
        return
    mine = patiently(lambda: _settle(runtime, ctx, outcome), runtime.is_stopping)
    log.info(
        "attempt ended",
        job=job_id,
        attempt=claim.attempt,
        outcome=type(outcome).__name__,
        mine=mine,
    )


def requeue(
    session: Session, claim: Claim, *, wait_s: float = 0.0, counts: bool, event: dict[str, Any]
) -> bool:
    """Put a job that we hold back on its queue under a new ticket.

    ``counts``: whether the attempt that ends here is one of the attempts the job has.
    """
    job = repository.lock(session, claim.job_id)
    if job is None:
        return False
    ticket = f"{job.id}.{job.version + 1}"
    values: dict[str, Any] = {"status": "queued", "ticket": ticket, "worker": None, "eta_s": None}
    if not counts:
        values["attempt"] = claim.attempt - 1
    data = {"status": "queued", "attempt": claim.attempt, **event}
    if not repository.change(session, claim.still_mine, values, "status", data):
        return False
    engine.submit(
        session, engine.Submission(ticket, claim.job_id, claim.queue, claim.priority, wait_s)
    )
    return True


def _begin(runtime: Runtime, job_id: str, ticket: str) -> Claim | None:
    with runtime.database.writing() as session:
        job = repository.lock(session, job_id)
        if job is None or job.is_finished or job.ticket != ticket:
            log.info("nothing to do for this ticket", job=job_id, ticket=ticket)
            return None
        if not _may_take_jobs(session, runtime):
            _pass_on(session, job)
            runtime.on_lease_lost()
            return None
        if job.cancel_requested_at is not None:
            _end_unstarted(session, job, "cancelled", None)
            return None
        problem = _why_not(job)
        if problem is not None:
            _end_unstarted(session, job, "failed", problem)
            return None
        return _start(session, job, runtime.worker)


def _may_take_jobs(session: Session, runtime: Runtime) -> bool:
    if runtime.lease_token is None:
        return True
    return lease_repository.is_held(session, runtime.worker, runtime.lease_token)


def _pass_on(session: Session, job: Job) -> None:
    # This worker was thought dead and its name given up. The engine will consider the ticket
    # done, so the job goes on under a new one, for a worker that is in good standing.
    ticket = f"{job.id}.{job.version + 1}"
    data = {"status": job.status, "attempt": job.attempt, "reason": "worker lost its lease"}
    repository.change(session, [repository.is_job(job.id)], {"ticket": ticket}, "status", data)
    engine.submit(session, engine.Submission(ticket, job.id, job.queue, job.priority))


def _why_not(job: Job) -> dict[str, Any] | None:
    try:
        find_handler(job.kind)
    except UnknownJobKind:
        return problem_dict(
            "unknown-job-kind",
            "No worker knows this kind of job",
            f"The worker has no handler for jobs of kind {job.kind!r}. Probably the service and "
            f"its workers run different versions: update the workers, then ask for the job again.",
        )
    if job.attempt < job.max_attempts:
        return None
    return problem_dict(
        "worker-died",
        "The job took its worker down",
        f"The worker died during each of the {job.attempt} attempts at this job, most likely for "
        f"want of memory, so it is not tried again. Make the job smaller or the worker larger.",
    )


def _start(session: Session, job: Job, worker: str) -> Claim | None:
    attempt = job.attempt + 1
    values = {
        "status": "running",
        "attempt": attempt,
        "worker": worker,
        "started_at": job.started_at or utcnow(),
        "eta_s": None,
    }
    data = {"status": "running", "attempt": attempt, "worker": worker}
    repository.change(session, [repository.is_job(job.id)], values, "status", data)
    return Claim(
        job_id=job.id,
        workspace_id=job.workspace_id,
        campaign_id=job.campaign_id,
        kind=job.kind,
        queue=job.queue,
        priority=job.priority,
        args=job.args,
        created_by=job.created_by,
        attempt=attempt,
        max_attempts=job.max_attempts,
        ticket=job.ticket,
    )


def _end_unstarted(session: Session, job: Job, status: str, problem: dict[str, Any] | None) -> None:
    values = _end_values(status, problem)
    data = {"status": status, "attempt": job.attempt, "problem": problem}
    repository.change(session, [repository.is_job(job.id)], values, "status", data)
    repository.forget_steps(session, job.id)


def _attempt(ctx: JobContext, handler: Handler) -> Outcome:
    try:
        result = handler.function(ctx)
        if not isinstance(result, dict):
            raise TypeError(f"handler of {ctx.kind!r} returned {type(result).__name__}, not a dict")
        return Succeeded(json.loads(plain_json(result, "the result of a job")))
    except Fenced:
        raise
    except JobFailed as error:
        return Failed(error.problem)
    except (Exception, SystemExit) as error:
        if _is_stop(error):
            return StoppedEarly()
        return Crashed(_report(ctx, error))


def _is_stop(error: BaseException) -> bool:
    # models.screen imports torch; if nobody has imported it, nobody can have raised its Stopped.
    screen = sys.modules.get("models.screen")
    return isinstance(error, JobStopped) or (
        screen is not None and isinstance(error, screen.Stopped)
    )


def _report(ctx: JobContext, error: BaseException) -> dict[str, Any]:
    # The traceback may hold confidential data, so it goes to the log and the user gets a number.
    reference = new_id("err")
    log.error(
        "job crashed", reference=reference, job=ctx.job_id, attempt=ctx.attempt, exc_info=error
    )
    return problem_dict(
        "internal",
        "Something went wrong on our side",
        f"The job stopped with an unexpected error ({type(error).__name__}) in attempt "
        f"{ctx.attempt} of {ctx.max_attempts}. Quote {reference} to the operator, whose log has "
        f"the details.",
    )


def _settle(runtime: Runtime, ctx: JobContext, outcome: Outcome) -> bool:
    with runtime.database.writing() as session:
        if not repository.hold(session, ctx.claim):
            return False
        standing = repository.standing(session, ctx.claim)
        match outcome:
            case Succeeded(result):
                return _succeed(session, ctx, result)
            case Failed(problem):
                return _end(session, ctx.claim, "failed", problem)
            case _ if standing.cancel_requested:
                return _end(session, ctx.claim, "cancelled", None)
            case Crashed(problem):
                return _retry_or_fail(session, ctx.claim, problem)
            case StoppedEarly() if runtime.is_stopping():
                event = {"reason": "worker is stopping"}
                return requeue(session, ctx.claim, counts=False, event=event)
            case StoppedEarly():
                return _end(session, ctx.claim, "cancelled", None)


def _retry_or_fail(session: Session, claim: Claim, problem: dict[str, Any]) -> bool:
    if claim.attempt >= claim.max_attempts:
        return _end(session, claim, "failed", problem)
    wait_s = find_handler(claim.kind).wait_before_retry(claim.attempt)
    event = {"reason": problem["detail"], "retry_in_s": wait_s}
    return requeue(session, claim, wait_s=wait_s, counts=True, event=event)


def _succeed(session: Session, ctx: JobContext, result: dict[str, Any]) -> bool:
    return _end(session, ctx.claim, "succeeded", None, {"result": result} | ctx.meter.latest)


def _end(
    session: Session,
    claim: Claim,
    status: str,
    problem: dict[str, Any] | None,
    more: dict[str, Any] | None = None,
) -> bool:
    values = _end_values(status, problem) | (more or {})
    data = {"status": status, "attempt": claim.attempt, "problem": problem}
    repository.forget_steps(session, claim.job_id)
    return repository.change(session, claim.still_mine, values, "status", data)


def _end_values(status: str, problem: dict[str, Any] | None) -> dict[str, Any]:
    values: dict[str, Any] = {"status": status, "finished_at": utcnow(), "eta_s": None}
    if problem is not None:
        values["problem"] = problem
    return values
