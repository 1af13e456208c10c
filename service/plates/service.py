"""Rules of plates: what they look like from outside, and plates that a lab tells us about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.campaigns.repository import CampaignRepository
from service.campaigns.service import CampaignService
from service.campaigns.tables import Campaign
from service.kit.database import utcnow
from service.kit.ids import new_id
from service.kit.problems import Conflict
from service.kit.unit import Unit
from service.plates.exports.plate_csv import grid_csv, long_csv
from service.plates.exports.printable import printable_html
from service.plates.naming import compound_directory, names_on, with_line_names
from service.plates.plate_map import PlateMap, Well
from service.plates.repository import PlateRepository
from service.plates.schemas import ContentOut, PlateOut, PlateSummaryOut, WellOut
from service.plates.submitted import read_plate_maps
from service.plates.tables import Plate


class PlateService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.plates = PlateRepository(unit.session, unit.principal)
        self.campaigns = CampaignRepository(unit.session, unit.principal)

    def submit(
        self, campaign: Campaign, content: bytes, size: int | None
    ) -> tuple[list[Plate], list[Plate]]:
        """Plates that somebody else laid out: (created, known before with the same map)."""
        campaigns = CampaignService(self.unit)
        campaigns.require_not_closed(campaign)
        _, lines = campaigns.member_directories(campaign)
        members = {member[0] for member in campaigns.compounds.members(campaign.id)}
        maps = read_plate_maps(content, size, compound_directory(self.unit), members, lines)
        known = {row.barcode: row for row in self.plates.with_barcodes(m.barcode for m in maps)}
        created, existing = [], []
        for plate in maps:
            row = known.get(plate.barcode)
            if row is None:
                created.append(self._add(campaign, plate))
            else:
                _require_same(row, campaign, plate)
                existing.append(row)
        self.unit.session.flush()
        return created, existing

    def _add(self, campaign: Campaign, plate: PlateMap) -> Plate:
        row = plate_row(plate, campaign.id, self.unit.principal.actor)
        self.plates.add(row)
        self.unit.session.flush()
        return row

    def map_csv(self, plates: Sequence[Plate]) -> str:
        """A line a well, with names."""
        maps, names = self._readable(plates)
        return long_csv(maps, names)

    def grid_csv(self, plate: Plate, show: str) -> str:
        """The plate as it lies on the bench."""
        (readable,), names = self._readable([plate])
        return grid_csv(readable, show, names)

    def page(self, plates: Sequence[Plate]) -> str:
        """A page a plate, to be printed."""
        maps, names = self._readable(plates)
        campaign = self.campaigns.get(plates[0].campaign_id)
        return printable_html(maps, campaign.name, names)

    def _readable(self, plates: Sequence[Plate]) -> tuple[list[PlateMap], dict[str, str]]:
        maps = [map_of(plate) for plate in plates]
        names = names_on(self.unit, maps)
        return [with_line_names(each, names) for each in maps], names


def map_of(row: Plate) -> PlateMap:
    """What is in every well of a plate now; compounds, cell lines and batch items by id."""
    return PlateMap.from_dict(row.map)


def plate_row(plate: PlateMap, campaign_id: str, actor: str) -> Plate:
    """A new row for a plate: a submitted one, unless the caller says more."""
    row = Plate(
        id=new_id("plt"),
        campaign_id=campaign_id,
        number=plate.number,
        barcode=plate.barcode,
        wells=plate.format.size,
        origin="submitted",
        replicate=_replicate(plate),
        cell_line_ids=list(plate.cell_lines),
        n_wells=len(plate.used),
        created_by=actor,
    )
    set_map(row, plate)
    return row


def set_map(row: Plate, plate: PlateMap) -> None:
    """Put another map on a plate."""
    row.map = plate.to_dict()
    row.n_excluded = sum(well.excluded is not None for well in plate.wells)
    row.changed_at = utcnow()


def summarise(row: Plate) -> PlateSummaryOut:
    """What the outside sees of a plate in a list."""
    return PlateSummaryOut(**_shared(row))


def describe(row: Plate) -> PlateOut:
    """What the outside sees of a plate and its wells."""
    return PlateOut(**_shared(row), wells=[_describe_well(well) for well in map_of(row).used])


def _shared(row: Plate) -> dict[str, Any]:
    own = set(PlateSummaryOut.model_fields) - {"format", "cell_lines"}
    found = {name: getattr(row, name) for name in own}
    return {**found, "format": row.wells, "cell_lines": row.cell_line_ids}


def _describe_well(well: Well) -> WellOut:
    same = ("cell_line", "block", "replicate", "vehicle_nl", "excluded")
    return WellOut(
        **{name: getattr(well, name) for name in same},
        well=well.name,
        role=well.role.value,
        contents=[ContentOut.model_validate(each) for each in well.contents],
    )


def _replicate(plate: PlateMap) -> int | None:
    found = {well.replicate for well in plate.wells} - {None}
    return found.pop() if len(found) == 1 else None


def _require_same(row: Plate, campaign: Campaign, plate: PlateMap) -> None:
    if row.campaign_id == campaign.id and row.map == plate.to_dict():
        return
    where = "in this campaign" if row.campaign_id == campaign.id else "in another campaign"
    raise Conflict(
        f"There is a plate {plate.barcode!r} {where} already, with another map. A barcode is never "
        "used twice; give the plate another one."
    )
