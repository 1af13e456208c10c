"""Agilent BioTek Gen5 text: a head, ``Results`` with a grid per plate, or a table of times.

In the grid a row letter may have one line per read; each line ends in its read's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from service.assays.files_in.common import NO, Certainty, check_plates, stated_format
from service.assays.files_in.grid import Decimal, RawCell, ReadingMaker, column_labels, row_of
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.results import Kind, Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet, separator_of
from service.assays.files_in.sources import Source
from service.plates.geometry import FORMATS, PlateFormat, parse_well, row_name
from service.plates.problems import PlateError

NAME = "gen5"
_AGAIN = "export the plate again from Gen5, with 'Results' as a matrix"
_TIME = re.compile(r"([0-9]{1,4}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?)")
_BY_COLUMNS = {plate.columns: plate for plate in FORMATS.values()}
_KINDS: dict[str, Kind] = {
    "Luminescence": "luminescence",
    "Absorbance": "absorbance",
    "Fluorescence": "fluorescence",
}


def recognise(source: Source) -> Certainty:
    """Gen5 writes ``Software Version`` and the paths of experiment and protocol."""
    if source.kind != "text":
        return NO
    head = "\n".join(source.lines[:40])
    signs = sum(
        sign in head
        for sign in ("Software Version", "Protocol File Path:", "Reader Type:", "Procedure Details")
    )
    return Certainty(0.3 + 0.17 * signs, "has Gen5's head") if signs >= 2 else NO


@dataclass
class _Plate:
    """One plate's part: its facts, and cells by read and time."""

    facts: dict[str, str] = field(default_factory=dict)
    kinds: set[Kind] = field(default_factory=set)
    reads: dict[tuple[str, float | None], list[RawCell]] = field(default_factory=dict)
    format: PlateFormat | None = None
    skipped: int = 0
    named: set[str] = field(default_factory=set)  # the reads of the procedure


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every plate, read and time point. Raises :class:`FileError`."""
    separators = (separator_of(line) for line in source.lines)
    sheet = source.split(next((each for each in separators if each), "\t"))
    plates = _Reader(sheet).read()
    texts = [cell.text for plate in plates for cells in plate.reads.values() for cell in cells]
    maker = ReadingMaker(NAME, texts, decimal)
    found: list[ReaderPlate] = []
    notes: list[str] = []
    for plate in plates:
        if plate.skipped:
            notes.append(f"{plate.skipped} time points without any reading left aside")
        found += _plates(sheet, plate, maker)
    reader = plates[0].facts.get("Reader Type", "")
    instrument = f"BioTek {reader}" if reader not in {"", "n/a"} else "BioTek Gen5"
    return ReaderFile(NAME, instrument, check_plates(NAME, found), (*notes, *maker.notes))


class _Reader:
    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.plates = [_Plate()]

    def read(self) -> list[_Plate]:
        at, results = 0, False
        while at < len(self.sheet.rows):
            word = self.sheet.cell(at, 0)
            if word == "Results":
                results, at = True, at + 1
            elif results and column_labels(self.sheet, at) in _BY_COLUMNS and not word:
                at = self._grid(at)
            elif self._is_times(at):
                at = self._times(at)
            else:
                if word == "Layout":
                    results = False
                self._fact(at, word, results)
                at += 1
        plates = [plate for plate in self.plates if plate.reads]
        if not plates:
            message = "there is no matrix under 'Results' and no table of times"
            raise self.sheet.error(NAME, len(self.sheet.rows) - 1, message, _AGAIN)
        if len(plates) < len([plate for plate in self.plates if "Plate Number" in plate.facts]):
            raise self.sheet.error(
                NAME, len(self.sheet.rows) - 1, "a plate has no results: cut off?", _AGAIN
            )
        return plates

    def _fact(self, at: int, word: str, results: bool) -> None:
        key, value = word.rstrip(": "), self.sheet.cell(at, 1)
        if key == "Plate Number" and "Plate Number" in self.plates[-1].facts:
            self.plates.append(_Plate())
        if results and row_of(word, 0) is not None and value:
            message = f"a row {word} stands outside a grid"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        plate = self.plates[-1]
        for text in (word, value):
            kind = _KINDS.get(text.split(" ")[0]) if text else None
            if kind is not None and not results:
                plate.kinds.add(kind)
        if key == "Read" and value and not results:
            plate.named.add(value)
        if key and value:
            plate.facts.setdefault(key, value)

    def _grid(self, at: int) -> int:
        columns = column_labels(self.sheet, at)
        size = _BY_COLUMNS[columns]
        plate = self._begin(at, size)
        stated = stated_format(plate.facts.get("Plate Type", ""))
        if stated is not None and stated != size.size:
            message = f"the grid has columns of {size.size} wells, 'Plate Type' says {stated}"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        end, row = at + 1, -1
        reads: dict[str, list[RawCell]] = {}
        while end < len(self.sheet.rows) and not self.sheet.is_empty(end):
            letter = self.sheet.cell(end, 0)
            if letter:
                row += 1
                if row_of(letter, columns) != row or row >= size.rows:
                    message = f"row {row_name(min(row, 51))} should stand here, not {letter[:10]!r}"
                    raise self.sheet.error(NAME, end, message, _AGAIN)
            if row < 0:
                raise self.sheet.error(NAME, end, "the row letter is missing", _AGAIN)
            name = self._read_name(end, columns)
            reads.setdefault(name, []).extend(
                RawCell(row, column, self.sheet.cell(end, column + 1), end, column + 1)
                for column in range(columns)
            )
            end += 1
        for name, cells in reads.items():
            if len(cells) != size.size:
                message = f"read {name!r} has {len(cells)} of {size.size} wells: a row is missing"
                raise self.sheet.error(NAME, end - 1, message, _AGAIN)
            self._add(plate, at, name, None, cells)
        if not reads:
            raise self.sheet.error(NAME, at, "the grid has no rows", _AGAIN)
        return end

    def _read_name(self, at: int, columns: int) -> str:
        name = self.sheet.cell(at, columns + 1)
        if not name or any(cell.strip() for cell in self.sheet.rows[at][columns + 2 :]):
            message = f"{columns} values and the name of the read should stand in this row"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        if re.fullmatch(r"[0-9.,eE+-]+", name) and len(self.sheet.rows[at]) != columns + 2:
            raise self.sheet.error(NAME, at, f"{shorten(name)} is no name of a read", _AGAIN)
        return name

    def _begin(self, at: int, size: PlateFormat) -> _Plate:
        plate = self.plates[-1]
        if plate.format not in {None, size}:
            raise self.sheet.error(NAME, at, "the plate has two sizes", _AGAIN)
        plate.format = size
        return plate

    def _add(
        self, plate: _Plate, at: int, name: str, time: float | None, cells: list[RawCell]
    ) -> None:
        if (name, time) in plate.reads:
            raise self.sheet.error(NAME, at, f"read {name!r} is there twice", _AGAIN)
        plate.reads[name, time] = cells

    def _is_times(self, at: int) -> bool:
        cells = [cell.strip() for cell in self.sheet.rows[at][:4]]
        return "Time" in cells and len(self.sheet.rows[at]) > 6

    def _times(self, at: int) -> int:
        head = [cell.strip() for cell in self.sheet.rows[at]]
        time = head.index("Time")
        first = time + 2 if head[time + 1].startswith("T°") else time + 1
        while head and not head[-1]:
            head.pop()
        try:
            wells = [parse_well(word) for word in head[first:]]
        except PlateError as error:
            raise self.sheet.error(NAME, at, str(error), _AGAIN) from None
        stated = stated_format(self.plates[-1].facts.get("Plate Type", ""))
        size = FORMATS.get(stated or len(wells))
        if size is None:
            raise self.sheet.error(NAME, at, "the plate's size is not stated", _AGAIN)
        plate = self._begin(at, size)
        name = head[time + 1].removeprefix("T°").strip() if first == time + 2 else "read"
        end = at + 1
        while end < len(self.sheet.rows) and self.sheet.cell(end, time):
            hours = self._hours(end, time)
            cells = [
                RawCell(*well, self.sheet.cell(end, first + i), end, first + i)
                for i, well in enumerate(wells)
            ]
            if any(cell.strip() for cell in self.sheet.rows[end][len(head) :]):
                raise self.sheet.error(NAME, end, "a value beyond the last well", _AGAIN)
            if any(cell.text for cell in cells):
                self._add(plate, end, name, hours, cells)
            else:
                plate.skipped += 1  # Gen5 lists the times of a run that was stopped
            end += 1
        if end == at + 1:
            raise self.sheet.error(NAME, at, "the table of times has no lines", _AGAIN)
        return end

    def _hours(self, at: int, field: int) -> float:
        match = _TIME.fullmatch(self.sheet.cell(at, field))
        if match is None:
            message = f"{self.sheet.cell(at, field)[:20]!r} is no time h:mm:ss"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        return int(match[1]) + int(match[2]) / 60 + float(match[3]) / 3600


def _plates(sheet: Sheet, plate: _Plate, maker: ReadingMaker) -> list[ReaderPlate]:
    facts = plate.facts
    barcode = facts.get("Barcode") or facts.get("Plate Barcode") or facts.get("Plate ID")
    number = facts.get("Plate Number")
    when = " ".join(facts[key] for key in ("Date", "Time") if key in facts)
    kind = next(iter(plate.kinds)) if len(plate.kinds) == 1 else None
    if plate.format is None:
        raise FileError(NAME, None, "a plate without results", _AGAIN)
    plates = []
    for (name, time), cells in plate.reads.items():
        wave = re.search(r"(?:^|[:,\s])([0-9]{3,4})$", name)
        excitation = re.search(r"([0-9]{3,4}),([0-9]{3,4})$", name)
        plates.append(
            ReaderPlate(
                barcode=barcode,
                plate_name=number,
                format=plate.format,
                readings=maker.readings(sheet, cells),
                measurement=Measurement(
                    name,
                    kind,
                    name,
                    float(wave[1]) if wave else None,
                    float(excitation[1]) if excitation else None,
                    derived=_is_derived(name, plate.named),
                ),
                read_at=when or None,
                time_h=time,
                identifiers=tuple(text for text in (barcode, number) if text),
            )
        )
    return plates


def _is_derived(name: str, named: set[str]) -> bool:
    """Whether a table is none of the procedure's reads: Gen5 computed it."""
    return bool(named) and ":" not in name and name not in named and not name.isdigit()
