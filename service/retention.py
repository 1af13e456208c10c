"""What may be forgotten: old idempotent answers, old events, and artifacts that nothing refers to.

Experiment state is never touched. The job layer forgets its own traces (``kit/jobs/reaper.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.archive.tables import Archive
from service.assays.tables import Submission
from service.assays.uploads.tables import Upload
from service.batches.tables import Recommendation
from service.datasets.tables import Dataset, DatasetFit
from service.integrations.queue import forget as forget_events
from service.kit.artifacts import ArtifactError, ArtifactStore, names_in
from service.kit.database import utcnow
from service.kit.idempotency.store import forget_old
from service.kit.jobs.tables import UNFINISHED, Job, JobStep
from service.kit.parts import Parts
from service.learning.tables import WITHHELD, FittedModel
from service.plates.tables import PlateLayout, TransferReport
from service.surfaces.tables import SurfaceFit
from service.triage.tables import TriageCard

log = structlog.get_logger(__name__)

DAY_S = 86_400.0
UNREFERENCED_S = 7 * DAY_S
"""A job writes artifacts before it publishes them; a week is longer than any job."""
EVERY_S = 6 * 3600.0


def tidy(parts: Parts, *, unreferenced_s: float = UNREFERENCED_S) -> tuple[int, int]:
    """Forget what may be forgotten; returns (answers, artifacts) that went."""
    with parts.database.writing() as session:
        answers = forget_old(session)
        forget_events(session, utcnow() - timedelta(days=parts.settings.retention_days))
    with parts.database.reading() as session:
        kept = set(_referenced(session, parts.artifacts))
    return answers, parts.artifacts.sweep(kept, unreferenced_s)


def _referenced(session: Session, artifacts: ArtifactStore) -> Iterator[str]:
    """Every artifact that some row, of whatever workspace, still needs."""
    for statement in (
        select(Submission.original),
        select(Recommendation.candidates),
        select(Recommendation.table_artifact),
        select(FittedModel.weights),
        select(FittedModel.metadata_artifact),
        select(FittedModel.blocks),
        select(FittedModel.snapshot),
        select(SurfaceFit.snapshot),
        select(SurfaceFit.surfaces),
        select(SurfaceFit.weights),
        select(SurfaceFit.metadata_artifact),
        select(TriageCard.snapshot),
        select(TriageCard.card),
        select(TriageCard.scores),
        select(PlateLayout.plan),
        select(TransferReport.original),
        select(func.coalesce(Archive.artifact, "")),
        select(func.coalesce(Archive.history, "")),
        select(Upload.original),
        select(func.coalesce(Upload.parsed, Upload.original)),
        select(Dataset.original),
        select(func.coalesce(Dataset.content, Dataset.original)),
        select(DatasetFit.features),
        select(DatasetFit.results),
        select(DatasetFit.weights),
        select(DatasetFit.metadata_artifact),
    ):
        yield from session.scalars(statement)
    unfinished = Job.status.in_(UNFINISHED)
    for (args,) in session.execute(select(Job.args).where(unfinished)):
        yield from names_in(str(args))
    steps = select(JobStep.value).join(Job, Job.id == JobStep.job_id).where(unfinished)
    for value in session.scalars(steps):
        yield from names_in(value)
    for column in (
        FittedModel.snapshot,
        TriageCard.snapshot,
        SurfaceFit.snapshot,
        SurfaceFit.surfaces,
    ):
        for name in session.scalars(select(column).where(column != WITHHELD)):
            yield from _parts_of(name, artifacts)
    for content in session.scalars(select(Dataset.content)):
        if content is not None:
            yield from _parts_of(content, artifacts)


def _parts_of(description: str, artifacts: ArtifactStore) -> list[str]:
    """The files that a description names: arrays of a snapshot or a data set, surfaces by line."""
    try:
        return names_in(artifacts.get(description).decode())
    except ArtifactError as error:
        log.error("a description cannot be read", artifact=description, error=str(error))
        return []


class Janitor:
    """Tidies now and then, beside a worker."""

    def __init__(self, parts: Parts, every_s: float = EVERY_S) -> None:
        self._parts = parts
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                answers, files = tidy(self._parts)
                log.info("tidied", idempotent_answers=answers, artifacts=files)
            except Exception:
                # The next turn comes; a worker must not die of housekeeping.
                log.exception("tidying failed")
