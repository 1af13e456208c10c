"""Grids of wells, as readers print them: with letters and numbers at the sides, or without.

A grid with labels must list the rows A, B, C... to the last. Rows at one constant step over the
whole plate (A, E, I, M) are a partial plate; any other gap is a missing row and refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from service.assays.files_in.numbers import Numbers, flag_of
from service.assays.files_in.problems import shorten
from service.assays.files_in.results import ALL_FORMATS, Reading
from service.assays.files_in.sheets import Sheet
from service.plates.geometry import FORMATS, PlateFormat, row_name

Decimal = Literal[".", ","] | None

_LETTERS = re.compile(r"[A-Za-z]|[Aa][A-Fa-f]")
_BY_COLUMNS = {plate.columns: plate for plate in FORMATS.values()}


@dataclass(frozen=True, slots=True)
class RawCell:
    """One well's text and its place: ``at`` and ``field`` index the sheet."""

    row: int
    column: int
    text: str
    at: int
    field: int


@dataclass(frozen=True)
class Grid:
    """A plate's cells; ``next`` is the sheet row after it; ``rows`` are those that it lists."""

    format: PlateFormat
    cells: tuple[RawCell, ...]
    next: int
    rows: tuple[int, ...]

    @property
    def partial(self) -> str | None:
        """A note on the rows that the grid lists, if not all."""
        if len(self.rows) == self.format.rows:
            return None
        names = ", ".join(row_name(row) for row in self.rows)
        return f"lists rows {names} of {self.format.rows} only"


def row_of(label: str, columns: int) -> int | None:
    """The row a letter stands for. On 1536 wells small letters follow Z: ``e`` is AE."""
    if _LETTERS.fullmatch(label) is None:
        return None
    if len(label) == 2:
        return 26 + ord(label[1].upper()) - ord("A")
    if columns == 48 and label.islower():
        return 26 + ord(label) - ord("a")
    return ord(label.upper()) - ord("A")


def column_labels(sheet: Sheet, at: int, left: int = 0) -> int:
    """How many labels 1, 2, 3... (or 01, 02...) follow ``left`` in a row; 0 if others do."""
    cells = [cell.strip() for cell in sheet.rows[at][left + 1 :]]
    while cells and not cells[-1]:
        cells.pop()
    numbered = all(
        cell.isascii() and cell.isdigit() and len(cell) < 3 and int(cell) == number
        for number, cell in enumerate(cells, 1)
    )
    return len(cells) if numbered else 0


def read_labelled(name: str, sheet: Sheet, at: int, *, corner: Sequence[str] = ("",)) -> Grid:
    """The grid whose row of column numbers is ``at``. Raises :class:`FileError`."""
    columns = column_labels(sheet, at)
    if columns not in _BY_COLUMNS or sheet.cell(at, 0) not in corner:
        raise sheet.error(
            name,
            at,
            "this should be the row of column numbers 1 to 12, 24 or 48",
            "export the plate again; columns may not be missing or renamed",
        )
    plate = _BY_COLUMNS[columns]
    cells: list[RawCell] = []
    rows: list[int] = []
    index = at + 1
    while index < len(sheet.rows) and sheet.cell(index, 0):
        row = row_of(sheet.cell(index, 0), columns)
        if row is None:
            break
        _check_next(name, sheet, index, row, rows, plate)
        rows.append(row)
        cells += _row_cells(name, sheet, index, row, columns)
        index += 1
    _check_rows(name, sheet, index, rows, plate)
    _check_widths(name, sheet, at, index, columns)
    return Grid(plate, tuple(cells), index, tuple(rows))


def _check_next(
    name: str, sheet: Sheet, at: int, row: int, rows: Sequence[int], plate: PlateFormat
) -> None:
    label = sheet.cell(at, 0)
    if row >= plate.rows:
        message = f"row {label} does not exist on {plate.size} wells"
        raise sheet.error(name, at, message, "correct the letter or the number of columns")
    if rows and row <= rows[-1]:
        what = "comes twice" if row in rows else "comes out of order"
        raise sheet.error(name, at, f"row {label} {what}", "export the plate again")


def _check_rows(name: str, sheet: Sheet, at: int, rows: Sequence[int], plate: PlateFormat) -> None:
    """Refuse rows that are not at one constant step from top to bottom."""
    if len(rows) == plate.rows:
        return
    steps = {after - before for before, after in pairwise(rows)}
    step = min(steps, default=0)
    whole = len(steps) == 1 and rows[0] < step and rows[-1] + step >= plate.rows
    if not whole:
        expected = [row for row in range(plate.rows) if row not in rows]
        missing = ", ".join(row_name(row) for row in expected[:8])
        first = at - len(rows)
        gap = next((i for i, row in enumerate(rows) if row != i), len(rows)) if step < 2 else 0
        raise sheet.error(
            name,
            first + gap,
            f"the grid has {len(rows)} of {plate.rows} rows; missing are {missing}",
            "export the whole plate again: a row was lost, or the file is cut off",
        )


def _row_cells(name: str, sheet: Sheet, at: int, row: int, columns: int) -> list[RawCell]:
    for field in range(columns + 1, len(sheet.rows[at])):
        if sheet.cell(at, field):
            message = f"{shorten(sheet.cell(at, field))} stands beyond the last column {columns}"
            fix = "the row has a value too many: export the plate again"
            raise sheet.error(name, at, message, fix, field)
    return [
        RawCell(row, column, sheet.cell(at, column + 1), at, column + 1)
        for column in range(columns)
    ]


def _check_widths(name: str, sheet: Sheet, head: int, end: int, columns: int) -> None:
    """Rows may be short only if the whole grid is written without separators at line ends."""
    lengths = {at: len(sheet.rows[at]) for at in range(head, end)}
    if sheet.name is not None or min(lengths.values()) > columns:
        if sheet.name is None and len({lengths[at] for at in range(head + 1, end)}) > 1:
            worst = next(at for at in lengths if at > head and lengths[at] != lengths[head + 1])
            raise sheet.error(
                name, worst, "this row has another number of fields than the first", _SHIFTED
            )
        return
    for at in range(head, end):
        if not sheet.rows[at][-1].strip():
            short = next(at for at in lengths if lengths[at] <= columns)
            raise sheet.error(
                name, short, f"this row has {lengths[short] - 1} of {columns} values", _SHIFTED
            )


_SHIFTED = "a field was lost or added, so values may be in wrong wells: export the plate again"


def read_bare(name: str, sheet: Sheet, start: int, end: int) -> Grid:
    """The grid without labels in rows ``start`` to ``end``: its size must be a plate's.

    Raises :class:`FileError`.
    """
    by_rows = {plate.rows: plate for plate in FORMATS.values()}
    plate = by_rows.get(end - start)
    if plate is None:
        raise sheet.error(
            name,
            start,
            f"a grid of {end - start} rows starts here; plates have 8, 16 or 32",
            "export the whole plate: a row was lost or added, or the file is cut off",
        )
    lengths = Counter(len(sheet.rows[at]) for at in range(start, end))
    usual = lengths.most_common(1)[0][0]
    for at in range(start, end):
        cells = sheet.rows[at]
        tail = cells[plate.columns :]
        same = sheet.name is not None or (len(cells) == usual and len(tail) < 2)
        if len(cells) < plate.columns or not same or any(c.strip() for c in tail):
            message = f"this row has {len(cells)} fields; {plate.rows} rows need {plate.columns}"
            raise sheet.error(name, at, message, _SHIFTED)
    cells_ = tuple(
        RawCell(at - start, column, sheet.cell(at, column), at, column)
        for at in range(start, end)
        for column in range(plate.columns)
    )
    return Grid(plate, cells_, end, tuple(range(plate.rows)))


class ReadingMaker:
    """Turns texts into readings, with the decimal mark that the whole file proves."""

    def __init__(self, name: str, texts: Iterable[str], decimal: Decimal) -> None:
        self._name = name
        self._numbers = Numbers(texts, decimal)

    @property
    def notes(self) -> tuple[str, ...]:
        """A note where a file mixes decimal marks."""
        if not self._numbers.mixed:
            return ()
        return ("some numbers have a decimal point, others a decimal comma",)

    def number(self, sheet: Sheet, at: int, field: int, what: str) -> float:
        """The number in a cell. Raises :class:`FileError` where there is none."""
        found = self._numbers.read(sheet.cell(at, field))
        if isinstance(found, str):
            raise sheet.error(self._name, at, f"{what}: {found}", "correct it", field)
        return found

    def readings(self, sheet: Sheet, cells: Iterable[RawCell]) -> tuple[Reading, ...]:
        """Readings of cells; texts that are no number and no known flag are refused."""
        return tuple(self._reading(sheet, cell) for cell in cells)

    def _reading(self, sheet: Sheet, cell: RawCell) -> Reading:
        line, field = sheet.line(cell.at), cell.field + 1
        flag = flag_of(cell.text)
        if flag is not None:
            return Reading(cell.row, cell.column, None, flag, line, field)
        value = self._numbers.read(cell.text)
        if isinstance(value, str):
            fix = "correct the reading, or write OVRFLW or an empty field where there is none"
            raise sheet.error(self._name, cell.at, value, fix, cell.field)
        return Reading(cell.row, cell.column, value, None, line, field)


def known_format(wells: int) -> PlateFormat | None:
    """The plate of so many wells, from 6 to 1536."""
    return ALL_FORMATS.get(wells)
