"""Plate maps from a lab: a long table, a line a well, the columns of our own export.

Nothing is guessed: the format is said, doses name their unit in the header, and a well without
compounds says what it is for. A dose without a nominal or real one beside it is both.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from service.kit.csv_out import plain
from service.kit.names import NameDirectory, shorten
from service.kit.problems import FieldError, Invalid
from service.plates.geometry import PlateFormat, WellAt, plate_format
from service.plates.labware import VEHICLE
from service.plates.numbers import amount
from service.plates.plate_map import Content, PlateMap, Role, Well, empty_plate
from service.plates.problems import PlateError

MAX_ROWS = 200_000
_MAX_TEXT = 200
_MAX_ERRORS = 1000
_UNITS = {"um": 1.0, "nm": 1e-3, "mm": 1e3, "pm": 1e-6}
_DOSE = re.compile(r"(dose|nominal|real)_(um|nm|mm|pm)_([1-9])|(dose)_([1-9])_(um|nm|mm|pm)")
_PART = re.compile(r"(compound|stock_mm|volume_nl)_([1-9])")
_PLAIN = {
    "barcode", "format", "well", "role", "cell_line", "block", "replicate", "excluded", "vehicle_nl"
}  # fmt: skip
_KNOWN_BUT_UNREAD = {"plate", "row", "column"}
_FREE = frozenset({Role.EMPTY, Role.BLANK})


@dataclass(frozen=True)
class _Column:
    """What a column holds: a part of the compound in a place, and how it says so."""

    part: str
    place: int = 0
    scale: float = 1.0


@dataclass
class _Reading:
    """Everything that is found while the rows are read."""

    compounds: NameDirectory
    members: Set[str]
    lines: NameDirectory
    size: int | None
    plates: dict[str, PlateFormat] = field(default_factory=dict)
    wells: dict[str, dict[WellAt, Well]] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)

    def wrong(self, row: int, column: str, code: str, message: str) -> None:
        self.errors.append(FieldError(code=code, message=message, row=row, column=column))


def read_plate_maps(
    content: bytes,
    size: int | None,
    compounds: NameDirectory,
    members: Set[str],
    lines: NameDirectory,
) -> list[PlateMap]:
    """The plates of a file in their order, compounds and cell lines by id.

    ``size``: wells of every plate, for a table without the column ``format``. ``compounds`` are
    those of the workspace, for controls; samples and single agents hold ``members`` only.
    """
    rows = _rows(content)
    columns = _columns(rows[0][1])
    if size is None and "format" not in {each.part for each in columns.values()}:
        raise _invalid(
            "format", "Say how many wells the plates have: a column `format` or ?format="
        )
    reading = _Reading(compounds, members, lines, size)
    for number, cells in rows[1:]:
        if any(cells):
            _read_row(number, cells, columns, reading)
        if len(reading.errors) >= _MAX_ERRORS:
            break
    if reading.errors:
        first, more = reading.errors[0], len(reading.errors) - 1
        tail = f" ({more} more below)" if more else ""
        raise Invalid(f"Line {first.row}: {first.message}{tail}", errors=reading.errors)
    if not reading.wells:
        raise _invalid("empty", "The file has no wells below its header")
    return [_plate(number, name, reading) for number, name in enumerate(reading.wells, start=1)]


def _rows(content: bytes) -> list[tuple[int, list[str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid("encoding", f"The file is not UTF-8 (byte {error.start})") from None
    if "\x00" in text:
        raise _invalid("encoding", "The file has characters of a binary file; send it as CSV")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append((reader.line_num, [cell.strip() for cell in cells]))
            if len(rows) > MAX_ROWS:
                raise _invalid("rows", f"The file has more than {MAX_ROWS} lines; split it")
    except csv.Error as error:
        raise _invalid("csv", f"Line {reader.line_num} is no CSV ({error})") from None
    if not rows or not any(rows[0][1]):
        raise _invalid("header", "The file has no header in its first line")
    return rows


def _columns(header: Sequence[str]) -> dict[int, _Column]:
    """What each place of a line holds. Refuses what is unknown, twice there or missing."""
    found: dict[int, _Column] = {}
    for index, name in enumerate(header):
        lower = name.lower()
        column = _column(lower)
        if column is None and lower not in _KNOWN_BUT_UNREAD:
            raise _invalid(
                "column",
                f"Column {shorten(name)!r} is not known. A plate map has "
                f"{', '.join(sorted(_PLAIN))}, and for each compound compound_1, dose_1_um (or "
                "nominal_um_1 and real_um_1; nM: _nm), stock_mm_1, volume_nl_1",
            )
        if column is not None:
            if any((c.part, c.place) == (column.part, column.place) for c in found.values()):
                raise _invalid("column", f"Column {shorten(name)!r} is there twice")
            found[index] = column
    parts = {(each.part, each.place) for each in found.values()}
    for needed in ("barcode", "well"):
        if (needed, 0) not in parts:
            raise _invalid("column", f"A plate map needs the column `{needed}`")
    for part, place in sorted(parts):
        doses = {(name, place) for name in ("dose", "nominal", "real")}
        if part == "compound" and not parts & doses:
            raise _invalid("column", f"compound_{place} has no dose; add dose_{place}_um")
        if part not in _PLAIN and ("compound", place) not in parts:
            raise _invalid("column", f"There is a dose {place} without the column compound_{place}")
    return found


def _column(name: str) -> _Column | None:
    if name in _PLAIN:
        return _Column(name)
    if match := _PART.fullmatch(name):
        return _Column(match[1], int(match[2]))
    if match := _DOSE.fullmatch(name):
        part, unit, place = (match[1], match[2], match[3]) if match[1] else match.group(4, 6, 5)
        return _Column(part, int(place), _UNITS[unit])
    return None


def _read_row(
    row: int, cells: Sequence[str], columns: Mapping[int, _Column], reading: _Reading
) -> None:
    if len(cells) < max(columns) + 1:
        reading.wrong(row, "", "cells", f"The line has {len(cells)} cells, its header more")
        return
    before = len(reading.errors)
    values = {columns[i].part: cells[i] for i in columns if columns[i].place == 0}
    barcode = plain(values["barcode"])
    at = _place(row, barcode, values, reading)
    contents = _contents(row, cells, columns, reading)
    line = _line(row, values.get("cell_line", ""), reading)
    role = _role(row, values.get("role", ""), len(contents), reading)
    vehicle = _number(row, "vehicle_nl", values.get("vehicle_nl", ""), reading) or 0.0
    replicate = _replicate(row, values.get("replicate", ""), reading)
    if role is not None and role not in _FREE and line is None and len(reading.errors) == before:
        message = f"A well of the role {role} needs a cell line"
        reading.wrong(row, "cell_line", "cell_line", message)
    if role in (Role.SAMPLE, Role.SINGLE):
        _require_members(row, contents, cells, columns, reading)
    for name in ("block", "excluded"):
        if len(values.get(name, "")) > _MAX_TEXT:
            reading.wrong(row, name, "length", f"{name} is longer than {_MAX_TEXT} characters")
    if len(reading.errors) > before or at is None or role is None:
        return
    well = Well(
        at, role, contents, line, values.get("block") or None, replicate, vehicle,
        plain(values.get("excluded", "")) or None,
    )  # fmt: skip
    if at in reading.wells.setdefault(barcode, {}):
        message = f"Well {well.name} of plate {shorten(barcode)!r} is listed twice"
        reading.wrong(row, "well", "repeated", message)
    reading.wells[barcode][at] = well


def _require_members(
    row: int,
    contents: Sequence[Content],
    cells: Sequence[str],
    columns: Mapping[int, _Column],
    reading: _Reading,
) -> None:
    """Samples and single agents are of the campaign; what is in a control need not be."""
    if all(each.compound in reading.members for each in contents):
        return
    for index, column in columns.items():
        known = reading.compounds.resolve(cells[index]) if column.part == "compound" else None
        if known is not None and known not in reading.members:
            message = f"{shorten(cells[index])!r} is not in the campaign. Add it to it first"
            reading.wrong(row, f"compound_{column.place}", "unknown_compound", message)


def _place(row: int, barcode: str, values: Mapping[str, str], reading: _Reading) -> WellAt | None:
    """The well, on a plate of the format that the line or the caller says."""
    if not barcode or len(barcode) > _MAX_TEXT or not barcode.isprintable():
        message = f"A plate needs a barcode of 1 to {_MAX_TEXT} printable characters"
        reading.wrong(row, "barcode", "barcode", message)
        return None
    said = values.get("format", "") or str(reading.size or "")
    try:
        shape = plate_format(int(said) if said.isascii() and said.isdigit() else 0)
    except (PlateError, ValueError):
        message = f"A plate has 96, 384 or 1536 wells, not {shorten(said)!r}"
        reading.wrong(row, "format", "format", message)
        return None
    if reading.plates.setdefault(barcode, shape) != shape:
        message = f"Plate {shorten(barcode)!r} has two formats, {shape.size} wells being one"
        reading.wrong(row, "format", "format", message)
        return None
    try:
        return shape.parse(values["well"])
    except PlateError as problem:
        reading.wrong(row, "well", "well", f"{problem}")
        return None


def _contents(
    row: int, cells: Sequence[str], columns: Mapping[int, _Column], reading: _Reading
) -> tuple[Content, ...]:
    places = sorted({each.place for each in columns.values()} - {0})
    found = []
    for place in places:
        own = {columns[i].part: (cells[i], columns[i].scale) for i in columns
               if columns[i].place == place}  # fmt: skip
        if not any(text for text, _ in own.values()):
            continue
        content = _content(row, place, own, reading)
        if content is not None:
            found.append(content)
    compounds = [each.compound for each in found]
    if len(set(compounds)) < len(compounds):
        reading.wrong(row, "compound_1", "repeated", "A compound is in the well twice; add it up")
    return tuple(sorted(found, key=lambda each: each.compound))


def _content(
    row: int, place: int, own: Mapping[str, tuple[str, float]], reading: _Reading
) -> Content | None:
    name = own["compound"][0]
    identifier = reading.compounds.resolve(name) if name else None
    if identifier is None:
        message = f"Compound {place} has a dose but no name"
        if name:
            message = reading.compounds.unknown(name, "Register it with POST /v1/compounds.")
        reading.wrong(row, f"compound_{place}", "unknown_compound", message)
    numbers = {
        part: _number(row, f"{part} {place}", text, reading)
        for part, (text, _) in own.items()
        if part != "compound" and text
    }
    doses = {
        part: value * own[part][1]
        for part, value in numbers.items()
        if part in ("dose", "nominal", "real") and value is not None
    }
    nominal = doses.get("nominal", doses.get("dose", doses.get("real")))
    real = doses.get("real", doses.get("dose", nominal))
    if nominal is None or real is None or not (nominal > 0 and real > 0):
        if None not in numbers.values():
            message = f"{shorten(name)!r} needs a dose above 0"
            reading.wrong(row, f"dose_{place}", "dose", message)
        return None
    if identifier is None:
        return None
    stock, volume = numbers.get("stock_mm") or 0.0, numbers.get("volume_nl") or 0.0
    return Content(identifier, nominal, real, stock, volume)


def _number(row: int, name: str, text: str, reading: _Reading) -> float | None:
    if not text:
        return None
    value = amount(text)
    if value is None or not math.isfinite(value) or value > 1e12:
        message = f"{name} is {shorten(text)!r}; write a number from 0 up, with a decimal point"
        reading.wrong(row, name, "number", message)
        return None
    return value


def _line(row: int, name: str, reading: _Reading) -> str | None:
    if not name:
        return None
    identifier = reading.lines.resolve(name)
    if identifier is None:
        message = reading.lines.unknown(name, "Add it to the campaign first.")
        reading.wrong(row, "cell_line", "unknown_cell_line", message)
    return identifier


def _role(row: int, text: str, n_compounds: int, reading: _Reading) -> Role | None:
    if not text and n_compounds:
        return Role.SINGLE if n_compounds == 1 else Role.SAMPLE
    if text in set(Role):
        return Role(text)
    known = ", ".join(Role)
    message = f"A well without compounds needs a role: {known}"
    if text:
        message = f"Role {shorten(text)!r} is none of {known}"
    reading.wrong(row, "role", "role", message)
    return None


def _replicate(row: int, text: str, reading: _Reading) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 10_000:
        return int(text)
    message = f"Replicate {shorten(text)!r} is no whole number from 1 up"
    reading.wrong(row, "replicate", "replicate", message)
    return None


def _plate(number: int, barcode: str, reading: _Reading) -> PlateMap:
    plate = empty_plate(barcode, number, reading.plates[barcode], 0.0, VEHICLE)
    return plate.changed(reading.wells[barcode].values())


def _invalid(code: str, message: str) -> Invalid:
    return Invalid(f"{message}.", errors=[FieldError(code=code, message=f"{message}.")])
