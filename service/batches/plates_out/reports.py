"""Rules of transfer reports: kept byte for byte, and applied together to what was issued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.assays.uploads.plate_quality import PlateQualityService
from service.batches.plates_out.schemas import (
    AppliedReportOut,
    ChangedDoseOut,
    ChangedWellOut,
    TransferReportOut,
)
from service.batches.plates_out.service import PlatesOutService, machines_of
from service.batches.tables import Batch
from service.kit.body import ReceivedBody
from service.kit.ids import new_id
from service.kit.outbox import emit
from service.kit.problems import Conflict, NotFound
from service.kit.unit import Unit
from service.plates.echo_report import EchoReport, Outcome, read_echo_report
from service.plates.naming import names_on
from service.plates.plate_map import PlateMap
from service.plates.reconcile import Applied, Note, apply_report
from service.plates.refusing import in_words, refusing
from service.plates.service import map_of, set_map
from service.plates.tables import Plate, PlateLayout, TransferReport


class TransferReportService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.out = PlatesOutService(unit)
        self.reports = self.out.reports

    def take(self, batch: Batch, received: ReceivedBody, file_name: str | None) -> AppliedReportOut:
        """Keep a report and apply it, with all earlier ones, to the plates as they were issued."""
        self.out.campaigns.campaigns.hold(batch.campaign_id)
        layout = self.out.issued(batch)
        earlier = self.reports.of_layout(layout.id)
        rows = self.out.plates.of_layout(layout.id)
        known = next((each for each in earlier if each.sha256 == received.sha256), None)
        if known is not None:
            return self._answer("existing", known, rows)
        dispenser, _ = machines_of(layout)
        if dispenser.cassettes:
            raise Conflict(
                f"These plates are made by {dispenser.name} from cassettes, which writes no such "
                "report."
            )
        content = received.file.read()
        plan = self.out.plan(layout)
        names = names_on(self.unit, plan.plates)
        with refusing("report", None, names):
            report = read_echo_report(content)
            applied = apply_report(plan, *map(self._read, earlier), report)
        changed = _store_maps(rows, applied, names)
        row = self._keep(layout, received, content, file_name, report)
        row.changes = [each.model_dump() for each in changed]
        self.reports.add(row)
        self.unit.session.flush()
        self._put_right(rows, row)
        emit(self.unit.session, "batch.changed", batch, status=batch.status)
        return self._answer("stored", row, rows)

    def original(self, batch: Batch, report_id: str) -> tuple[TransferReport, bytes]:
        """A report of this batch and its bytes as they came."""
        report = self.reports.get(report_id)
        if self.out.layouts.get(report.layout_id).batch_id != batch.id:
            raise NotFound(f"There is no transfer report {report_id[:60]!r} in this workspace.")
        return report, self.unit.parts.artifacts.get(report.original)

    def _put_right(self, rows: Sequence[Plate], report: TransferReport) -> None:
        """What was read before the report came: failed wells count no more, doses follow."""
        changed = {each["plate_id"] for each in report.changes}
        quality = PlateQualityService(self.unit)
        for row in rows:
            if row.id in changed and row.status == "measured":
                name = report.file_name or "without a name"
                quality.follow_map(row, f"Transfer report {name}, {report.id}")

    def _read(self, report: TransferReport) -> EchoReport:
        return read_echo_report(self.unit.parts.artifacts.get(report.original))

    def _keep(
        self,
        layout: PlateLayout,
        received: ReceivedBody,
        content: bytes,
        file_name: str | None,
        report: EchoReport,
    ) -> TransferReport:
        return TransferReport(
            id=new_id("tfr"),
            layout_id=layout.id,
            file_name=file_name,
            original=self.unit.parts.artifacts.put(content, "csv"),
            sha256=received.sha256,
            n_bytes=received.length,
            run=report.run[:200],
            n_transfers=len(report.transfers),
            n_failed=len(report.of(Outcome.FAILED)),
            created_by=self.unit.principal.actor,
        )

    def _answer(
        self, outcome: str, report: TransferReport, rows: Sequence[Plate]
    ) -> AppliedReportOut:
        return AppliedReportOut.model_validate(
            {
                "outcome": outcome,
                "report": TransferReportOut.model_validate(report),
                "changed": [ChangedWellOut.model_validate(each) for each in report.changes],
                "n_excluded": sum(row.n_excluded for row in rows),
            }
        )


def _store_maps(
    rows: Sequence[Plate], applied: Applied, names: Mapping[str, str]
) -> list[ChangedWellOut]:
    """Put the corrected maps on the plates; every well that is not as it was before."""
    by_barcode = {row.barcode: row for row in rows}
    notes = {(note.barcode, note.well): note for note in applied.notes}
    changed = []
    for plate in applied.plates:
        row, plate = by_barcode[plate.barcode], _in_words(plate, names)
        if plate.to_dict() == row.map:
            continue
        changed += _differences(row, map_of(row), plate, notes, names)
        set_map(row, plate)
    return changed


def _in_words(plate: PlateMap, names: Mapping[str, str]) -> PlateMap:
    """The plate with names in its reasons: people read those in every export."""
    return plate.changed(
        replace(well, excluded=in_words(well.excluded, names))
        for well in plate.wells
        if well.excluded is not None
    )


def _differences(
    row: Plate,
    before: PlateMap,
    after: PlateMap,
    notes: Mapping[tuple[str, str], Note],
    names: Mapping[str, str],
) -> list[ChangedWellOut]:
    found = []
    for old, new in zip(before.wells, after.wells, strict=True):
        if old == new:
            continue
        note = notes.get((row.barcode, new.name))
        found.append(
            ChangedWellOut(
                plate_id=row.id,
                barcode=row.barcode,
                well=new.name,
                excluded=new.excluded,
                text="" if note is None else in_words(note.text, names),
                doses=[ChangedDoseOut.model_validate(each) for each in new.contents],
            )
        )
    return found
