"""Tecan i-control (Infinite, Spark), xlsx or text: settings, then ``<>`` grids or cycles.

Each label has its settings, ``Start Time``, the data and ``End Time``. Kinetic data stand as
cycles in a row (a line per well) or in a column (a line per cycle).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from service.assays.files_in.common import NO, Certainty, check_plates, stated_format
from service.assays.files_in.grid import (
    Decimal,
    RawCell,
    ReadingMaker,
    column_labels,
    read_labelled,
    row_of,
)
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import Kind, Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet, separator_of
from service.assays.files_in.sources import Source
from service.plates.geometry import FORMATS, PlateFormat, parse_well
from service.plates.problems import PlateError

NAME = "tecan_icontrol"
_SIGNATURE = re.compile(r"(Application|Programm): Tecan i-control|.*SparkControl")
_AGAIN = "export the plate again from i-control"
_RANGE = re.compile(r"([A-Z]{1,2}[0-9]{1,2})\s*-\s*([A-Z]{1,2}[0-9]{1,2})")


def recognise(source: Source) -> Certainty:
    """i-control names itself in the first cell."""
    if source.kind == "text" and any(_SIGNATURE.match(line) for line in source.lines[:5]):
        return Certainty(1.0, "names Tecan i-control in its first lines")
    if source.kind == "workbook":
        for sheet in source.book:
            if any(_SIGNATURE.match(sheet.cell(at, 0)) for at in range(min(5, len(sheet.rows)))):
                return Certainty(1.0, f"names Tecan i-control in sheet {sheet.name!r}")
    return NO


@dataclass
class _Label:
    """One label's settings, and what was read for it."""

    name: str
    facts: dict[str, str]
    start: int
    tables: list[tuple[float | None, str | None, list[RawCell]]] = field(default_factory=list)
    format: PlateFormat | None = None
    ended: bool = False


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every label of every sheet. Raises :class:`FileError`."""
    if source.kind == "text":
        line = next(line for line in source.lines if line.strip())
        later = (separator_of(text) for text in source.lines)
        separator = separator_of(line) or next((found for found in later if found), "\t")
        sheets: tuple[Sheet, ...] = (source.split(separator),)
    else:
        sheets = source.book
    plates: list[ReaderPlate] = []
    notes: list[str] = []
    instrument: str | None = None
    for sheet in sheets:
        if not any(_SIGNATURE.match(sheet.cell(at, 0)) for at in range(min(5, len(sheet.rows)))):
            if any(not sheet.is_empty(at) for at in range(len(sheet.rows))):
                notes.append(f"sheet {sheet.name!r} left aside")
            continue
        reader = _Reader(sheet)
        labels = reader.read()
        texts = [cell.text for label in labels for _, _, cells in label.tables for cell in cells]
        texts += [text for label in labels for _, text, _ in label.tables if text]
        maker = ReadingMaker(NAME, texts, decimal)
        plates += _plates(sheet, labels, reader.facts, maker, source.name)
        notes += maker.notes
        instrument = instrument or _instrument(sheet)
    return ReaderFile(NAME, instrument, check_plates(NAME, plates), tuple(notes))


def _instrument(sheet: Sheet) -> str:
    for at in range(min(10, len(sheet.rows))):
        match = re.match(r"(?:Device|Gerät): (.+)", sheet.cell(at, 0))
        if match:
            return f"Tecan {match[1].strip()}"
    return "Tecan"


class _Reader:
    """Walks one sheet from top to bottom."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.facts: dict[str, str] = {}
        self.labels: list[_Label] = []
        self.settings: dict[str, str] = {}

    def read(self) -> list[_Label]:
        at = 0
        while at < len(self.sheet.rows):
            at = self._step(at)
        for label in self.labels:
            if not label.tables:
                message = f"label {label.name!r} has no data"
                raise self.sheet.error(NAME, label.start, message, _AGAIN)
        if not self.labels:
            raise self.sheet.error(NAME, 0, "there is no grid '<>' and no 'Cycle Nr.'", _AGAIN)
        if not self.labels[-1].ended:
            last = len(self.sheet.rows) - 1
            message = "'End Time:' is missing: the file is cut off"
            raise self.sheet.error(NAME, last, message, _AGAIN)
        return self.labels

    def _step(self, at: int) -> int:
        word = self.sheet.cell(at, 0)
        if word == "<>":
            return self._grid(at)
        if word == "Cycle Nr.":
            return self._cycles(at)
        if word.startswith("Label:"):
            self._start(word.partition(":")[2].strip(), at)
        elif word.startswith(("End Time", "Endzeit")):
            if self.labels:
                self.labels[-1].ended = True
        elif word:
            self._fact(at, word)
        elif any(cell.strip().lstrip("+-.,")[:1].isdigit() for cell in self.sheet.rows[at]):
            message = "a number stands here without a row letter or a name before it"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        return at + 1

    def _fact(self, at: int, word: str) -> None:
        if row_of(word, 0) is not None or re.fullmatch(r"[A-Z]{1,2}[0-9]{1,2}", word):
            message = f"a row {word} stands outside a grid"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        values = [cell.strip() for cell in self.sheet.rows[at][1:] if cell.strip()]
        key = word.rstrip(": ")
        if values:
            self.settings[key] = " ".join(values)
            self.facts[key] = values[0]

    def _start(self, name: str, at: int) -> _Label:
        if any(label.name == name and not label.tables for label in self.labels):
            raise self.sheet.error(NAME, at, f"label {name!r} is there twice", _AGAIN)
        label = _Label(name, self.settings, at)
        self.settings = dict(self.settings)
        label.facts = self.settings
        self.labels.append(label)
        return label

    def _current(self, at: int) -> _Label:
        """The label that waits for data; a table without one gets the line above as its name."""
        if self.labels and not self.labels[-1].tables:
            return self.labels[-1]
        above = self.sheet.cell(at - 1, 0)
        return self._start(above if above and ":" not in above[-1:] else f"Label{at}", at)

    def _grid(self, at: int) -> int:
        label = self._current(at)
        part = _RANGE.search(label.facts.get("Part of Plate", ""))
        if column_labels(self.sheet, at) in {12, 24, 48} and part is None:
            grid = read_labelled(NAME, self.sheet, at, corner=("<>",))
            label.format = grid.format
            label.tables.append((None, None, list(grid.cells)))
            return grid.next
        return self._part(at, label, part)

    def _part(self, at: int, label: _Label, part: re.Match[str] | None) -> int:
        """A grid over part of a plate; the settings must say which."""
        size = stated_format(label.facts.get("Plate", ""))
        if part is None or size is None:
            message = "the grid lists a part of a plate, but the file does not say of which plate"
            raise self.sheet.error(NAME, at, message, "export the whole plate")
        plate = FORMATS[size]
        try:
            (top, left), (bottom, right) = plate.parse(part[1]), plate.parse(part[2])
        except PlateError as error:
            raise self.sheet.error(NAME, at, str(error), _AGAIN) from None
        width = right - left + 1
        wanted = [str(column + 1) for column in range(left, right + 1)]
        if [self.sheet.cell(at, 1 + i) for i in range(width)] != wanted:
            message = f"the columns should be {wanted[0]} to {wanted[-1]}, as 'Part of Plate' says"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        cells = []
        for row in range(top, bottom + 1):
            here = at + 1 + row - top
            if row_of(self.sheet.cell(here, 0), 48 if size == 1536 else 0) != row:
                message = f"row {row + 1} of the part should stand here"
                raise self.sheet.error(NAME, here, message, _AGAIN)
            if any(c.strip() for c in self.sheet.rows[here][1 + width :]):
                raise self.sheet.error(NAME, here, "a value beyond the last column", _AGAIN)
            cells += [
                RawCell(row, left + i, self.sheet.cell(here, 1 + i), here, 1 + i)
                for i in range(width)
            ]
        label.format = plate
        label.tables.append((None, None, cells))
        return at + 2 + bottom - top

    def _cycles(self, at: int) -> int:
        label = self._current(at)
        if self.sheet.cell(at, 1).startswith(("Time", "Zeit")):
            return self._cycle_lines(at, label)
        end = at + 1
        wells: list[tuple[int, tuple[int, int]]] = []
        time_at = None
        while end < len(self.sheet.rows) and not self.sheet.is_empty(end):
            word = self.sheet.cell(end, 0)
            if word.startswith(("Time [", "Zeit [")):
                time_at = end
            elif not word.startswith("Temp"):
                wells.append((end, self._well(end, word)))
            end += 1
        cycles = self._numbered([self.sheet.cell(at, i) for i in range(1, 4000)], at)
        times = self._seconds(time_at, at, range(1, cycles + 1))
        for here, _ in wells:
            if any(c.strip() for c in self.sheet.rows[here][1 + cycles :]):
                raise self.sheet.error(NAME, here, "a value beyond the last cycle", _AGAIN)
        label.format = self._kinetic_format(label, [well for _, well in wells], at)
        for number, (hours, text) in enumerate(times):
            cells = [
                RawCell(*well, self.sheet.cell(here, 1 + number), here, 1 + number)
                for here, well in wells
            ]
            label.tables.append((hours, text, cells))
        return end

    def _cycle_lines(self, at: int, label: _Label) -> int:
        head = [cell.strip() for cell in self.sheet.rows[at]]
        while head and not head[-1]:
            head.pop()
        first = 3 if head[2:3] and head[2].startswith("Temp") else 2
        wells = [self._well(at, word) for word in head[first:]]
        label.format = self._kinetic_format(label, wells, at)
        end = at + 1
        while end < len(self.sheet.rows) and not self.sheet.is_empty(end):
            if self.sheet.cell(end, 0) != str(end - at):
                message = f"cycle {end - at} should stand here"
                raise self.sheet.error(NAME, end, message, _AGAIN)
            hours, text = self._seconds_at(end, 1)
            cells = [
                RawCell(*well, self.sheet.cell(end, first + i), end, first + i)
                for i, well in enumerate(wells)
            ]
            if any(c.strip() for c in self.sheet.rows[end][len(head) :]):
                raise self.sheet.error(NAME, end, "a value beyond the last well", _AGAIN)
            label.tables.append((hours, text, cells))
            end += 1
        return end

    def _well(self, at: int, word: str) -> tuple[int, int]:
        try:
            return parse_well(word)
        except PlateError as error:
            raise self.sheet.error(NAME, at, str(error), _AGAIN) from None

    def _numbered(self, cells: list[str], at: int) -> int:
        count = next((i for i, cell in enumerate(cells) if not cell), len(cells))
        if not count or cells[:count] != [str(i + 1) for i in range(count)]:
            raise self.sheet.error(NAME, at, "cycles should count 1, 2, 3...", _AGAIN)
        return count

    def _seconds(
        self, time_at: int | None, at: int, fields: range
    ) -> list[tuple[float | None, str | None]]:
        if time_at is None:
            raise self.sheet.error(NAME, at, "the line 'Time [s]' is missing", _AGAIN)
        return [self._seconds_at(time_at, field) for field in fields]

    def _seconds_at(self, at: int, field: int) -> tuple[float | None, str | None]:
        text = self.sheet.cell(at, field)
        if not re.fullmatch(r"[0-9]+(?:[.,][0-9]+)?", text):
            raise self.sheet.error(NAME, at, f"{text[:20]!r} is no time", _AGAIN, field)
        return float(text.replace(",", ".")) / 3600, text

    def _kinetic_format(self, label: _Label, wells: list[tuple[int, int]], at: int) -> PlateFormat:
        size = stated_format(label.facts.get("Plate", ""))
        whole = next((p for p in FORMATS.values() if p.size == len(wells)), None)
        plate = FORMATS[size] if size is not None else whole
        if plate is None or not wells:
            message = "the file does not say the plate's size, and lists a part of it only"
            raise self.sheet.error(NAME, at, message, "export the whole plate")
        return plate


def _plates(
    sheet: Sheet, labels: list[_Label], facts: dict[str, str], maker: ReadingMaker, name: str
) -> list[ReaderPlate]:
    plates = []
    ids = [
        facts[key] for key in ("Barcode", "Plate-ID (Stacker)", "Plate ID", "ID1") if key in facts
    ]
    barcode = facts.get("Barcode")
    others = (sheet.name, name.rsplit(".", 1)[0])
    identifiers = tuple(dict.fromkeys([*ids, *(other for other in others if other)]))
    for label in labels:
        if label.format is None:
            raise FileError(NAME, sheet.line(label.start), "a label without data", _AGAIN)
        for hours, _, cells in label.tables:
            plates.append(
                ReaderPlate(
                    barcode=barcode,
                    plate_name=ids[0] if ids else sheet.name,
                    format=label.format,
                    readings=maker.readings(sheet, cells),
                    measurement=_measurement(label),
                    read_at=label.facts.get("Start Time"),
                    time_h=hours,
                    identifiers=identifiers,
                    sheet=sheet.name,
                )
            )
    return plates


def _measurement(label: _Label) -> Measurement:
    mode = label.facts.get("Mode", label.facts.get("Modus", "")).lower()
    kinds: tuple[tuple[str, Kind], ...] = (
        ("lumi", "luminescence"),
        ("abs", "absorbance"),
        ("fluo", "fluorescence"),
    )
    kind = next((kind for stem, kind in kinds if mode.startswith(stem)), None)
    wave = None
    for key in ("Emission Wavelength", "Measurement Wavelength", "Wavelength"):
        wave = wave or _nm(label.facts.get(key, ""))
    excitation = _nm(label.facts.get("Excitation Wavelength", ""))
    return Measurement(label.name, kind, label.name, wave, excitation)


def _nm(text: str) -> float | None:
    match = re.match(r"([0-9]{3,4})\b", text)
    return float(match[1]) if match else None
