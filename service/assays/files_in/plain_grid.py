"""Plate grids of numbers and nothing else: 8 x 12, 16 x 24 or 32 x 48, with or without labels.

Several plates may follow one another, divided by blank lines and each with one line of title.
"""

from __future__ import annotations

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import (
    Decimal,
    Grid,
    ReadingMaker,
    column_labels,
    read_bare,
    read_labelled,
)
from service.assays.files_in.results import Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "plate_grid"
_AGAIN = "save the plate as 8 x 12, 16 x 24 or 32 x 48 values, with row letters or without"
_CORNERS = ("", "<>", "well", "row", "Row", "Well")
_SIDES = {12: 8, 24: 16, 48: 32}


def recognise(source: Source) -> Certainty:
    """A grid: column numbers and row letters, or exactly the size of a plate."""
    if source.kind not in {"text", "workbook"}:
        return NO
    for sheet in source.sheets:
        for at in range(min(len(sheet.rows), 5)):
            labelled = column_labels(sheet, at) in _SIDES and sheet.cell(at, 0) in _CORNERS
            if labelled and at + 1 < len(sheet.rows) and sheet.cell(at + 1, 0).isalpha():
                return Certainty(0.6, "has column numbers and row letters of a plate")
        if _is_bare(sheet):
            return Certainty(0.55, "has as many columns as a plate, all of them numbers")
    return NO


def _is_bare(sheet: Sheet) -> bool:
    filled = [row for row in sheet.rows if len(row) > 1]
    if not 4 <= len(filled) <= 200:
        return False
    sizes = {len(row) - (not row[-1].strip()) for row in filled} | {len(row) for row in filled}
    texts = [cell for row in filled for cell in row if cell.strip()]
    numeric = sum(text.strip()[:1] in set("+-.0123456789") for text in texts)
    return bool(sizes & set(_SIDES)) and numeric > 0.9 * len(texts)


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every grid of every sheet. Raises :class:`FileError`."""
    found = [
        (sheet, title, grid)
        for sheet in source.sheets
        if any(not sheet.is_empty(at) for at in range(len(sheet.rows)))
        for title, grid in _grids(sheet)
    ]
    maker = ReadingMaker(NAME, [c.text for _, _, grid in found for c in grid.cells], decimal)
    stem = source.name.rsplit(".", 1)[0]
    single = len(found) == 1
    plates = []
    for number, (sheet, title, grid) in enumerate(found, 1):
        name = title or sheet.name or (stem if single else f"{stem} {number}")
        ids = (title, sheet.name, stem if single else None)
        plates.append(
            ReaderPlate(
                barcode=None,
                plate_name=name,
                format=grid.format,
                readings=maker.readings(sheet, grid.cells),
                measurement=Measurement("plate grid"),
                identifiers=tuple(dict.fromkeys(text for text in ids if text)),
                sheet=sheet.name,
            )
        )
    notes = [f"grid {i} {grid.partial}" for i, (_, _, grid) in enumerate(found, 1) if grid.partial]
    return ReaderFile(NAME, None, check_plates(NAME, plates), (*notes, *maker.notes))


def _grids(sheet: Sheet) -> list[tuple[str | None, Grid]]:
    """The titled grids of a sheet; every row must belong to one."""
    grids: list[tuple[str | None, Grid]] = []
    at = 0
    while at < len(sheet.rows):
        if sheet.is_blank(at):
            at += 1
            continue
        title = None
        if sum(bool(cell.strip()) for cell in sheet.rows[at]) == 1 and sheet.cell(at, 0):
            title = sheet.cell(at, 0)
            at += 1
            while at < len(sheet.rows) and sheet.is_blank(at):
                at += 1
        if at >= len(sheet.rows):
            raise sheet.error(NAME, at - 1, f"no grid follows the title {title!r}", _AGAIN)
        grid = _grid(sheet, at)
        grids.append((title, grid))
        at = grid.next
    return grids


def _grid(sheet: Sheet, at: int) -> Grid:
    if column_labels(sheet, at) in _SIDES and sheet.cell(at, 0) in _CORNERS:
        return read_labelled(NAME, sheet, at, corner=_CORNERS)
    end = at
    while end < len(sheet.rows) and not sheet.is_blank(end):
        end += 1
    if sheet.name is not None and end - at not in _SIDES.values():
        rows = len(sheet.rows) - at  # a workbook's grid may hold empty rows
        end = at + rows if rows in _SIDES.values() else end
    return read_bare(NAME, sheet, at, end)
