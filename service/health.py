"""Is it alive, is it ready, what is it: for people, load balancers and ``nextround doctor``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from migrations.run import pending_revisions
from service.kit.jobs import live_workers
from service.kit.jobs.engine import JobClient
from service.kit.parts import Parts

router = APIRouter(tags=["health"])

MIN_FREE_BYTES = 500 * 2**20


class Check(BaseModel):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


class HealthOut(BaseModel):
    status: Literal["ready", "not ready"]
    checks: list[Check]


class VersionOut(BaseModel):
    name: str
    version: str
    api: str


def check_all(parts: Parts) -> list[Check]:
    """Database, migrations, workers, artifact store and disk."""
    return [
        _attempt("database", lambda: _database(parts)),
        _attempt("migrations", lambda: _migrations(parts)),
        _attempt("jobs", lambda: _jobs(parts)),
        _attempt("workers", lambda: _workers(parts)),
        _attempt("artifacts", lambda: _artifacts(parts)),
        _attempt("disk", lambda: _disk(parts.artifacts.root)),
    ]


@router.get("/livez", summary="The process answers")
def livez() -> dict[str, str]:
    """200 while the process lives; asks nothing of anybody else."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    responses={503: {"model": HealthOut, "description": "Something is missing; see the checks."}},
)
def readyz(request: Request, response: Response) -> HealthOut:
    """200 when the service can do its work, else 503; each check says what it found."""
    checks = check_all(request.app.state.parts)
    ready = all(check.ok for check in checks)
    response.status_code = 200 if ready else 503
    return HealthOut(status="ready" if ready else "not ready", checks=checks)


@router.get("/version")
def get_version() -> VersionOut:
    """What is running."""
    return VersionOut(name="nextround", version=version("nextround"), api="v1")


def _attempt(name: str, look: Callable[[], tuple[bool, str]]) -> Check:
    try:
        ok, detail = look()
    except (SQLAlchemyError, OSError, RuntimeError) as error:
        ok, detail = False, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return Check(name=name, ok=ok, detail=detail)


def _database(parts: Parts) -> tuple[bool, str]:
    with parts.database.reading() as session:
        session.execute(text("SELECT 1"))
    return True, f"{parts.database.dialect} answers"


def _migrations(parts: Parts) -> tuple[bool, str]:
    pending = pending_revisions(parts.database)
    if pending:
        return False, f"{len(pending)} to run ({', '.join(pending)}): nextround migrate"
    return True, "up to date"


def _jobs(parts: Parts) -> tuple[bool, str]:
    JobClient(parts.database.url).check()
    return True, "the job engine's tables are there"


def _workers(parts: Parts) -> tuple[bool, str]:
    with parts.database.reading() as session:
        leases = live_workers(session)
    if not leases:
        return False, "no worker is alive: start one with nextround worker"
    return True, "; ".join(f"{row.name} on {row.device} ({row.device_reason})" for row in leases)


def _artifacts(parts: Parts) -> tuple[bool, str]:
    name = parts.artifacts.put(b"{}", "json")
    return parts.artifacts.get(name) == b"{}", f"{parts.artifacts.root} can be written and read"


def _disk(folder: Path) -> tuple[bool, str]:
    free = shutil.disk_usage(folder).free
    return free >= MIN_FREE_BYTES, f"{free / 2**30:.1f} GiB free in {folder}"
