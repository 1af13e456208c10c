"""`/v1/jobs`: status, long poll, server-sent events, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from service.kit import etag
from service.kit.auth import scopes
from service.kit.auth.principal import Principal
from service.kit.database import Database, dump_json
from service.kit.jobs import JobAlreadyFinished, cancel, events_after
from service.kit.jobs.repository import JobRepository
from service.kit.jobs.schemas import JobOut, describe_job
from service.kit.jobs.tables import FINISHED, Job, JobEvent
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Conflict, Invalid, NotFound, documented
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["jobs"], prefix="/jobs")

_POLL_S = 0.25
_KEEP_ALIVE_S = 15.0
LONGEST_WAIT_S = 60


def accepted(job: Job, response: Response) -> JobOut:
    """202: the job, and where to look for it."""
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return describe_job(job)


@router.get("", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_jobs(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    campaign_id: Annotated[
        str | None,
        Query(max_length=40, pattern="^[0-9a-z_]+$", description="Only those of this campaign."),
    ] = None,
) -> PageOut[JobOut]:
    """The jobs of the workspace, oldest first."""
    jobs = JobRepository(unit.session, unit.principal)
    statement = jobs.of_campaign(campaign_id) if campaign_id is not None else None
    return page_out(request, response, jobs.page(page, statement), describe_job)


@router.get("/{job_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid))
async def get_job(
    job_id: str,
    unit: UnitDep,
    request: Request,
    response: Response,
    wait: Annotated[
        int, Query(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait for the job to finish.")
    ] = 0,
) -> JobOut:
    """One job. With `wait` the answer comes when the job is finished, or after that time."""
    deadline = time.monotonic() + wait
    while True:
        job = await run_in_threadpool(_read, unit.parts.database, unit.principal, job_id)
        over = job.is_finished or time.monotonic() >= deadline
        if over or await request.is_disconnected():
            etag.tag(response, job.version)
            return describe_job(job)
        await asyncio.sleep(_POLL_S)


@router.get(
    "/{job_id}/events",
    dependencies=[needs(scopes.READ)],
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "Events `status` and `progress`, until the job is finished.",
        },
        **documented(NotFound, Invalid),
    },
)
async def stream_job_events(
    job_id: str,
    unit: UnitDep,
    last_event_id: Annotated[
        str | None, Header(max_length=20, pattern="^[0-9]{1,9}$", description="Resume after it.")
    ] = None,
) -> StreamingResponse:
    """Progress as server-sent events. A client that reconnects misses nothing."""
    await run_in_threadpool(_read, unit.parts.database, unit.principal, job_id)
    after = int(last_event_id) if last_event_id else 0
    return StreamingResponse(
        _stream(unit.parts.database, job_id, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.delete(
    "/{job_id}",
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def cancel_job(job_id: str, unit: UnitDep) -> JobOut:
    """Cancel a job: at once while it waits, within two seconds while it runs."""
    job = JobRepository(unit.session, unit.principal).get(job_id)
    try:
        return describe_job(cancel(unit.session, job))
    except JobAlreadyFinished as error:
        raise Conflict(f"J{str(error)[1:]}; there is nothing to cancel.") from None


def _read(database: Database, principal: Principal, job_id: str) -> Job:
    with database.reading() as session:
        return JobRepository(session, principal).get(job_id)


async def _stream(database: Database, job_id: str, after: int) -> AsyncIterator[str]:
    quiet_since = time.monotonic()
    while True:
        events, finished = await run_in_threadpool(_news, database, job_id, after)
        for event in events:
            after, quiet_since = event.seq, time.monotonic()
            yield f"id: {event.seq}\nevent: {event.kind}\ndata: {dump_json(event.data)}\n\n"
        if finished and not events:
            return
        if time.monotonic() - quiet_since > _KEEP_ALIVE_S:
            quiet_since = time.monotonic()
            yield ": keep-alive\n\n"
        if not events:
            await asyncio.sleep(_POLL_S)


def _news(database: Database, job_id: str, after: int) -> tuple[list[JobEvent], bool]:
    with database.reading() as session:
        # The status first: events that come later are found by the next look.
        job = session.get(Job, job_id)
        finished = job is None or job.status in FINISHED
        return events_after(session, job_id, after), finished
