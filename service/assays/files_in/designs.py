"""Designs without readings: datarail (well, agent1, concentration1...) and COMBOCAT meta."""

from __future__ import annotations

import re

from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, is_vehicle, treatment, unit_of
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.results import (
    FormatProof,
    LayoutFile,
    LayoutWell,
    PlateLayout,
    TableFile,
    TableRow,
    smallest_format,
)
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.plates.geometry import parse_well
from service.plates.problems import PlateError

DATARAIL = "datarail"
COMBOCAT = "combocat_meta"
_DESIGN = "write the columns barcode, cell_line, well, agent1, concentration1"
_META = ("drug1_name", "drug1_conc", "drug2_name", "drug2_conc", "units", "filename")


def _names(sheet: Sheet) -> list[str]:
    return [cell.strip().lower() for cell in (sheet.rows[0] if sheet.rows else ())]


def _first(source: Source) -> list[str]:
    if source.kind not in {"text", "workbook", "table"} or not source.sheets:
        return []
    return _names(source.sheets[0])


def recognise_datarail(source: Source) -> Certainty:
    """Columns well, agent1 and concentration1, and no response."""
    names = set(_first(source))
    if {"well", "agent1", "concentration1"} <= names:
        return Certainty(0.95, "has the columns well, agent1 and concentration1")
    return NO


def parse_datarail(source: Source, decimal: Decimal = None) -> LayoutFile:
    """The contents of every plate; doses are micromolar, as datarail writes them."""
    sheet = source.sheets[0]
    names = _names(sheet)
    if len(set(names)) != len(names):
        raise sheet.error(DATARAIL, 0, "two columns have one name", _DESIGN)
    place = {name: index for index, name in enumerate(names)}
    slots = sorted(int(m[1]) for name in names if (m := re.fullmatch(r"agent([1-9])", name)))
    lines = _lines(DATARAIL, sheet)
    doses = [place.get(f"concentration{slot}", -1) for slot in slots]
    if -1 in doses:
        raise sheet.error(DATARAIL, 0, "an agent has no concentration column", _DESIGN)
    numbers = [*doses, place.get("timepoint", -1)]
    maker = ReadingMaker(DATARAIL, (sheet.cell(at, i) for at in lines for i in numbers), decimal)
    plates: dict[str, dict[tuple[int, int], LayoutWell]] = {}
    about: dict[str, tuple[str | None, float | None, int]] = {}
    for at in lines:
        barcode = sheet.cell(at, place["barcode"]) if "barcode" in place else ""
        well = _design_well(sheet, at, place, slots, maker)
        wells = plates.setdefault(barcode, {})
        if (well.row, well.column) in wells:
            raise sheet.error(DATARAIL, at, "this well is there twice", "correct the well")
        wells[well.row, well.column] = well
        _note_plate(sheet, at, place, barcode, about, maker)
    return LayoutFile(
        DATARAIL,
        tuple(_layout(sheet, barcode, wells, about[barcode]) for barcode, wells in plates.items()),
        maker.notes,
    )


def _lines(name: str, sheet: Sheet) -> list[int]:
    lines = [at for at in range(1, len(sheet.rows)) if not sheet.is_empty(at)]
    for at in lines:
        if len(sheet.rows[at]) != len(sheet.rows[0]):
            message = f"this row has {len(sheet.rows[at])} fields, the header {len(sheet.rows[0])}"
            raise sheet.error(name, at, message, "correct the row")
    if not lines:
        raise sheet.error(name, 0, "the table has a header but no rows", "send the whole table")
    return lines


def _design_well(
    sheet: Sheet, at: int, place: dict[str, int], slots: list[int], maker: ReadingMaker
) -> LayoutWell:
    try:
        row, column = parse_well(sheet.cell(at, place["well"]))
    except PlateError as error:
        raise sheet.error(DATARAIL, at, str(error), "correct the well", place["well"]) from None
    parts = []
    for slot in slots:
        agent, dose = place[f"agent{slot}"], place[f"concentration{slot}"]
        name = compound_name(DATARAIL, sheet, at, agent, sheet.cell(at, agent))
        text = sheet.cell(at, dose)
        if not name or is_vehicle(name):
            if text and maker.number(sheet, at, dose, "the dose") != 0:
                raise sheet.error(DATARAIL, at, "a dose without an agent", "name it", agent)
            continue
        number = maker.number(sheet, at, dose, "the dose")
        parts.append((name, dose_um(DATARAIL, sheet, at, dose, number, "uM")))
    components = treatment(DATARAIL, sheet, at, parts)
    role = sheet.cell(at, place["role"]) if "role" in place else ""
    role = role or ("sample" if components else "vehicle")
    return LayoutWell(row, column, components, role, sheet.line(at), place["well"] + 1)


def _note_plate(
    sheet: Sheet,
    at: int,
    place: dict[str, int],
    barcode: str,
    about: dict[str, tuple[str | None, float | None, int]],
    maker: ReadingMaker,
) -> None:
    """Remember the plate's cell line and time point; both must be one for the plate."""
    cell_line = sheet.cell(at, place["cell_line"]) if "cell_line" in place else ""
    time = None
    if "timepoint" in place and sheet.cell(at, place["timepoint"]):
        word = sheet.cell(at, place["timepoint"])
        if not word.startswith("time0"):
            time = maker.number(sheet, at, place["timepoint"], "the time point (hours)")
        else:
            time = 0.0
    known = about.setdefault(barcode, (cell_line or None, time, at))
    if known[:2] != (cell_line or None, time):
        message = f"plate {barcode!r} has two cell lines or time points"
        raise sheet.error(DATARAIL, at, message, "give each plate its own barcode")


def _layout(
    sheet: Sheet,
    barcode: str,
    wells: dict[tuple[int, int], LayoutWell],
    about: tuple[str | None, float | None, int],
) -> PlateLayout:
    rows, columns = (max(at[axis] for at in wells) + 1 for axis in (0, 1))
    plate = smallest_format(rows, columns)
    if plate is None:
        message = "the wells are on no plate of 96, 384 or 1536"
        raise sheet.error(DATARAIL, about[2], message, "correct the well")
    proof: FormatProof = "grid" if len(wells) == plate.size else "wells"
    ordered = tuple(wells[at] for at in sorted(wells))
    return PlateLayout(barcode or None, plate, ordered, about[0], about[1], format_proof=proof)


def recognise_combocat(source: Source) -> Certainty:
    """The columns of a COMBOCAT meta table."""
    if set(_META) <= set(_first(source)):
        return Certainty(0.95, "has the columns of a COMBOCAT meta table")
    return NO


def parse_combocat(source: Source, decimal: Decimal = None) -> TableFile:
    """The dose ladder of each raw file. Which well holds which dose is not in the table."""
    sheet = source.sheets[0]
    names = _names(sheet)
    place = {name: names.index(name) for name in names}
    lines = _lines(COMBOCAT, sheet)
    numbers = [place["drug1_conc"], place["drug2_conc"]]
    maker = ReadingMaker(COMBOCAT, (sheet.cell(at, i) for at in lines for i in numbers), decimal)
    rows = []
    seen: set[tuple[object, ...]] = set()
    for at in lines:
        unit = unit_of(COMBOCAT, sheet, at, place["units"], sheet.cell(at, place["units"]))
        parts = []
        for drug in ("drug1", "drug2"):
            name_at, dose_at = place[f"{drug}_name"], place[f"{drug}_conc"]
            name = compound_name(COMBOCAT, sheet, at, name_at, sheet.cell(at, name_at))
            if not name and not sheet.cell(at, dose_at):
                continue
            number = maker.number(sheet, at, dose_at, "the dose")
            if not name:
                raise sheet.error(COMBOCAT, at, "a dose without a compound", "name it", name_at)
            parts.append((name, dose_um(COMBOCAT, sheet, at, dose_at, number, unit)))
        row = TableRow(
            line=sheet.line(at),
            field=place["drug1_conc"] + 1,
            cell_line=sheet.cell(at, place["sample_name"]) if "sample_name" in place else None,
            components=treatment(COMBOCAT, sheet, at, parts),
            value=None,
            flag="design",
            plate=sheet.cell(at, place["filename"]) or None,
            replicate=sheet.cell(at, place["replicate"]) if "replicate" in place else None,
            block=sheet.cell(at, place["position_id"]) if "position_id" in place else None,
        )
        key = (row.plate, row.components, row.replicate, row.block, row.cell_line)
        if key in seen:
            raise sheet.error(COMBOCAT, at, "this row is there twice", "delete one of the two")
        seen.add(key)
        rows.append(row)
    note = "the table does not say which well holds which dose: a plate map is needed"
    return TableFile(COMBOCAT, tuple(rows), None, "uM", (note, *maker.notes))
