"""SQL of plates, layouts, transfer reports, labware and stocks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Select, func
from sqlalchemy.orm import undefer

from service.campaigns.tables import CampaignCompound
from service.kit.repository import Repository, in_chunks
from service.plates.tables import (
    CampaignDispensing,
    LabwareTable,
    Plate,
    PlateLayout,
    StockTable,
    TransferReport,
)


class PlateRepository(Repository[Plate]):
    entity = Plate
    noun = "plate"

    def by_barcode(self, barcode: str) -> Plate | None:
        """The plate with exactly this barcode, cancelled or not."""
        return self.session.scalar(self.readable().where(Plate.barcode == barcode))

    def taken(self, barcodes: Iterable[str]) -> set[str]:
        """Those of ``barcodes`` that some plate of the workspace has."""
        found: set[str] = set()
        for chunk in in_chunks(barcodes):
            found |= set(
                self.session.scalars(self.columns(Plate.barcode).where(Plate.barcode.in_(chunk)))
            )
        return found

    def with_barcodes(self, barcodes: Iterable[str]) -> list[Plate]:
        """The plates with these barcodes, maps included."""
        found: list[Plate] = []
        for chunk in in_chunks(barcodes):
            statement = self.readable().where(Plate.barcode.in_(chunk)).options(undefer(Plate.map))
            found += self.session.scalars(statement.order_by(Plate.id))
        return found

    def listed(
        self, campaign_id: str | None, batch_id: str | None, barcode: str | None
    ) -> Select[Plate]:
        """Plates of a campaign, of a batch, with a barcode: of all that is given."""
        statement = self.readable()
        for column, value in (
            (Plate.campaign_id, campaign_id),
            (Plate.batch_id, batch_id),
            (Plate.barcode, barcode),
        ):
            if value is not None:
                statement = statement.where(column == value)
        return statement

    def of_batch(self, batch_id: str) -> list[Plate]:
        """The plates of a batch that are not cancelled, by number, maps included."""
        return self._kept(Plate.batch_id == batch_id)

    def of_layout(self, layout_id: str) -> list[Plate]:
        """The plates of a layout by number, maps included."""
        statement = self.readable().where(Plate.layout_id == layout_id)
        return list(
            self.session.scalars(statement.options(undefer(Plate.map)).order_by(Plate.number))
        )

    def of_campaign(self, campaign_id: str) -> list[Plate]:
        """The plates of a campaign that are not cancelled, oldest first, maps included."""
        return self._kept(Plate.campaign_id == campaign_id)

    def on_layouts(self) -> list[tuple[str, str, str, datetime]]:
        """Layout, barcode, status and last change of every issued plate that is not cancelled."""
        columns = (Plate.layout_id, Plate.barcode, Plate.status, Plate.changed_at)
        kept = (Plate.origin == "issued", Plate.status != "cancelled")
        rows = self.session.execute(self.columns(*columns).where(*kept).order_by(Plate.id))
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def _kept(self, condition: object) -> list[Plate]:
        statement = self.readable().where(condition, Plate.status != "cancelled")  # type: ignore[arg-type]
        # Plates of one layout are made in the order of their numbers.
        return list(self.session.scalars(statement.options(undefer(Plate.map)).order_by(Plate.id)))


class PlateLayoutRepository(Repository[PlateLayout]):
    entity = PlateLayout
    noun = "plate layout"

    def issued(self, batch_id: str) -> PlateLayout | None:
        """The layout of a batch that is not cancelled."""
        return self.session.scalar(
            self.readable().where(PlateLayout.batch_id == batch_id, PlateLayout.status == "issued")
        )


class TransferReportRepository(Repository[TransferReport]):
    entity = TransferReport
    noun = "transfer report"

    def of_layout(self, layout_id: str) -> list[TransferReport]:
        """The reports on a layout, oldest first."""
        statement = self.readable().where(TransferReport.layout_id == layout_id)
        return list(self.session.scalars(statement.order_by(TransferReport.id)))

    def last_by_layout(self) -> dict[str, datetime]:
        """When the last report on each layout came."""
        last = self.columns(TransferReport.layout_id, func.max(TransferReport.created_at))
        rows = self.session.execute(last.group_by(TransferReport.layout_id))
        return {row[0]: row[1] for row in rows}


class DispensingRepository(Repository[CampaignDispensing]):
    entity = CampaignDispensing
    noun = "dispensing of the campaign"

    def of_campaign(self, campaign_id: str) -> CampaignDispensing | None:
        """By what a campaign's doses were snapped, if they were."""
        return self.session.scalar(
            self.readable().where(CampaignDispensing.campaign_id == campaign_id)
        )


class CampaignDoseRepository(Repository[CampaignCompound]):
    entity = CampaignCompound
    noun = "compound of the campaign"

    def of_campaign(self, campaign_id: str) -> list[CampaignCompound]:
        """The compounds of a campaign as rows, whose doses may change."""
        statement = self.readable().where(CampaignCompound.campaign_id == campaign_id)
        return list(self.session.scalars(statement.order_by(CampaignCompound.compound_id)))


class LabwareRepository(Repository[LabwareTable]):
    entity = LabwareTable
    noun = "labware table"

    def present(self) -> LabwareTable | None:
        """The workspace's table, if it was ever edited."""
        return self.session.scalar(self.readable())


class StockRepository(Repository[StockTable]):
    entity = StockTable
    noun = "stock table"

    def present(self) -> StockTable | None:
        """The workspace's stocks, if any were ever given."""
        return self.session.scalar(self.readable())

    def hold(self) -> None:
        """Until the transaction ends nobody else plans with the stocks, nor changes them."""
        self.session.scalar(
            self.readable().with_for_update().execution_options(populate_existing=True)
        )
