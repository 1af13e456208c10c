"""Rules of files: kept as they came, looked at, and committed whole or not at all, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from service.assays.files_in import FileError, ReaderFile, TableFile
from service.assays.service import SubmissionService
from service.assays.uploads.committing import commit_plates
from service.assays.uploads.layouts import ToldPlates, plates_told, store_told
from service.assays.uploads.looks import describe
from service.assays.uploads.parsing import (
    Content,
    Decimal,
    ReadFile,
    RunFile,
    as_error,
    load_reader,
    read_file,
)
from service.assays.uploads.plate_files import PlateFiles, PlateWork
from service.assays.uploads.repository import UploadRepository
from service.assays.uploads.schemas import AskedIn, NoteOut, Preview
from service.assays.uploads.tables import Upload
from service.assays.uploads.tables_of_files import FileOfTable, TableReading
from service.campaigns.service import CampaignService
from service.kit.audit.recorder import AuditContext, attach, record
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.jobs import enqueue
from service.kit.problems import Conflict, FieldError, Invalid
from service.kit.unit import Unit
from service.plates.tables import Plate

READ_FILE = "read_file"
KEPT_AS = "bin"
"""Any file may come in: its name and media type are in its row."""
_MOST_ROWS_TOLD = 20


@dataclass(frozen=True)
class Arrived:
    """A file as it came, and how it is to be read."""

    file_name: str
    media_type: str
    sha256: str
    content: bytes
    as_format: str | None
    decimal: Decimal
    asked: AskedIn
    at_once: bool

    def said(self) -> dict[str, Any]:
        """How to read it, as it is kept."""
        own = {"format": self.as_format, "decimal": self.decimal, "commit": self.at_once}
        return {**own, "asked": self.asked.model_dump(exclude_unset=True)}


@dataclass
class Looked:
    """What a look at a file found."""

    preview: Preview
    content: Content
    asked: AskedIn
    plates: list[PlateWork]
    told: list[Plate] = field(default_factory=list)
    """Plates that the file itself tells us of, and nobody has stored."""


class UploadService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.uploads = UploadRepository(unit.session, unit.principal)

    def take(self, campaign_id: str, file: Arrived) -> tuple[Upload, str]:
        """Keep a file and look at it; with ``commit`` also commit it where nothing is open.

        Returns the upload and ``stored`` or ``existing``. The same bytes change nothing, but for
        a file that was refused before or waits to be committed.
        """
        known = self._reading(lambda service: service._known(campaign_id, file.sha256))
        if known is not None and known[1] in ("queued", "committed"):
            return self.uploads.get(known[0]), "existing"
        if known is not None and known[1] == "parsed" and not file.at_once:
            return self.uploads.get(known[0]), "existing"
        try:
            found = read_file(file.file_name, file.content, file.as_format, file.decimal)
        except FileError as error:
            self._refuse(campaign_id, file, error)
        looked = None
        if found.content is not None:
            looked = self._look(campaign_id, found.content, file.file_name, file.asked)
        self.campaigns.require_not_closed(self.campaigns.campaigns.hold(campaign_id))
        upload, outcome = self._keep(campaign_id, file, found)
        if outcome == "raced":
            return upload, "existing"
        if looked is None:
            self._queue(upload)
        else:
            self.settle(upload, looked, file.content, commit=file.at_once)
        return upload, outcome

    def confirm(self, upload_id: str, body: AskedIn, *, dry_run: bool) -> tuple[Upload, Preview]:
        """Take what the file says into the campaign; refused with all that stands in the way."""

        def look(service: UploadService) -> tuple[Looked, bytes]:
            upload = service.uploads.get(upload_id)
            service._require_waiting(upload)
            content = service.unit.parts.artifacts.get(upload.original)
            said = {**upload.asked["asked"], **body.model_dump(exclude_unset=True)}
            asked = AskedIn.model_validate(said)
            parsed = service.content_of(upload, content)
            return service._look_at(upload.campaign_id, parsed, upload.file_name, asked), content

        looked, content = self._reading(look)
        upload = self.uploads.get(upload_id)
        if dry_run:
            return upload, looked.preview
        self.campaigns.require_not_closed(self.campaigns.campaigns.hold(upload.campaign_id))
        self.session.refresh(upload)
        self._require_waiting(upload)
        refuse_open(looked.preview)
        upload.preview = looked.preview.model_dump(mode="json")
        self._commit(upload, looked, content)
        return upload, looked.preview

    def settle(self, upload: Upload, looked: Looked, content: bytes, *, commit: bool) -> None:
        """Note what a look found, and commit where that is wished and nothing is open."""
        upload.state = "parsed"
        upload.preview = looked.preview.model_dump(mode="json")
        self.session.flush()
        if commit and not looked.preview.open:
            self._commit(upload, looked, content)

    def content_of(self, upload: Upload, original: bytes) -> Content:
        """What the file says, read again; what a worker read is not read twice."""
        if upload.parsed is not None:
            return load_reader(self.unit.parts.artifacts.get(upload.parsed))
        said = upload.asked
        found = read_file(upload.file_name, original, said["format"], said["decimal"])
        if found.content is None:
            raise Conflict(f"{upload.id} is still to be read by a worker.")
        return found.content

    def look_at(self, upload: Upload, content: Content) -> Looked:
        """A look at what a worker has read, as it was asked for with the file."""
        asked = AskedIn.model_validate(upload.asked["asked"])
        return self._look_at(upload.campaign_id, content, upload.file_name, asked)

    def _reading(self, work: Callable[[UploadService], Any]) -> Any:
        """``work`` on a connection of its own: SQLite has one write lock for everybody, and
        reading a file must not hold it."""
        with self.unit.parts.database.reading() as session:
            return work(UploadService(replace(self.unit, session=session)))

    def _known(self, campaign_id: str, sha256: str) -> tuple[str, str] | None:
        campaign = self.campaigns.campaigns.get(campaign_id)
        self.campaigns.require_not_closed(campaign)
        known = self.uploads.with_content(campaign.id, sha256)
        return None if known is None else (known.id, known.state)

    def _look(self, campaign_id: str, content: Content, name: str, asked: AskedIn) -> Looked:
        looked: Looked = self._reading(
            lambda service: service._look_at(campaign_id, content, name, asked)
        )
        return looked

    def _look_at(self, campaign_id: str, content: Content, name: str, asked: AskedIn) -> Looked:
        if isinstance(content, RunFile):
            told = plates_told(self.unit, campaign_id, content.layout)
            looked = self._look_at_plates(campaign_id, content.reader, name, asked, told)
            looked.preview.kind = "reader" if content.reader.plates else "layout"
            looked.preview.layouts = told.looks
            looked.preview.notes += content.layout.notes
            looked.preview.problems += told.problems
            return looked
        if isinstance(content, ReaderFile):
            return self._look_at_plates(campaign_id, content, name, asked, ToldPlates())
        reading = TableReading(content, asked)
        problems = self._table_problems(campaign_id, reading)
        problems += _unused(asked, ("barcode", "plates", "time_zero"), "reader files")
        empty = sum(row.value is None for row in content.rows)
        if empty:
            message = f"{empty} of {len(content.rows)} rows have no value and do not count."
            problems.append(NoteOut(code="no_value", message=message, blocking=False))
        preview = Preview(
            kind="table", notes=list(content.notes), table=reading.look(), problems=problems
        )
        return Looked(preview, content, asked, [])

    def _look_at_plates(
        self, campaign_id: str, file: ReaderFile, name: str, asked: AskedIn, told: ToldPlates
    ) -> Looked:
        files = PlateFiles(self.unit, campaign_id, told.new)
        works = files.look(file, name, asked)
        preview = Preview(
            kind="reader",
            instrument=file.instrument,
            notes=list(file.notes),
            plates=[describe(work, asked.rule) for work in works],
            problems=[*files.notes, *_unused(asked, ("quantity", "unit", "cell_line"), "tables")],
        )
        if works and all(work.choice.skip for work in works):
            note = NoteOut(code="nothing", message="Every plate is skipped.", blocking=True)
            preview.problems.append(note)
        return Looked(preview, file, asked, works, list(told.new.values()))

    def _table_problems(self, campaign_id: str, reading: TableReading) -> list[NoteOut]:
        """What an ordinary submission of this table would be told."""
        table = reading.as_table(FileOfTable("", "", 0, KEPT_AS, bytes), "")
        try:
            SubmissionService(self.unit).check(campaign_id, table)
        except Invalid as problem:
            told = [
                NoteOut(code=each.code, message=each.message, blocking=True, row=each.row)
                for each in problem.errors[:_MOST_ROWS_TOLD]
            ]
            more = problem.error_count - len(told)
            if more > 0:
                message = f"There are {more} more problems in the table."
                told.append(NoteOut(code="more", message=message, blocking=True))
            return told
        return []

    def _keep(self, campaign_id: str, file: Arrived, found: ReadFile | None) -> tuple[Upload, str]:
        """The file's row, new or as it is known."""
        upload = self.uploads.with_content(campaign_id, file.sha256)
        outcome = "existing"
        if upload is None:
            upload, outcome = self._new(campaign_id, file), "stored"
        elif found is None or upload.state in ("queued", "committed"):
            return upload, "raced"
        if found is not None:
            upload.asked = file.said()
            upload.state, upload.format, upload.why = "parsed", found.format, found.why
        self.session.flush()
        return upload, outcome

    def _new(self, campaign_id: str, file: Arrived) -> Upload:
        upload = Upload(
            id=new_id("upl"),
            campaign_id=campaign_id,
            file_name=file.file_name,
            media_type=file.media_type,
            sha256=file.sha256,
            original=self.unit.parts.artifacts.put(file.content, KEPT_AS),
            n_bytes=len(file.content),
            state="refused",
            asked=file.said(),
            preview=Preview().model_dump(mode="json"),
            created_by=self.unit.principal.actor,
        )
        return self.uploads.add(upload)

    def _queue(self, upload: Upload) -> None:
        """Have a worker read the file: its parser takes seconds to load."""
        job = enqueue(
            self.session,
            workspace_id=self.unit.principal.workspace_id,
            kind=READ_FILE,
            args={"upload_id": upload.id},
            campaign_id=upload.campaign_id,
            created_by=self.unit.principal.actor,
        )
        upload.state, upload.job_id = "queued", job.id
        new = {"kind": READ_FILE, "campaign_id": upload.campaign_id, "upload_id": upload.id}
        record(self.session, "job.requested", "job", job.id, new=new)
        self.session.flush()

    def _refuse(self, campaign_id: str, file: Arrived, error: FileError) -> NoReturn:
        """Keep the original and why it was refused, and answer that nothing else was stored."""
        # The answer is an error, so the request's own transaction stores nothing.
        self.session.rollback()
        wrong = as_error(error)
        with self.unit.parts.database.writing() as session:
            attach(session, AuditContext(self.unit.principal, self.unit.request_id))
            service = UploadService(replace(self.unit, session=session))
            upload, outcome = service._keep(campaign_id, file, None)
            identifier = upload.id
            if outcome == "stored":
                service.mark_refused(upload, error.format, wrong)
        raise Invalid(
            f"{wrong.message} Nothing of it was stored but the original, as {identifier}.",
            errors=[wrong],
        )

    def mark_refused(self, upload: Upload, format_name: str | None, wrong: FieldError) -> None:
        """Note why a file is not taken."""
        note = NoteOut(code=wrong.code, message=wrong.message, blocking=True, row=wrong.row)
        upload.state, upload.format = "refused", format_name
        upload.preview = Preview(problems=[note]).model_dump(mode="json")
        self.session.flush()

    def _require_waiting(self, upload: Upload) -> None:
        if upload.state != "parsed":
            words = {
                "committed": f"was committed, as {upload.submission_id or 'plates'}",
                "queued": "is still being read by a worker",
                "refused": "could not be read; upload a file that can",
            }
            raise Conflict(f"{upload.id} {words[upload.state]}.")

    def _commit(self, upload: Upload, looked: Looked, content: bytes) -> None:
        file = FileOfTable(
            upload.media_type, upload.sha256, upload.n_bytes, KEPT_AS, lambda: content
        )
        store_told(self.unit, looked.told)
        submission_id: str | None = None
        if not isinstance(looked.content, TableFile):
            if looked.plates:
                submission_id = commit_plates(self.unit, upload, looked.plates, looked.asked, file)
        else:
            note = f"From {upload.file_name} ({upload.format}), {upload.id}."
            table = TableReading(looked.content, looked.asked).as_table(file, note)
            service = SubmissionService(self.unit)
            submission, outcome = service.submit(upload.campaign_id, table, dry_run=False)
            if outcome != "stored":
                raise Conflict(f"These very bytes were submitted before, as {submission.id}.")
            submission_id = submission.id
        upload.submission_id, upload.state = submission_id, "committed"
        upload.committed_by, upload.committed_at = self.unit.principal.actor, utcnow()
        self.session.flush()


def _unused(asked: AskedIn, names: Sequence[str], what: str) -> list[NoteOut]:
    """What was said and means nothing for such a file."""
    said = [name for name in names if getattr(asked, name)]
    return [
        NoteOut(code="not_used", message=f"{name} is for {what}; it was not used.", blocking=False)
        for name in said
    ]


def refuse_open(preview: Preview) -> None:
    """Raise with everything that stands in the way of a commit."""
    listed = [
        FieldError(code=note.code, message=note.message, row=note.row, pointer=pointer)
        for pointer, note in _places(preview)
        if note.blocking
    ]
    if listed:
        more = f" ({len(listed) - 1} more below)" if len(listed) > 1 else ""
        raise Invalid(f"Nothing was committed. {listed[0].message}{more}", errors=listed)


def _places(preview: Preview) -> list[tuple[str | None, NoteOut]]:
    found: list[tuple[str | None, NoteOut]] = [(None, note) for note in preview.problems]
    for plate in preview.plates:
        if not plate.skip:
            found += [(f"/plates/{plate.index}", note) for note in plate.problems]
    return found
