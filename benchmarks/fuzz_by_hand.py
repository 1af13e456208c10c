"""What a file says about its wells, by a reader that shares no code with the service.

It splits the lines, looks for the labels around every number, and lists ``(line, field, well or
treatment, number)``. The fuzz compares the service with it.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator

from benchmarks.file_samples import LETTERS

Entry = tuple[int, int, object, float]
Lines = list[list[str]]

_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_SEPARATORS = {
    "mars_comma": ";",
    "softmax": "\t",
    "softmax_time": "\t",
    "softmax_kinetic": "\t",
    "tecan_text": "\t",
    "gen5": "\t",
    "grid_bare": "\t",
    "synergy_comma": ";",
    "incucyte": "\t",
}


def text_of(content: bytes) -> str:
    """The text of a file, as any editor would show it."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def cells_of(content: bytes, separator: str) -> Lines:
    """Fields by line, blanks stripped."""
    text = text_of(content).replace("\r\n", "\n").replace("\r", "\n")
    if separator == "\t":
        rows = [line.split("\t") for line in text.split("\n")]
    else:
        rows = list(csv.reader(text.split("\n"), delimiter=separator))
    return [[re.sub(r'^"(.*)"$', r"\1", cell.strip()).strip() for cell in row] for row in rows]


def number(text: str) -> float | None:
    """The number of a field, or None."""
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _row(label: str) -> int | None:
    return LETTERS.index(label.upper()) if label.upper() in LETTERS else None


def _emit(lines: Lines, at: int, wells: dict[int, object]) -> Iterator[Entry]:
    for field, well in wells.items():
        value = number(lines[at][field]) if field < len(lines[at]) else None
        if value is not None:
            yield at + 1, field + 1, well, value


def say_labelled(lines: Lines) -> Iterator[Entry]:
    """Grids with column numbers and row letters; Gen5's further lines of a letter too."""
    columns: dict[int, int] = {}
    row: int | None = None
    for at, cells in enumerate(lines):
        if [cell.lstrip("0") for cell in cells[1:4]] == ["1", "2", "3"]:
            columns = {f: int(c) - 1 for f, c in enumerate(cells) if f and c.isdigit()}
            row = None
        elif not any(cells):
            columns = {}
        elif columns:
            row = _row(cells[0]) if cells[0] else row
            if row is not None:
                yield from _emit(lines, at, {f: (row, c) for f, c in columns.items()})


def say_bare(lines: Lines) -> Iterator[Entry]:
    """Grids without labels: runs of lines of many numbers."""
    row = 0
    for at, cells in enumerate(lines):
        numbers = sum(number(cell) is not None for cell in cells)
        wide = len(cells) >= 12 and (numbers >= 10 or not any(cells))
        if wide:
            yield from _emit(lines, at, {f: (row, f) for f in range(len(cells))})
        row = row + 1 if wide else 0


def say_softmax(lines: Lines) -> Iterator[Entry]:
    """Tables under a header of column numbers, or of wells."""
    wells: dict[int, tuple[int, int]] = {}
    columns: dict[int, int] = {}
    row = 0
    for at, cells in enumerate(lines):
        body = cells[2:]
        if len(body) > 2 and body[0] in {"1", "A1"}:
            wells, columns, row = {}, {}, 0
            for field, cell in enumerate(cells[2:], 2):
                match = re.fullmatch(r"([A-P])(\d+)", cell)
                if match:
                    wells[field] = (ord(match[1]) - 65, int(match[2]) - 1)
                elif cell.isdigit():
                    columns[field] = int(cell) - 1
        elif len(cells) <= 3 and not any(cells):
            row = 0
        elif cells[0] == "~End":
            wells, columns = {}, {}
        elif wells:
            yield from _emit(lines, at, dict(wells))
        elif columns:
            yield from _emit(lines, at, {f: (row, c) for f, c in columns.items()})
            row += 1


def say_long(lines: Lines) -> Iterator[Entry]:
    """Rows with the names Barcode, WellRow, WellColumn."""
    head = [re.sub("[^a-z0-9]", "", name.lower()) for name in lines[0]]
    places = [head.index(name) for name in ("barcode", "wellrow", "wellcolumn")]
    for at in range(1, len(lines)):
        if any(lines[at]):
            barcode, letter, column = (lines[at][place] for place in places)
            well = (barcode, _row(letter), int(column) - 1)
            yield from _emit(lines, at, {head.index("readoutvalue"): well})
            if "backgroundvalue" in head:
                yield from _emit(lines, at, {head.index("backgroundvalue"): well})


# Micromolar in one unit, by its small letters: units are read in any case.
_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3, "pm": 1e-6}


def treatment_of(*parts: tuple[str, float]) -> object:
    """Compounds with a dose, in any order."""
    return frozenset((name, f"{dose:.9g}") for name, dose in parts if dose > 0)


def say_synergy(lines: Lines) -> Iterator[Entry]:
    """Rows of a SynergyFinder table."""
    scale = _UM
    head = [re.sub("[^a-z0-9]", "", name.lower()) for name in lines[0]]
    for at in range(1, len(lines)):
        if not any(lines[at]):
            continue
        row = dict(zip(head, lines[at], strict=True))
        parts = []
        for side, long in (("r", "row"), ("c", "col")):
            dose = number(row[f"conc{side}"])
            unit = row[f"conc{side}unit"].lower().replace("μ", "µ").replace(" ", "")
            parts.append((" ".join(row[f"drug{long}"].split()), (dose or 0) * scale[unit]))
        what = (row.get("celllinename"), row.get("blockid") or None, treatment_of(*parts))
        yield from _emit(lines, at, {head.index("response"): what})


def say_matrix(lines: Lines) -> Iterator[Entry]:
    """One dose matrix, its labels above (SynergyFinder) or below (Combenefit)."""
    facts = {cells[0].rstrip(":"): cells[1] for cells in lines if len(cells) > 1}
    names = (facts.get("Drug1", facts.get("Agent1")), facts.get("Drug2", facts.get("Agent2")))
    units = (
        facts.get("ConcUnit", facts.get("Unit1", "")),
        facts.get("ConcUnit", facts.get("Unit2", "")),
    )
    scale = _UM
    grid = [at for at, c in enumerate(lines) if c and all(number(x) is not None for x in c[1:])]
    grid = [at for at in grid if len(lines[at]) > 2]
    head, *rows = grid
    cell = " ".join(facts.get("Cell", facts.get("Title", "")).split()) or None
    for at in rows:
        one = number(lines[at][0])
        for field in range(1, len(lines[at])):
            two = number(lines[head][field])
            if one is None or two is None:
                continue
            doses = (
                one * scale[units[0].lower().replace(" ", "")],
                two * scale[units[1].lower().replace(" ", "")],
            )
            what = (cell, treatment_of(*zip(map(str, names), doses, strict=True)))
            yield from _emit(lines, at, {field: what})


def say_incucyte(lines: Lines) -> Iterator[Entry]:
    """Lines of times below a header with Elapsed and wells."""
    head = next(at for at, cells in enumerate(lines) if "Elapsed" in cells[:2])
    start = lines[head].index("Elapsed") + 1
    wells = {
        field: (_row(re.sub(r"\d", "", name)), int(re.sub(r"\D", "", name)) - 1)
        for field, name in enumerate(lines[head])
        if field >= start and name
    }
    for at in range(head + 1, len(lines)):
        hours = number(lines[at][start - 1]) if len(lines[at]) >= start else None
        yield from _emit(lines, at, {field: (hours, *well) for field, well in wells.items()})


_SAY: dict[str, Callable[[Lines], Iterator[Entry]]] = {
    "envision": say_labelled,
    "envision_bare": say_bare,
    "mars": say_labelled,
    "mars_comma": say_labelled,
    "softmax": say_softmax,
    "softmax_time": say_softmax,
    "softmax_kinetic": say_softmax,
    "tecan_text": say_labelled,
    "gen5": say_labelled,
    "grid": say_labelled,
    "grid_bare": say_bare,
    "grid_barcode": say_labelled,
    "grid_bare_barcode": say_bare,
    "long_wells": say_long,
    "synergy": say_synergy,
    "synergy_comma": say_synergy,
    "matrix": say_matrix,
    "combenefit": say_matrix,
    "tecan_xlsx": say_labelled,
    "matrix_xlsx": say_matrix,
    "incucyte": say_incucyte,
}


def read_by_hand(name: str, content: bytes) -> list[Entry]:
    """What the file says, by this module's own reader."""
    return list_wells(name, cells_of(content, _SEPARATORS.get(name, ",")))


def list_wells(name: str, lines: Lines) -> list[Entry]:
    """What cells say, in the format called ``name``."""
    return list(_SAY[name](lines))
