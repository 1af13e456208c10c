"""PerkinElmer EnVision: ``Plate information``, grid, ..., ``Basic assay information``, as CSV or
the same in the cells of a workbook."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.assays.files_in.common import NO, Certainty, check_plates, unquote
from service.assays.files_in.grid import (
    Decimal,
    Grid,
    ReadingMaker,
    column_labels,
    read_bare,
    read_labelled,
)
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import Kind, Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "envision"
_HEADER = re.compile(r"Plate([,;\t])Repeat\1Barcode\1")
_RESULTS = re.compile(r"Results for (.+?)(?:\s*\(([^()]*)\))?\s*$")
_AGAIN = "export the run again from the EnVision software"
_END = "Exported with EnVision"


def recognise(source: Source) -> Certainty:
    """An EnVision export begins with ``Plate information`` and its header."""
    if source.kind == "workbook":
        why = "has EnVision's header 'Plate, Repeat, Barcode' in its cells"
        return Certainty(0.99, why) if _sheets_of(source) else NO
    if source.kind != "text":
        return NO
    head = source.lines[:60]
    if any(_HEADER.match(line) for line in head):
        return Certainty(0.99, "has EnVision's header 'Plate,Repeat,Barcode'")
    if head[0].startswith("Plate information"):
        return Certainty(0.8, "begins with EnVision's 'Plate information'")
    return NO


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every plate of the file. Raises :class:`FileError`."""
    if source.kind == "workbook":
        return _read_workbook(source, decimal)
    match = next((m for line in source.lines if (m := _HEADER.match(line))), None)
    if match is None:
        message = "the header 'Plate,Repeat,Barcode' is missing"
        raise FileError(NAME, 2, message, _AGAIN)
    sheet = source.split(match[1])
    return _Reader(sheet, decimal).read()


def _sheets_of(source: Source) -> list[Sheet]:
    """The sheets of a workbook with EnVision's header in their first rows."""
    return [
        sheet
        for sheet in source.sheets
        if any(
            tuple(sheet.cell(at, column) for column in range(3)) == ("Plate", "Repeat", "Barcode")
            for at in range(min(60, len(sheet.rows)))
        )
    ]


def _read_workbook(source: Source, decimal: Decimal) -> ReaderFile:
    """Every sheet that is an export; others are told and left aside."""
    sheets = _sheets_of(source)
    if not sheets:
        raise FileError(NAME, 2, "the header 'Plate, Repeat, Barcode' is missing", _AGAIN)
    files = [_Reader(sheet, decimal).read() for sheet in sheets]
    others = [s for s in source.sheets if s not in sheets and any(map(any, s.rows))]
    notes = [note for file in files for note in file.notes]
    notes += [f"sheet {sheet.name!r} left aside" for sheet in others]
    plates = check_plates(NAME, [plate for file in files for plate in file.plates])
    return ReaderFile(NAME, files[0].instrument, plates, tuple(notes))


@dataclass
class _Section:
    """One plate's part of the file."""

    about: dict[str, str]
    grid: Grid
    title: str | None
    unit: str | None
    start: int


class _Reader:
    def __init__(self, sheet: Sheet, decimal: Decimal) -> None:
        self.sheet, self.decimal = sheet, decimal
        self.at = 0

    def read(self) -> ReaderFile:
        sections = []
        self._skip_blank()
        while self.at < len(self.sheet.rows) and self._word() != "Basic assay information":
            sections.append(self._section())
            self._skip_blank()
        facts = self._facts()
        self._check_stated(sections, facts)
        texts = [cell.text for section in sections for cell in section.grid.cells]
        maker = ReadingMaker(NAME, texts, self.decimal)
        plates = [self._plate(section, maker) for section in sections]
        notes = [
            f"{plate.plate_name} {section.grid.partial}"
            for section, plate in zip(sections, plates, strict=True)
            if section.grid.partial
        ]
        instrument = f"EnVision {facts.get('Serial#', '')}".strip()
        checked = check_plates(NAME, plates)
        return ReaderFile(NAME, instrument, checked, (*notes, *maker.notes))

    def _word(self, at: int | None = None) -> str:
        return self.sheet.cell(self.at if at is None else at, 0)

    def _skip_blank(self) -> None:
        while self.at < len(self.sheet.rows) and self.sheet.is_blank(self.at):
            self.at += 1

    def _section(self) -> _Section:
        start = self.at
        if self._word() != "Plate information":
            message = f"'Plate information' should stand here, not {self._word()[:40]!r}"
            raise self.sheet.error(NAME, start, message, _AGAIN)
        about = self._about(start + 1)
        self.at = start + 3
        self._skip_blank()
        if self._word() == "Background information":
            while self.at < len(self.sheet.rows) and not self.sheet.is_blank(self.at):
                self.at += 1
            self._skip_blank()
        title, unit = self._title()
        grid = self._grid()
        self.at = grid.next
        return _Section(about, grid, title, unit, start)

    def _about(self, at: int) -> dict[str, str]:
        if at + 1 >= len(self.sheet.rows) or self._word(at) != "Plate":
            message = "the header 'Plate,Repeat,Barcode' is missing"
            raise self.sheet.error(NAME, at, message, _AGAIN)
        names = [cell.strip() for cell in self.sheet.rows[at]]
        values = [cell.strip() for cell in self.sheet.rows[at + 1]]
        if len(names) != len(values) or not values[0]:
            message = f"{len(names)} names above, {len(values)} fields here"
            raise self.sheet.error(NAME, at + 1, message, _AGAIN)
        return dict(zip(names, values, strict=True))

    def _title(self) -> tuple[str | None, str | None]:
        word = self.sheet.rows[self.at][0].strip() if self.at < len(self.sheet.rows) else ""
        if word.startswith("Calculated results"):
            self.at += 1
            return word.partition(":")[2].strip() or word, None
        match = _RESULTS.match(word)
        if match is None:
            return None, None
        self.at += 1
        return match[1], match[2] or None

    def _grid(self) -> Grid:
        if self.at >= len(self.sheet.rows):
            message = "the file ends before the plate's grid"
            raise self.sheet.error(NAME, self.at, message, _AGAIN)
        if column_labels(self.sheet, self.at) and not self._word():
            return read_labelled(NAME, self.sheet, self.at)
        end = self.at
        while end < len(self.sheet.rows) and not self.sheet.is_blank(end):
            end += 1
        return read_bare(NAME, self.sheet, self.at, end)

    def _facts(self) -> dict[str, str]:
        """The footer as ``key -> value``; it must reach to the line that ends every export."""
        rows = range(self.at, len(self.sheet.rows))
        end = next((at for at in rows if self._word(at).startswith(_END)), None)
        if end is None:
            message = f"the end of the export ('{_END} ...') is missing: the file is cut off"
            raise self.sheet.error(NAME, len(self.sheet.rows) - 1, message, _AGAIN)
        for at in rows:
            if at > end and not self.sheet.is_empty(at):
                raise self.sheet.error(NAME, at, "text follows after the end of the export", _AGAIN)
            if self._word(at) == "Plate information" or self._has_readings(at):
                raise self.sheet.error(NAME, at, "a plate stands below the plates' part", _AGAIN)
        facts: dict[str, str] = {}
        for at in rows:
            value = next((cell for cell in self.sheet.rows[at][1:] if cell.strip()), "")
            facts.setdefault(self._word(at).rstrip(": "), unquote(value))
        return facts

    def _has_readings(self, at: int) -> bool:
        """Whether a row of the footer looks like one of a plate; plate maps hold no numbers."""
        if column_labels(self.sheet, at):
            return False
        return sum(cell.strip()[:1].isdigit() for cell in self.sheet.rows[at]) >= 6

    def _check_stated(self, sections: list[_Section], facts: dict[str, str]) -> None:
        if not sections:
            message = "'Plate information' is missing"
            raise self.sheet.error(NAME, 0, message, _AGAIN)
        stated = facts.get("Number of the wells in the plate", "")
        for section in sections:
            size = section.grid.format.size
            if stated and stated != str(size):
                message = f"the grid has {size} wells, but the protocol says {stated}"
                raise self.sheet.error(NAME, section.start, message, _AGAIN)

    def _plate(self, section: _Section, maker: ReadingMaker) -> ReaderPlate:
        about = section.about
        barcode = unquote(about.get("Barcode", "")) or None
        label = about.get("Label") or about.get("Formula") or ""
        derived = "Formula" in about
        repeat = about.get("Repeat", "1")
        number = f"Plate {about['Plate']}" + (f" repeat {repeat}" if repeat != "1" else "")
        if about.get("Kinetics", "0") not in {"0", ""}:
            number += f" kinetics {about['Kinetics']}"
        measurement = Measurement(
            label=label,
            kind=None if derived else _kind(about.get("Measinfo", ""), section.unit),
            channel=section.title if section.title != label else about.get("Measinfo"),
            derived=derived,
        )
        return ReaderPlate(
            barcode=barcode,
            plate_name=number,
            format=section.grid.format,
            readings=maker.readings(self.sheet, section.grid.cells),
            measurement=measurement,
            unit=section.unit,
            read_at=about.get("Measurement date") or None,
            identifiers=(barcode,) if barcode else (),
            sheet=self.sheet.name,
        )


def _kind(measinfo: str, unit: str | None) -> Kind | None:
    """From the light path: ``De=USLum`` counts light, no emission filter is absorbance.

    Alpha (no excitation filter, but an emission filter) is neither, and stays unnamed.
    """
    if unit == "A":
        return "absorbance"
    light = dict(re.findall(r"(De|Ex|Em)=(\S+)", measinfo))
    if "Lum" in light.get("De", ""):
        return "luminescence"
    if light.get("Ex") == "N/A":
        return None
    if light.get("Em") == "N/A":
        return "absorbance"
    return "fluorescence" if light.get("Em") else None
