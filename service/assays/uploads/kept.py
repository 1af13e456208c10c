"""Reads of a plate as they were kept."""

from __future__ import annotations

from service.assays.files_in import Reading
from service.assays.uploads.reads import Read
from service.assays.uploads.repository import ReadingRepository
from service.kit.unit import Unit


def kept_reads(unit: Unit, plate_id: str, upload_id: str | None) -> list[Read]:
    """The reads of a plate: those of one file, or of the last file that has any."""
    rows = ReadingRepository(unit.session, unit.principal).of_plate(plate_id)
    files = [row.upload_id for row in rows]
    wanted = upload_id or (max(files) if files else None)
    listed: dict[str, tuple[str | None, list[Reading]]] = {}
    for row in rows:
        if row.upload_id == wanted:
            reading = Reading(row.row, row.column, row.value, row.flag, row.line, row.field)
            listed.setdefault(row.label, (row.unit, []))[1].append(reading)
    return [Read(label, unit_, tuple(readings)) for label, (unit_, readings) in listed.items()]
