"""Asking for archives, and taking them in."""

from __future__ import annotations

import shutil
from typing import Any

from service.archive.exporting import summary_of
from service.archive.jobs import EXPORT, IMPORT
from service.archive.reading import ArchiveReader
from service.archive.repository import ArchiveRepository
from service.archive.rows import ArchiveError
from service.archive.tables import Archive
from service.campaigns.repository import CampaignRepository
from service.kit.body import ReceivedBody
from service.kit.ids import new_id
from service.kit.jobs import Job, enqueue
from service.kit.jobs.repository import JobRepository
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit


class ArchiveService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.archives = ArchiveRepository(unit.session, unit.principal)
        self.jobs = JobRepository(unit.session, unit.principal)

    def export(self, campaign_id: str, *, weights: bool) -> tuple[Archive, Job]:
        """Ask for an archive of a campaign; while one is being made, that one."""
        campaign = CampaignRepository(self.session, self.unit.principal).get(campaign_id)
        archive = self._new("export", weights=weights)
        archive.campaign_id = campaign.id
        args: dict[str, Any] = {"archive_id": archive.id, "weights": weights}
        return self._ask(archive, EXPORT, args, f"export:{campaign.id}:{weights}")

    def bring_in(self, received: ReceivedBody) -> tuple[Archive, Job]:
        """Take an archive in. The same bytes again: what became of them the first time."""
        limit = self.unit.parts.settings.max_archive_unpacked_bytes
        try:
            reader = ArchiveReader.open(received.file, limit)
        except ArchiveError as error:
            message = f"Nothing was imported: {error}."
            wrong = FieldError(code="archive", message=message)
            raise Invalid(message, errors=[wrong]) from None
        archive = self._new("import", weights=reader.manifest["weights"])
        archive.manifest = summary_of(reader.manifest)
        archive.artifact, archive.n_bytes = self._keep(received), received.length
        for earlier in self.archives.imports_of(archive.artifact):
            job = self.job_of(earlier)
            if job.status not in ("failed", "cancelled"):
                return earlier, job
        args = {"archive_id": archive.id, "artifact": archive.artifact}
        return self._ask(archive, IMPORT, args, f"import:{archive.artifact}")

    def job_of(self, archive: Archive) -> Job:
        """The job that makes or reads ``archive``."""
        return self.jobs.get(archive.job_id)

    def content(self, archive: Archive) -> str:
        """The file's name, once there is one; until then a conflict that says how far it is."""
        if archive.artifact is not None:
            return archive.artifact
        job = self.job_of(archive)
        if job.is_finished:
            raise Conflict(f"{archive.id} was not made: its job {job.id} has {job.status}.")
        how_far = f"{job.stage}, {job.done} of {job.total}" if job.stage else "waiting for a worker"
        raise Conflict(
            f"{archive.id} is being made: {how_far}. Ask again in a moment.",
            headers={"Retry-After": "2"},
        )

    def _new(self, kind: str, *, weights: bool) -> Archive:
        actor = self.unit.principal.actor
        return Archive(id=new_id("arc"), kind=kind, weights=weights, created_by=actor)

    def _ask(
        self, archive: Archive, kind: str, args: dict[str, Any], key: str
    ) -> tuple[Archive, Job]:
        job = enqueue(
            self.session,
            workspace_id=self.unit.principal.workspace_id,
            kind=kind,
            args=args,
            campaign_id=archive.campaign_id,
            created_by=self.unit.principal.actor,
            dedupe_key=key,
        )
        known = self.archives.of_job(job.id)
        if known is not None:
            return known, job
        archive.job_id = job.id
        self.archives.add(archive)
        self.session.flush()
        return archive, job

    def _keep(self, received: ReceivedBody) -> str:
        artifacts = self.unit.parts.artifacts
        path = artifacts.scratch()
        try:
            received.file.seek(0)
            with path.open("wb") as file:
                shutil.copyfileobj(received.file, file, 1 << 20)
            return artifacts.adopt(path, "zip")
        finally:
            path.unlink(missing_ok=True)
