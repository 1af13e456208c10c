"""Plates that a file tells us of: manifests with templates, designs. Names become ids here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.assays.files_in import LayoutFile, LayoutWell, PlateLayout
from service.assays.uploads.schemas import LayoutLookOut, NoteOut
from service.campaigns.service import CampaignService
from service.kit.names import NameDirectory
from service.kit.unit import Unit
from service.plates.geometry import FORMATS
from service.plates.labware import VEHICLE
from service.plates.plate_map import Content, PlateMap, Role, Well, empty_plate
from service.plates.repository import PlateRepository
from service.plates.service import plate_row
from service.plates.tables import Plate

_ROLES = {
    "vehicle": Role.VEHICLE,
    "control": Role.VEHICLE,
    "untreated": Role.VEHICLE,
    "negative_control": Role.VEHICLE,
    "positive_control": Role.POSITIVE,
    "positive": Role.POSITIVE,
    "blank": Role.BLANK,
    "background": Role.BLANK,
}
_MOST = 20


@dataclass
class ToldPlates:
    """The plates of a file: those that are new as rows that nobody has stored, and the rest."""

    looks: list[LayoutLookOut] = field(default_factory=list)
    new: dict[str, Plate] = field(default_factory=dict)
    problems: list[NoteOut] = field(default_factory=list)
    n_problems: int = 0

    def note(self, code: str, message: str, row: int | None = None) -> None:
        """Something that stands in the way."""
        self.n_problems += 1
        if len(self.problems) < _MOST:
            note = NoteOut(code=code, message=message, blocking=True, row=row)
            self.problems.append(note)


def plates_told(unit: Unit, campaign_id: str, file: LayoutFile) -> ToldPlates:
    """The plates of ``file`` with compounds and cell lines of the campaign by id."""
    campaigns = CampaignService(unit)
    compounds, lines = campaigns.member_directories(campaigns.campaigns.get(campaign_id))
    told = ToldPlates()
    known = PlateRepository(unit.session, unit.principal)
    for number, layout in enumerate(file.plates, start=1):
        made = _map(number, layout, compounds, lines, told)
        if made is None:
            continue
        row = known.by_barcode(made.barcode)
        same = row is not None and row.campaign_id == campaign_id and row.map == made.to_dict()
        if row is None:
            told.new[made.barcode] = plate_row(made, campaign_id, unit.principal.actor)
        elif not same:
            message = f"There is a plate {made.barcode!r} already, with another map."
            told.note("barcode_taken", message)
        told.looks.append(_look(made, layout, same))
    return told


def _map(
    number: int,
    layout: PlateLayout,
    compounds: NameDirectory,
    lines: NameDirectory,
    told: ToldPlates,
) -> PlateMap | None:
    """The plate with ids, or notes on what is wrong with it."""
    barcode, before = str(layout.barcode), told.n_problems
    if layout.format.size not in FORMATS:
        told.note("format", f"Plate {barcode!r} has {layout.format.size} wells; take 96 to 1536.")
        return None
    line = None if layout.cell_line is None else lines.resolve(layout.cell_line)
    if line is None:
        name = layout.cell_line
        fix = "Add it to the campaign first."
        message = lines.unknown(name, fix) if name else f"Plate {barcode!r} names no cell line."
        told.note("unknown_cell_line", message)
    wells = [_well(well, line, compounds, told) for well in layout.wells]
    if told.n_problems > before:
        return None
    plate = empty_plate(barcode, number, layout.format, 0.0, VEHICLE)
    return plate.changed(well for well in wells if well is not None)


def _well(
    well: LayoutWell, line: str | None, compounds: NameDirectory, told: ToldPlates
) -> Well | None:
    contents = []
    for name, dose in well.components:
        identifier = compounds.resolve(name)
        if identifier is None:
            message = compounds.unknown(name, "Add it to the campaign first.")
            told.note("unknown_compound", message, well.line)
            return None
        contents.append(Content(identifier, dose, dose, 0.0, 0.0))
    role = _role(well)
    if role is None:
        told.note("role", f"Role {well.role!r} is not known; say vehicle or blank.", well.line)
        return None
    ordered = tuple(sorted(contents, key=lambda each: each.compound))
    cells = None if role is Role.BLANK else line
    return Well((well.row, well.column), role, ordered, cells)


def _role(well: LayoutWell) -> Role | None:
    said = "_".join(well.role.lower().replace("-", " ").split())
    if well.components and _ROLES.get(said) is not Role.POSITIVE:
        return Role.SINGLE if len(well.components) == 1 else Role.SAMPLE
    return _ROLES.get(said)


def _look(plate: PlateMap, layout: PlateLayout, known: bool) -> LayoutLookOut:
    roles: Counter[str] = Counter(well.role.value for well in plate.used)
    return LayoutLookOut(
        barcode=plate.barcode,
        format=plate.format.size,
        cell_line=layout.cell_line,
        roles=dict(roles),
        known=known,
    )


def store_told(unit: Unit, rows: Sequence[Plate]) -> None:
    """Take new plates in, as plates that a lab told us of."""
    plates = PlateRepository(unit.session, unit.principal)
    for row in rows:
        plates.add(row)
        unit.session.flush()
