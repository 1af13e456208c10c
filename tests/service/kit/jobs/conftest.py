"""A lab with jobs on each database; workers as real processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from job_handlers import WORKSPACE  # also registers the kinds of jobs that the tests ask for
from job_worker import WorkerProcess

from service.kit.artifacts import ArtifactStore
from service.kit.auth.tables import Workspace
from service.kit.database import Database
from service.kit.jobs import Job, enqueue, get_job
from service.kit.jobs.context import Runtime
from service.settings import Settings


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    with database.writing() as session:
        session.add(Workspace(id=WORKSPACE, name="Test lab"))
        session.add(Workspace(id="ws_other", name="Other lab"))
    yield database
    database.dispose()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        artifacts_url=str(tmp_path / "artifacts"),
        device="cpu",
        job_poll_s=0.1,
        lease_s=6.0,
        reap_every_s=0.5,
    )


@pytest.fixture
def artifacts(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings.resolved_artifacts_url)


@pytest.fixture
def runtime(settings: Settings, database: Database, artifacts: ArtifactStore) -> Runtime:
    return Runtime(settings, database, artifacts)


@pytest.fixture
def ask(database: Database) -> Callable[..., Job]:
    """Enqueue a job in a transaction of its own."""

    def ask(kind: str, **options: Any) -> Job:
        options = {"workspace_id": WORKSPACE, "args": {}} | options
        with database.writing() as session:
            return enqueue(session, kind=kind, **options)

    return ask


@pytest.fixture
def look(database: Database) -> Callable[[str], Job]:
    """The job as it is now."""

    def look(job_id: str) -> Job:
        with database.reading() as session:
            job = get_job(session, job_id)
        assert job is not None
        return job

    return look


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a worker as a process of its own; all of them are killed at the end."""
    workers: list[WorkerProcess] = []

    def start(name: str, **changes: Any) -> WorkerProcess:
        log = tmp_path / f"{name.replace(':', '-')}-{len(workers)}.log"
        worker = WorkerProcess(settings.model_copy(update=changes), name, log)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
