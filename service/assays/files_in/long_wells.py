"""Long tables of readings: a row per well, with barcode, well and value columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import Decimal, RawCell, ReadingMaker, row_of
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.results import (
    Kind,
    Measurement,
    ReaderFile,
    ReaderPlate,
    smallest_format,
)
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.assays.tables_in.aliases import normalise, role_of
from service.plates.geometry import FORMATS, parse_well, well_name
from service.plates.problems import PlateError

NAME = "long_wells"
_NAMES = {
    "barcode": "barcode plate plateid platebarcode platename assayplate assayplatebarcode",
    "well": "well wellid wellposition wellname wellat position",
    "row": "wellrow row platerow",
    "column": "wellcolumn column platecolumn wellcol col",
    "time": "timeh elapsedh timepointh hours timehours elapsedhours durationh",
    "channel": "channel wavelength label measurement readout",
    "format": "plateformat platesize wells nwells",
}
_VALUES: dict[str, Kind | None] = {
    "readoutvalue": None,
    "value": None,
    "signal": None,
    "reading": None,
    "rawvalue": None,
    "raw": None,
    "result": None,
    "intensity": None,
    "counts": None,
    "cps": None,
    "rlu": "luminescence",
    "luminescence": "luminescence",
    "rfu": "fluorescence",
    "fluorescence": "fluorescence",
    "absorbance": "absorbance",
    "od": "absorbance",
}
_BACKGROUND = {"backgroundvalue", "background", "blankvalue"}
_MEANING = {name: what for what, names in _NAMES.items() for name in names.split()}
_FIX = "name the columns Barcode, Well (or WellRow and WellColumn) and ReadoutValue"
_Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class _Columns:
    at: dict[str, int]
    values: dict[str, int]
    ignored: tuple[str, ...]


def recognise(source: Source) -> Certainty:
    """A header with a well, a plate and a value, and without compounds."""
    if source.kind not in {"text", "table", "workbook"} or not source.sheets:
        return NO
    sheet = source.sheets[0]
    head = _header_row(sheet)
    if head is None:
        return NO
    columns = _columns(sheet, head)
    well = "well" in columns.at or {"row", "column"} <= set(columns.at)
    if any((role := role_of(n)) and role.kind in {"compound", "dose"} for n in sheet.rows[head]):
        return NO
    if well and columns.values:
        score = 0.85 if "barcode" in columns.at else 0.5
        return Certainty(score, "has columns for the well and its reading")
    return NO


def _header_row(sheet: Sheet) -> int | None:
    return next((at for at in range(min(len(sheet.rows), 20)) if not sheet.is_empty(at)), None)


def _columns(sheet: Sheet, head: int) -> _Columns:
    at: dict[str, int] = {}
    values: dict[str, int] = {}
    ignored = []
    for index, name in enumerate(sheet.rows[head]):
        key = normalise(name)
        what = _MEANING.get(key)
        if key in _VALUES or key in _BACKGROUND:
            if name.strip() in values:
                raise sheet.error(NAME, head, f"column {name.strip()!r} is there twice", _FIX)
            values[name.strip()] = index
        elif what is not None:
            if what in at:
                raise sheet.error(NAME, head, f"two columns name the {what}", _FIX)
            at[what] = index
        elif name.strip():
            ignored.append(name.strip())
    return _Columns(at, values, tuple(ignored))


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """The plates of the first sheet; a value column and a background become two readings."""
    sheet = source.sheets[0]
    head = _header_row(sheet)
    if head is None:
        raise FileError(NAME, 1, "the table is empty", _FIX)
    columns = _columns(sheet, head)
    _check_columns(sheet, head, columns)
    rows = [at for at in range(head + 1, len(sheet.rows)) if not sheet.is_empty(at)]
    _check_rows(sheet, head, rows)
    numbers = [
        index for index in (*columns.values.values(), columns.at.get("time", -1)) if index >= 0
    ]
    texts = [sheet.cell(at, index) for at in rows for index in numbers]
    maker = ReadingMaker(NAME, texts, decimal)
    groups = _groups(sheet, columns, rows)
    stem = source.name.rsplit(".", 1)[0]
    plates = [
        _plate(sheet, columns, key, cells, value, maker, stem)
        for value in columns.values
        for key, cells in groups.items()
    ]
    notes = [f"column {name!r} left aside" for name in columns.ignored]
    notes += [
        f"plate {p.plate_name}: {len(p.readings)} of {p.format.size} wells listed"
        for p in plates[: len(groups)]
        if len(p.readings) != p.format.size
    ]
    others = [
        s.name for s in source.sheets[1:] if any(not s.is_empty(i) for i in range(len(s.rows)))
    ]
    notes += [f"sheet {name!r} left aside" for name in others]
    return ReaderFile(NAME, None, check_plates(NAME, plates), (*notes, *maker.notes))


def _check_columns(sheet: Sheet, head: int, columns: _Columns) -> None:
    has_pair = {"row", "column"} <= set(columns.at)
    if "well" in columns.at and has_pair:
        raise sheet.error(
            NAME, head, "the well is there twice: by name and by row and column", _FIX
        )
    if not columns.values or not ("well" in columns.at or has_pair):
        raise sheet.error(NAME, head, "the column of the well or of the reading is missing", _FIX)
    plain = [name for name in columns.values if normalise(name) not in _BACKGROUND]
    if len(plain) != 1:
        message = f"there should be one column of readings, not {len(plain)}"
        raise sheet.error(NAME, head, message, "keep one, or export one channel a file")


def _check_rows(sheet: Sheet, head: int, rows: list[int]) -> None:
    if not rows:
        raise sheet.error(NAME, head, "the table has a header but no rows", _FIX)
    width = len(sheet.rows[head])
    for at in rows:
        if len(sheet.rows[at]) != width:
            message = f"this row has {len(sheet.rows[at])} fields, the header {width}"
            raise sheet.error(NAME, at, message, "correct the row, or export the table again")


def _groups(
    sheet: Sheet, columns: _Columns, rows: list[int]
) -> dict[_Key, list[tuple[int, int, int]]]:
    """``(row, column, sheet row)`` of every well, by barcode, time, channel and stated format."""
    groups: dict[_Key, list[tuple[int, int, int]]] = {}
    for at in rows:
        parts = [
            sheet.cell(at, columns.at[what]) if what in columns.at else ""
            for what in ("barcode", "time", "channel", "format")
        ]
        if "barcode" in columns.at and not parts[0]:
            raise sheet.error(NAME, at, "the barcode is empty", "name the plate of every row")
        row, column = _well(sheet, columns, at)
        key = (parts[0], parts[1], parts[2], parts[3])
        groups.setdefault(key, []).append((row, column, at))
    return groups


def _well(sheet: Sheet, columns: _Columns, at: int) -> tuple[int, int]:
    if "well" in columns.at:
        try:
            return parse_well(sheet.cell(at, columns.at["well"]))
        except PlateError as error:
            raise sheet.error(
                NAME, at, str(error), "correct the well", columns.at["well"]
            ) from None
    letters = sheet.cell(at, columns.at["row"])
    number = sheet.cell(at, columns.at["column"])
    row = int(letters) - 1 if re.fullmatch(r"[0-9]{1,2}", letters) else row_of(letters, 0)
    if row is None or row < 0 or not re.fullmatch(r"0*[1-9][0-9]?", number):
        message = f"row {shorten(letters)} and column {shorten(number)} are no well"
        raise sheet.error(NAME, at, message, "write row A to AF and column 1 to 48")
    return row, int(number) - 1


def _plate(
    sheet: Sheet,
    columns: _Columns,
    key: _Key,
    cells: list[tuple[int, int, int]],
    value: str,
    maker: ReadingMaker,
    stem: str,
) -> ReaderPlate:
    barcode, time, channel, stated = key
    rows, cols = max(c[0] for c in cells) + 1, max(c[1] for c in cells) + 1
    plate = smallest_format(rows, cols)
    first = cells[0][2]
    if plate is None or (stated and stated not in {"96", "384", "1536"}):
        message = f"no plate reaches to well {well_name(rows - 1, cols - 1)} on {stated or 1536}"
        raise sheet.error(NAME, first, message, "correct the well")
    whole = len(cells) == plate.size
    if stated:
        plate = FORMATS[int(stated)]
    field = columns.values[value]
    raw = [RawCell(row, col, sheet.cell(at, field), at, field) for row, col, at in cells]
    return ReaderPlate(
        barcode=barcode or None,
        plate_name=barcode or stem,
        format=plate,
        readings=maker.readings(sheet, raw),
        measurement=Measurement(value, _VALUES.get(normalise(value)), channel or None),
        time_h=maker.number(sheet, first, columns.at["time"], "the time") if time else None,
        identifiers=(barcode,) if barcode else (stem,),
        sheet=sheet.name,
        format_proof="stated" if stated else "grid" if whole else "wells",
    )
