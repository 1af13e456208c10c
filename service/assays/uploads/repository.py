"""SQL of uploads, readings, results, flags and limits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, insert

from service.assays.files_in import Reading
from service.assays.uploads.reads import Read
from service.assays.uploads.tables import (
    PlateReading,
    PlateResult,
    QualityLimits,
    Upload,
    WellFlag,
)
from service.kit.repository import Repository
from service.plates.geometry import WellAt
from service.plates.tables import Plate


class UploadRepository(Repository[Upload]):
    entity = Upload
    noun = "upload"

    def with_content(self, campaign_id: str, sha256: str) -> Upload | None:
        """The upload of these bytes to a campaign."""
        return self.session.scalar(
            self.readable().where(Upload.campaign_id == campaign_id, Upload.sha256 == sha256)
        )

    def listed(self, campaign_id: str | None, state: str | None) -> Select[Upload]:
        """Uploads of a campaign, in a state: of all that is given."""
        statement = self.readable()
        for column, value in ((Upload.campaign_id, campaign_id), (Upload.state, state)):
            if value is not None:
                statement = statement.where(column == value)
        return statement


class PlateBarcodeRepository(Repository[Plate]):
    entity = Plate
    noun = "plate"

    def of_campaign(self, campaign_id: str) -> list[str]:
        """The barcodes of a campaign's plates that are not cancelled."""
        statement = self.columns(Plate.barcode).where(
            Plate.campaign_id == campaign_id, Plate.status != "cancelled"
        )
        return list(self.session.scalars(statement.order_by(Plate.id)))


class ReadingRepository(Repository[PlateReading]):
    entity = PlateReading
    noun = "reading"

    def insert(self, upload_id: str, plate_id: str, read: Read) -> None:
        """All wells of one read."""
        shared = {
            "workspace_id": self.principal.workspace_id,
            "upload_id": upload_id,
            "plate_id": plate_id,
            "label": read.label,
            "unit": None if read.unit is None else read.unit[:40],
        }
        rows = [
            {
                **shared,
                "row": each.row,
                "column": each.column,
                "value": each.value,
                "flag": None if each.flag is None else each.flag[:200],
                "line": each.line,
                "field": each.field,
            }
            for each in read.readings
        ]
        if rows:
            self.session.execute(insert(PlateReading), rows)

    def of_read(self, plate_id: str, upload_id: str, label: str) -> dict[WellAt, Reading]:
        """The wells of one read."""
        statement = self.readable().where(
            PlateReading.plate_id == plate_id,
            PlateReading.upload_id == upload_id,
            PlateReading.label == label,
        )
        return {
            (each.row, each.column): Reading(
                each.row, each.column, each.value, each.flag, each.line, each.field
            )
            for each in self.session.scalars(statement)
        }

    def of_plate(self, plate_id: str) -> list[PlateReading]:
        """Every reading of a plate: files in their order, labels, wells row by row."""
        statement = self.readable().where(PlateReading.plate_id == plate_id)
        return list(
            self.session.scalars(
                statement.order_by(
                    PlateReading.upload_id,
                    PlateReading.label,
                    PlateReading.row,
                    PlateReading.column,
                )
            )
        )

    def summaries(self, plate_id: str) -> list[Any]:
        """(upload, label, unit, wells, numbers, lowest, highest) of every read of a plate."""
        statement = (
            self.columns(
                PlateReading.upload_id,
                PlateReading.label,
                func.max(PlateReading.unit),
                func.count(),
                func.count(PlateReading.value),
                func.min(PlateReading.value),
                func.max(PlateReading.value),
            )
            .where(PlateReading.plate_id == plate_id)
            .group_by(PlateReading.upload_id, PlateReading.label)
            .order_by(PlateReading.upload_id, PlateReading.label)
        )
        return list(self.session.execute(statement))


class PlateResultRepository(Repository[PlateResult]):
    entity = PlateResult
    noun = "plate result"

    def of_plate(self, plate_id: str) -> list[PlateResult]:
        """The results of a plate, oldest first; the last one counts."""
        statement = self.readable().where(PlateResult.plate_id == plate_id)
        return list(self.session.scalars(statement.order_by(PlateResult.id)))

    def latest(self, plate_id: str) -> PlateResult | None:
        """The result of a plate that counts."""
        statement = self.readable().where(PlateResult.plate_id == plate_id)
        return self.session.scalar(statement.order_by(PlateResult.id.desc()).limit(1))

    def of_upload(self, upload_id: str) -> list[PlateResult]:
        """The results that came of an upload, oldest first."""
        statement = self.readable().where(PlateResult.upload_id == upload_id)
        return list(self.session.scalars(statement.order_by(PlateResult.id)))

    def history(self, campaign_id: str, but: str) -> dict[str, list[float]]:
        """The reference pair on the plates of a campaign that passed, by what it is; ``but`` is
        the plate that is to be judged."""
        statement = (
            self.columns(PlateResult.plate_id, PlateResult.verdict, PlateResult.reference)
            .where(PlateResult.campaign_id == campaign_id, PlateResult.plate_id != but)
            .order_by(PlateResult.id)
        )
        latest = {row[0]: (row[1], row[2]) for row in self.session.execute(statement)}
        found: dict[str, list[float]] = {}
        for verdict, reference in latest.values():
            for pair, value in reference.items() if verdict == "pass" else ():
                found.setdefault(pair, []).append(value)
        return found

    def counting(self, campaign_id: str) -> list[Any]:
        """(submission, barcode, groups) of the last result of each plate in each submission."""
        statement = (
            self.columns(PlateResult.submission_id, Plate.barcode, PlateResult.groups)
            .join(Plate, Plate.id == PlateResult.plate_id)
            .where(PlateResult.campaign_id == campaign_id)
            .order_by(PlateResult.id)
        )
        last = {(row[0], row[1]): row for row in self.session.execute(statement)}
        return list(last.values())

    def scales(self, campaign_id: str, but: str) -> set[str]:
        """The scales that a campaign's plates are on, but for one plate: the last result counts."""
        statement = self.columns(PlateResult.plate_id, PlateResult.scale).where(
            PlateResult.campaign_id == campaign_id, PlateResult.plate_id != but
        )
        last = {row[0]: row[1] for row in self.session.execute(statement.order_by(PlateResult.id))}
        return set(last.values())


class FlagRepository(Repository[WellFlag]):
    entity = WellFlag
    noun = "flag"

    def of_plate(self, plate_id: str) -> list[WellFlag]:
        """The flags of a plate, lifted ones included, oldest first."""
        statement = self.readable().where(WellFlag.plate_id == plate_id)
        return list(self.session.scalars(statement.order_by(WellFlag.id)))

    def standing(self, plate_id: str) -> list[WellFlag]:
        """The flags of a plate that were not lifted."""
        return [flag for flag in self.of_plate(plate_id) if flag.lifted_at is None]


class QualityLimitsRepository(Repository[QualityLimits]):
    entity = QualityLimits
    noun = "quality limits"

    def present(self) -> QualityLimits | None:
        """The workspace's limits, if anybody ever changed them."""
        return self.session.scalar(self.readable())
