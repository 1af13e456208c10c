"""A campaign as one file. Two exports of the same state differ in ``made`` of the manifest only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from service.archive.content import CELL_LINES, COMPOUNDS, PARTS, WITH_ARRAYS, Part
from service.archive.packing import AUDIT, FORMAT, MANIFEST, VERSION, Packer, file_path, table_path
from service.archive.renaming import ids_in
from service.archive.repository import ArchiveRepository, ContentRepository
from service.archive.rows import RowWriter, described, dump_line, kind_of
from service.archive.work import unit_of
from service.campaigns.repository import CampaignRepository
from service.kit.artifacts import ArtifactStore, names_in
from service.kit.audit.tables import AuditEvent
from service.kit.database import utcnow
from service.kit.jobs import JobContext, JobFailed, problem_dict
from service.learning.tables import WITHHELD

Report = Callable[[str, int], None]


def export(ctx: JobContext) -> dict[str, Any]:
    """Write the archive that the job was asked for, then say where it is."""
    made = ctx.step("pack", lambda: _pack(ctx))
    archive_id = str(ctx.args["archive_id"])

    def publish(session: Session) -> dict[str, Any]:
        archive = ArchiveRepository(session, unit_of(ctx, session).principal).get(archive_id)
        archive.artifact, archive.n_bytes = made["artifact"], made["n_bytes"]
        archive.manifest = made["manifest"]
        return {"archive": f"/v1/archives/{archive_id}"}

    return ctx.transaction("publish", publish)


def _pack(ctx: JobContext) -> dict[str, Any]:
    path = ctx.artifacts.scratch()
    try:
        with ctx.database.reading() as session:
            if ctx.database.dialect == "postgresql":  # one state, however long the writing takes
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            manifest = Exporter(ctx, session).write(path)
        n_bytes = path.stat().st_size
        artifact = ctx.artifacts.adopt(path, "zip")
    finally:
        path.unlink(missing_ok=True)
    return {"artifact": artifact, "n_bytes": n_bytes, "manifest": summary_of(manifest)}


def summary_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a manifest in the database: all but the list of files, which may be long."""
    kept = {name: value for name, value in manifest.items() if name not in ("files", "columns")}
    return {**kept, "n_files": len(manifest["files"])}


class Exporter:
    """Writes all parts of one campaign."""

    def __init__(self, ctx: JobContext, session: Session) -> None:
        self.ctx = ctx
        self.campaign_id = str(ctx.campaign_id)
        self.weights: bool = ctx.args["weights"]
        unit = unit_of(ctx, session)
        self.content = ContentRepository(session, unit.principal)
        self.archives = ArchiveRepository(session, unit.principal)
        self.campaign = CampaignRepository(session, unit.principal).get(self.campaign_id)
        self.named = self.content.members(self.campaign_id)
        self.artifacts: set[str] = set()
        self.counts: dict[str, int] = {}
        self._done = self._total = 0

    def write(self, path: Path) -> dict[str, Any]:
        """Write the archive to ``path``; returns its manifest."""
        own = [part for part in PARTS if part.named is None]
        self._total = sum(self.content.count(part, self.campaign_id) for part in own)
        with Packer(path) as packer:
            for part in own:
                self._table(packer, part, self.content.rows(part, self.campaign_id))
            for part in PARTS:
                if part.named is not None:
                    ids = {name for name in self.named if name.startswith(f"{part.named}_")}
                    self._table(packer, part, self.content.named_rows(part, ids))
            self._history(packer)
            for done, name in enumerate(sorted(self.artifacts)):
                self._report("copying files", done, len(self.artifacts))
                packer.copy(file_path(name), self.ctx.artifacts.locate(name))
            manifest = self._manifest(packer)
            packer.add(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        return manifest

    def _table(self, packer: Packer, part: Part, rows: Iterator[Any]) -> None:
        writer, n_rows = RowWriter(part.table), 0
        names_others = any(kind_of(c) == "json" for c in part.table.columns)
        with packer.member(table_path(part.name)) as member:
            for row in rows:
                values = writer.plain(row)
                if part.name == "dataset":
                    _require_read(values)
                self._note_files(part, values)
                line = dump_line(values)
                if names_others:
                    text = line.decode()
                    self.named |= ids_in(text, COMPOUNDS) | ids_in(text, CELL_LINES)
                member.write(line)
                n_rows += 1
                self._done += 1
                if self._done % 500 == 0:
                    self._report(f"writing {part.name}", self._done, max(self._total, self._done))
        self.counts[part.name] = n_rows

    def _note_files(self, part: Part, values: dict[str, Any]) -> None:
        for column in part.heavy:
            if not self.weights:
                values[column] = WITHHELD
        for column in part.files:
            if values[column] not in (None, WITHHELD):
                self.artifacts.add(values[column])
                if column in WITH_ARRAYS:
                    self.artifacts.add(_arrays_of(values[column], self.ctx.artifacts))
                if column in part.indexes:
                    text = self.ctx.artifacts.get(values[column]).decode()
                    self.artifacts.update(names_in(text))

    def _history(self, packer: Packer) -> None:
        writer, n_rows = RowWriter(AuditEvent.__table__), 0
        with packer.member(AUDIT) as member:
            earlier = self.archives.history_of(self.campaign_id)
            if earlier is not None:
                for line in self.ctx.artifacts.get(earlier).splitlines(keepends=True):
                    member.write(line)
                    n_rows += 1
            for row in self.content.events(self.campaign_id, self.named):
                member.write(dump_line(writer.plain(row)))
                n_rows += 1
        self.counts["audit_event"] = n_rows

    def _report(self, stage: str, done: int, total: int) -> None:
        self.ctx.progress(stage, done, total)
        self.ctx.raise_if_stopped()

    def _manifest(self, packer: Packer) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "made": {
                "at": utcnow().isoformat(),
                "by": self.ctx.created_by or self.ctx.job_id,
                "service": version("nextround"),
            },
            "campaign": {"id": self.campaign.id, "name": self.campaign.name},
            "weights": self.weights,
            "content_sha256": content_sha256(packer.files),
            "rows": self.counts,
            "columns": {part.name: described(part.table) for part in PARTS},
            "files": packer.files,
        }


def content_sha256(files: dict[str, dict[str, Any]]) -> str:
    """One hash over all files but the manifest: equal archives have equal ones."""
    lines = [f"{path} {files[path]['sha256']}\n" for path in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _arrays_of(description: str, artifacts: ArtifactStore) -> str:
    return str(json.loads(artifacts.get(description))["arrays"])


def _require_read(dataset: Mapping[str, Any]) -> None:
    """Elsewhere no worker would ever read it."""
    if dataset["state"] == "queued":
        words = f"The data set {dataset['id']} was not read yet: follow its job, then ask again."
        raise JobFailed(problem_dict("conflict", "The campaign cannot be exported", words, 409))
