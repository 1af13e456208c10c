"""Plates of 96, 384 and 1536 wells, and the names of their wells.

A well is ``(row, column)``, both from 0. Rows are lettered A to Z and then AA to AF, as on
1536-well plates; columns are numbered from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.plates.problems import PlateError

WellAt = tuple[int, int]

_WELL = re.compile(r"([A-Za-z]{1,2})([0-9]{1,3})")
_LETTERS = 26


@dataclass(frozen=True)
class PlateFormat:
    """A rectangle of wells."""

    rows: int
    columns: int

    @property
    def size(self) -> int:
        """How many wells it has; also its everyday name."""
        return self.rows * self.columns

    def wells(self) -> Iterator[WellAt]:
        """Every well, row by row."""
        return ((row, column) for row in range(self.rows) for column in range(self.columns))

    def has(self, well: WellAt) -> bool:
        """Whether the well lies on the plate."""
        return 0 <= well[0] < self.rows and 0 <= well[1] < self.columns

    def is_edge(self, well: WellAt, rings: int = 1) -> bool:
        """Whether the well lies in one of the outer ``rings`` of the plate."""
        row, column = well
        inset = min(row, column, self.rows - 1 - row, self.columns - 1 - column)
        return inset < rings

    def edge(self) -> tuple[WellAt, ...]:
        """The outer ring."""
        return tuple(well for well in self.wells() if self.is_edge(well))

    def inner(self) -> tuple[WellAt, ...]:
        """All wells but the outer ring."""
        return tuple(well for well in self.wells() if not self.is_edge(well))

    def check(self, well: WellAt) -> WellAt:
        """The well; refused where the plate has none."""
        if not self.has(well):
            name = well_name(*well) if min(well) >= 0 else str(well)
            last = well_name(self.rows - 1, self.columns - 1)
            raise PlateError(f"a plate of {self.size} wells ends at {last}; it has no well {name}")
        return well

    def parse(self, text: str) -> WellAt:
        """The well of that name; refused where the text is none or the plate has none."""
        return self.check(parse_well(text))


PLATE_96 = PlateFormat(8, 12)
PLATE_384 = PlateFormat(16, 24)
PLATE_1536 = PlateFormat(32, 48)
FORMATS = {each.size: each for each in (PLATE_96, PLATE_384, PLATE_1536)}


def plate_format(size: int) -> PlateFormat:
    """The format with so many wells."""
    if size not in FORMATS:
        known = ", ".join(map(str, FORMATS))
        raise PlateError(f"there is no plate of {size!r} wells here; take one of {known}")
    return FORMATS[size]


def format_of(rows: float, columns: float) -> PlateFormat:
    """The format with so many rows and columns."""
    for each in FORMATS.values():
        if (each.rows, each.columns) == (rows, columns):
            return each
    known = ", ".join(f"{each.rows} x {each.columns}" for each in FORMATS.values())
    raise PlateError(f"there is no plate of {rows:g} x {columns:g} wells here; take one of {known}")


def row_name(row: int) -> str:
    """A to Z, then AA to AZ: the letters of a row counted from 0."""
    if not 0 <= row < _LETTERS * 2:
        raise PlateError(f"row {row} has no letters; rows go from 0 (A) to 51 (AZ)")
    letter = chr(ord("A") + row % _LETTERS)
    return letter if row < _LETTERS else "A" + letter


def well_name(row: int, column: int, padded: bool = False) -> str:
    """``A1``, or ``A01`` where names must sort."""
    if not 0 <= column < 999:
        raise PlateError(f"column {column} has no number; columns are counted from 0 to 998")
    return f"{row_name(row)}{column + 1:02d}" if padded else f"{row_name(row)}{column + 1}"


def parse_well(text: str) -> WellAt:
    """The well called ``A1``, ``A01``, ``a1`` or ``AF48``; other text is refused."""
    match = _WELL.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise PlateError(f"{text!r} is no well; write letter and number, like A1, A01 or AF48")
    letters, number = match.group(1).upper(), int(match.group(2))
    if number == 0:
        raise PlateError(f"{text!r} is no well; columns are counted from 1")
    if len(letters) == 2 and letters[0] != "A":
        raise PlateError(f"{text!r} is no well; rows go from A to Z and then from AA to AZ")
    row = ord(letters[-1]) - ord("A") + (_LETTERS if len(letters) == 2 else 0)
    return row, number - 1
