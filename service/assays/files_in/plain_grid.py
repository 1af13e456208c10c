"""Plate grids of numbers and nothing else: 8 x 12, 16 x 24 or 32 x 48, with or without labels.

Several plates may follow one another, divided by blank lines and each with one line of title, or
lines of a key and its value (``Barcode,X``), above it.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import (
    Decimal,
    Grid,
    ReadingMaker,
    column_labels,
    read_bare,
    read_labelled,
)
from service.assays.files_in.numbers import flag_of
from service.assays.files_in.preamble import Preamble, grid_start, key_and_value, read_preamble
from service.assays.files_in.problems import shorten
from service.assays.files_in.results import Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "plate_grid"
_AGAIN = "save the plate as 8 x 12, 16 x 24 or 32 x 48 values, with row letters or without"
_CORNERS = ("", "<>", "well", "row", "Row", "Well")
_SIDES = {12: 8, 24: 16, 48: 32}
_MOST_ABOVE = 40


@dataclass(frozen=True)
class _Found:
    """A grid and what stands above it."""

    sheet: Sheet
    title: str | None
    above: Preamble | None
    grid: Grid


def recognise(source: Source) -> Certainty:
    """A grid: column numbers and row letters, or exactly the size of a plate."""
    if source.kind not in {"text", "workbook"}:
        return NO
    for sheet in source.sheets:
        above = 0  # lines of a key and its value, which do not count
        for at in range(len(sheet.rows)):
            above += key_and_value(sheet, at) is not None
            if at - above >= 5 or above > _MOST_ABOVE:
                break
            labelled = column_labels(sheet, at) in _SIDES and sheet.cell(at, 0) in _CORNERS
            if labelled and at + 1 < len(sheet.rows) and sheet.cell(at + 1, 0).isalpha():
                return Certainty(0.6, "has column numbers and row letters of a plate")
        if _is_bare(sheet):
            return Certainty(0.55, "has as many columns as a plate, all of them numbers")
    return NO


def _is_bare(sheet: Sheet) -> bool:
    filled = [
        row
        for at, row in enumerate(sheet.rows)
        if len(row) > 1 and key_and_value(sheet, at) is None
    ]
    if not 4 <= len(filled) <= 200:
        return False
    sizes = {len(row) - (not row[-1].strip()) for row in filled} | {len(row) for row in filled}
    texts = [cell for row in filled for cell in row if cell.strip()]
    numeric = sum(text.strip()[:1] in set("+-.0123456789") for text in texts)
    return bool(sizes & set(_SIDES)) and numeric > 0.9 * len(texts)


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every grid of every sheet. Raises :class:`FileError`."""
    found = [
        each
        for sheet in source.sheets
        if any(not sheet.is_empty(at) for at in range(len(sheet.rows)))
        for each in _grids(sheet)
    ]
    maker = ReadingMaker(NAME, [c.text for each in found for c in each.grid.cells], decimal)
    stem = source.name.rsplit(".", 1)[0]
    single = len(found) == 1
    plates = []
    for number, each in enumerate(found, 1):
        sheet, grid = each.sheet, each.grid
        barcode = None if each.above is None else each.above.barcode
        title = each.title or (None if each.above is None else each.above.name)
        ids = (barcode, title) if barcode else (title, sheet.name, stem if single else None)
        plates.append(
            ReaderPlate(
                barcode=barcode,
                plate_name=title
                or barcode
                or sheet.name
                or (stem if single else f"{stem} {number}"),
                format=grid.format,
                readings=maker.readings(sheet, grid.cells),
                measurement=Measurement("plate grid"),
                identifiers=tuple(dict.fromkeys(text for text in ids if text)),
                sheet=sheet.name,
            )
        )
    return ReaderFile(NAME, None, check_plates(NAME, plates), (*_notes(found), *maker.notes))


def _notes(found: list[_Found]) -> list[str]:
    notes = []
    for number, each in enumerate(found, 1):
        if each.grid.partial:
            notes.append(f"grid {number} {each.grid.partial}")
        others = () if each.above is None else each.above.others
        notes += [f"{key[:60]}: {value[:100]} left aside" for key, value in others]
    return notes


def _grids(sheet: Sheet) -> list[_Found]:
    """The grids of a sheet with what is above them; every row must belong to one."""
    grids: list[_Found] = []
    at = 0
    while at < len(sheet.rows):
        if sheet.is_blank(at):
            at += 1
            continue
        title, above, start = _heading(sheet, at)
        if start >= len(sheet.rows):
            name = shorten(sheet.cell(at, 0))
            message = f"no grid follows {'the title ' if above is None else ''}{name}"
            raise sheet.error(NAME, at, message, _AGAIN)
        grid = _grid(sheet, start)
        if above is not None and above.wells not in {None, grid.format.size}:
            message = f"the grid has {grid.format.size} wells, the lines above say {above.wells}"
            raise sheet.error(NAME, start, message, _AGAIN)
        grids.append(_Found(sheet, title, above, grid))
        at = grid.next
    return grids


def _heading(sheet: Sheet, at: int) -> tuple[str | None, Preamble | None, int]:
    """Title and pairs above a grid, in either order, and the row where the grid begins."""
    title: str | None = None
    above: Preamble | None = None
    while at < len(sheet.rows):
        pairs = read_preamble(NAME, sheet, at) if above is None else None
        alone = sum(bool(cell.strip()) for cell in sheet.rows[at]) == 1 and sheet.cell(at, 0)
        if pairs is not None:
            above, at = pairs, grid_start(sheet, pairs.next, set(_SIDES.values()))
        elif title is None and alone:
            title, at = alone, at + 1
            while at < len(sheet.rows) and sheet.is_blank(at):
                at += 1
        else:
            break
    return title, above, at


def _grid(sheet: Sheet, at: int) -> Grid:
    if column_labels(sheet, at) in _SIDES and sheet.cell(at, 0) in _CORNERS:
        return read_labelled(NAME, sheet, at, corner=_CORNERS)
    _require_numbers(sheet, at)
    end = at
    while end < len(sheet.rows) and not sheet.is_blank(end):
        end += 1
    if sheet.name is not None and end - at not in _SIDES.values():
        rows = len(sheet.rows) - at  # a workbook's grid may hold empty rows
        end = at + rows if rows in _SIDES.values() else end
    return read_bare(NAME, sheet, at, end)


def _require_numbers(sheet: Sheet, at: int) -> None:
    """Refuse words where a grid should begin, before its rows are counted."""
    texts = [cell.strip() for cell in sheet.rows[at] if cell.strip()]
    words = [text for text in texts if text[0] not in "+-.0123456789" and flag_of(text) is None]
    if len(words) * 2 > len(texts):
        message = f"{shorten(', '.join(texts))} is neither a row of a plate nor a line above one"
        fix = "above a grid stand one title and lines of a key and its value, nothing else"
        raise sheet.error(NAME, at, message, fix)
