"""Plates become measurements: readings kept, results kept, wells stored as one submission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from service.assays.service import RAW, SubmissionService, Table
from service.assays.tables_in import Chunk, Scale
from service.assays.uploads.limits import LimitsService
from service.assays.uploads.plate_files import PlateWork
from service.assays.uploads.repository import (
    FlagRepository,
    PlateResultRepository,
    ReadingRepository,
)
from service.assays.uploads.schemas import AskedIn
from service.assays.uploads.tables import PlateResult, Upload, WellFlag
from service.assays.uploads.tables_of_files import FileOfTable
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.outbox import emit
from service.kit.problems import Conflict
from service.kit.unit import Unit
from service.plates.repository import PlateRepository
from service.plates.tables import Plate

_CHUNK = 2_000


def commit_plates(
    unit: Unit, upload: Upload, works: Sequence[PlateWork], asked: AskedIn, file: FileOfTable
) -> str:
    """Store everything that a reader file says of the plates that are not skipped. Returns the
    id of the submission. What was looked at must still be so."""
    taken = [work for work in works if not work.choice.skip]
    rows = _unchanged(unit, taken)
    if asked.replace_earlier:
        for row in rows:
            _withdraw_earlier(unit, row, upload)
    table = _as_table(taken, upload, asked, file)
    service = SubmissionService(unit)
    submission, outcome = service.submit(upload.campaign_id, table, dry_run=False)
    if outcome != "stored":
        raise Conflict(f"These very bytes were submitted before, as {submission.id}.")
    limits = LimitsService(unit).present()
    for work, row in zip(taken, rows, strict=True):
        for read in work.found.reads:
            ReadingRepository(unit.session, unit.principal).insert(upload.id, row.id, read)
        _flag(unit, work, row)
        _add_result(unit, work, row, upload, submission.id, limits)
        row.status, row.changed_at = "measured", utcnow()
    unit.session.flush()
    return submission.id


def add_result(unit: Unit, **columns: Any) -> PlateResult:
    """A result of a plate, as it was worked out now."""
    result = PlateResult(id=new_id("prs"), created_by=unit.principal.actor, **columns)
    PlateResultRepository(unit.session, unit.principal).add(result)
    unit.session.flush()
    return result


def _unchanged(unit: Unit, taken: Sequence[PlateWork]) -> list[Plate]:
    """The plates' rows of this transaction; refused where somebody changed one meanwhile."""
    plates = PlateRepository(unit.session, unit.principal)
    rows = []
    for work in taken:
        row = plates.get(work.plate.id)
        if row.version != work.plate.version:
            raise Conflict(f"Plate {row.barcode!r} was changed at this moment. Send it again.")
        rows.append(row)
    return rows


def _withdraw_earlier(unit: Unit, row: Plate, upload: Upload) -> None:
    """An earlier read of the plate counts no more; it stays in the record."""
    earlier = PlateResultRepository(unit.session, unit.principal).latest(row.id)
    if earlier is not None:
        service = SubmissionService(unit)
        submission = service.submissions.get(earlier.submission_id)
        reason = f"Plate {row.barcode} was read again: {upload.file_name}, {upload.id}"
        service.revise(submission, row.barcode, (), reason)


def _as_table(
    taken: Sequence[PlateWork], upload: Upload, asked: AskedIn, file: FileOfTable
) -> Table:
    def read() -> Iterator[Chunk]:
        for work in taken:
            for start in range(0, len(work.wells), _CHUNK):
                yield Chunk(work.wells[start : start + _CHUNK])

    barcodes = ", ".join(str(work.barcode) for work in taken[:20])
    units = {work.read.unit for work in taken if work.read is not None and work.read.unit}
    unit = units.pop() if len(units) == 1 else ""
    scale = Scale(RAW, unit[:20] or "reader")  # type: ignore[arg-type]
    return Table(
        media_type=file.media_type,
        content=file.content,
        sha256=file.sha256,
        n_bytes=file.n_bytes,
        read=read,
        scale=lambda: scale,
        ignored_columns=list,
        suffix=file.suffix,
        note=f"Plates {barcodes} by {asked.rule}, from {upload.file_name} ({upload.format}), "
        f"{upload.id}.",
    )


def _flag(unit: Unit, work: PlateWork, row: Plate) -> None:
    flags = FlagRepository(unit.session, unit.principal)
    for at, proposed in sorted(work.flags.items()):
        flag = WellFlag(
            id=new_id("flg"),
            campaign_id=row.campaign_id,
            plate_id=row.id,
            row=at[0],
            column=at[1],
            reason=proposed["words"],
            rule=proposed["rule"],
            created_by=unit.principal.actor,
        )
        flags.add(flag)


def _add_result(
    unit: Unit,
    work: PlateWork,
    row: Plate,
    upload: Upload,
    submission_id: str,
    limits: dict[str, Any],
) -> None:
    judged, read = work.verdict, work.chosen
    result = add_result(
        unit,
        campaign_id=row.campaign_id,
        plate_id=row.id,
        upload_id=upload.id,
        submission_id=submission_id,
        label=read.label,
        rule=judged.rule,
        scale=judged.scale,
        time_zero=work.time_zero,
        verdict=judged.verdict,
        reasons=list(judged.reasons),
        groups=list(judged.groups),
        reference=judged.reference,
        limits=limits,
        n_counted=len(work.wells),
        reason=f"Committed from {upload.file_name}",
    )
    emit(unit.session, "plate.measured", row, verdict=result.verdict, upload_id=upload.id)
