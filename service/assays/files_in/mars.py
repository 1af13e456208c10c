"""BMG MARS CSV (PHERAstar, CLARIOstar...): a head of ``key: value``, then titled grids."""

from __future__ import annotations

import re

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import Decimal, Grid, ReadingMaker, read_labelled
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import Kind, Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import SEPARATORS, Sheet
from service.assays.files_in.sources import Source

NAME = "bmg_mars"
_RAW = re.compile(r"Raw Data\s*\(([^()]*)\)")
_TITLE = re.compile(r"[^,;\t]*\([^()]*\)[^,;\t]*")
_FACT = re.compile(r"(User|Path|Test run no\.|Test name|Date|Time|ID[1-9])\s*:\s*(.*)")
_KINDS: dict[str, Kind] = {
    "fluorescence": "fluorescence",
    "luminescence": "luminescence",
    "absorbance": "absorbance",
    "alphascreen": "luminescence",
}
_AGAIN = "export the plate again from MARS"


def recognise(source: Source) -> Certainty:
    """MARS writes ``Test run no.`` in its head and ``Raw Data (...)`` above the grid."""
    if source.kind != "text":
        return NO
    head = source.lines[:40]
    run = any("Test run no." in line for line in head[:3])
    raw = any(_RAW.match(line) for line in head)
    if run and raw:
        return Certainty(0.98, "has BMG's 'Test run no.' and 'Raw Data (...)'")
    if run or (raw and any("\\BMG\\" in line for line in head)):
        return Certainty(0.7, "has half of BMG's head")
    return NO


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every grid of the file. Raises :class:`FileError`."""
    sheet = source.split(_separator(source))
    head = _first_title(sheet)
    facts = _facts(sheet, head)
    kind = _kind(sheet, head)
    grids = _grids(sheet, head)
    maker = ReadingMaker(NAME, [c.text for _, grid in grids for c in grid.cells], decimal)
    ids = [facts[key] for key in sorted(facts) if key.startswith("ID") and facts[key]]
    when = " ".join(facts[key] for key in ("Date", "Time") if facts.get(key))
    plates = [
        ReaderPlate(
            barcode=None,
            plate_name=ids[0] if ids else facts.get("Test name"),
            format=grid.format,
            readings=maker.readings(sheet, grid.cells),
            measurement=_measurement(title, kind),
            read_at=when or None,
            identifiers=tuple(dict.fromkeys(ids)),
        )
        for title, grid in grids
    ]
    notes = [f"{title} {grid.partial}" for title, grid in grids if grid.partial]
    instrument = re.search(r"\\BMG\\([^\\]+)\\", facts.get("Path", ""))
    name = f"BMG {instrument[1]}" if instrument else "BMG"
    return ReaderFile(NAME, name, check_plates(NAME, plates), (*notes, *maker.notes))


def _separator(source: Source) -> str:
    """The separator of the grids: the one before the column numbers 1, 2."""
    for line in source.lines:
        for separator in SEPARATORS:
            if line.startswith(f"{separator}1{separator}2{separator}"):
                return separator
    message = "there is no grid (a line ',1,2,3...' and rows A, B, C...)"
    raise FileError(NAME, 1, message, _AGAIN)


def _first_title(sheet: Sheet) -> int:
    for at in range(len(sheet.rows)):
        if _RAW.match(sheet.cell(at, 0)):
            return at
    raise sheet.error(NAME, 0, "the line 'Raw Data (...)' is missing", _AGAIN)


def _facts(sheet: Sheet, head: int) -> dict[str, str]:
    facts: dict[str, str] = {}
    for at in range(head):
        for cell in sheet.rows[at]:
            match = _FACT.fullmatch(cell.strip())
            if match is None:
                continue
            if match[1] in facts:
                message = f"'{match[1]}:' is there twice"
                raise sheet.error(NAME, at, message, "keep one plate a file")
            facts[match[1]] = match[2].strip()
    for needed in ("User", "Test run no.", "Test name"):
        if needed not in facts:
            message = f"'{needed}:' is missing or has no colon, so the head cannot be read"
            raise sheet.error(NAME, 1 if needed == "Test name" else 0, message, _AGAIN)
    return facts


def _kind(sheet: Sheet, head: int) -> Kind | None:
    for at in range(head):
        word = sheet.cell(at, 0).partition("(")[0].strip().lower()
        if word in _KINDS:
            return _KINDS[word]
    return None


def _grids(sheet: Sheet, head: int) -> list[tuple[str, Grid]]:
    """Every titled grid from ``head`` on; anything else between them is refused."""
    grids: list[tuple[str, Grid]] = []
    at = head
    while at < len(sheet.rows):
        if sheet.is_empty(at):
            at += 1
            continue
        title = sheet.cell(at, 0)
        below = at + 1
        while below < len(sheet.rows) and sheet.is_empty(below):
            below += 1
        if _TITLE.fullmatch(title) is None or below >= len(sheet.rows):
            message = f"{title[:40]!r} is neither a title such as 'Raw Data (...)' nor a grid"
            raise sheet.error(NAME, at, message, _AGAIN)
        grid = read_labelled(NAME, sheet, below)
        grids.append((" ".join(title.split()), grid))
        at = grid.next
    return grids


def _measurement(title: str, kind: Kind | None) -> Measurement:
    raw = _RAW.match(title)
    channel = raw[1].strip() if raw else title
    pair = re.fullmatch(r"([0-9]{3,4})\s*/\s*([0-9]{3,4})", channel)
    single = re.fullmatch(r"([0-9]{3,4})(?:\s+[0-9]+)?", channel)
    wave = float(pair[2]) if pair else float(single[1]) if single else None
    excitation = float(pair[1]) if pair else None
    return Measurement(title, kind, channel, wave, excitation, derived=raw is None)
