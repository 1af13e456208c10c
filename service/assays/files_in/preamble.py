"""Lines of a key and its value above a plate grid: ``Barcode,X``, ``Reader: Foo``, ``Gain,12``.

Only the barcode and the size of the plate mean something here; the rest is told and left aside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.assays.files_in.common import stated_format
from service.assays.files_in.grid import column_labels, row_of
from service.assays.files_in.numbers import flag_of
from service.assays.files_in.sheets import Sheet
from service.assays.tables_in.aliases import normalise

_BARCODE = {"barcode", "platebarcode", "assayplatebarcode", "plateid"}
_NAME = {"plate", "platename", "assayplate"}
_SIZE = {"format", "plateformat", "platesize", "platetype", "wells", "nwells", "numberofwells"}
_JOINED = re.compile(r"([^:=]{2,60}?)\s*[:=]\s*(\S.*)")
_ONE = "keep the right line and delete the other"


@dataclass(frozen=True)
class Preamble:
    """What stands above one grid. ``next``: the first sheet row after it."""

    barcode: str | None
    name: str | None
    wells: int | None
    others: tuple[tuple[str, str], ...]
    next: int


def key_and_value(sheet: Sheet, at: int) -> tuple[str, str] | None:
    """The pair that a row holds, in its first two cells or as ``key: value`` in the first.

    A row of a plate is none: its first cell is a letter, a number or a flag.
    """
    cells = [cell.strip() for cell in sheet.rows[at]]
    if not any(cells) or any(cells[2:]) or not cells[0]:
        return None
    key, value = cells[0], cells[1] if len(cells) > 1 else ""
    if not value:
        match = _JOINED.fullmatch(key)
        if match is None:
            return None
        key, value = match[1], match[2]
    key = key.rstrip(": =")
    if len(key) < 2 or not key[0].isalpha() or row_of(key, 48) is not None or _is_reading(key):
        return None
    return key, value


def _is_reading(text: str) -> bool:
    """Whether readers write this word where a number should be."""
    return flag_of(text) is not None


def read_preamble(name: str, sheet: Sheet, at: int) -> Preamble | None:
    """The pairs from row ``at`` on, with empty rows between them; None where there is none.

    Raises :class:`FileError` for two barcodes, two names or two sizes that disagree.
    """
    told: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    start = at
    while at < len(sheet.rows):
        pair = key_and_value(sheet, at)
        if pair is None and not (sheet.is_empty(at) and _goes_on(sheet, at)):
            break
        if pair is not None:
            what = _meaning(pair[0])
            if what is None:
                others.append(pair)
            elif told.setdefault(what, pair[1]) != pair[1]:
                message = f"the {what} is said twice: {told[what]!r} and {pair[1]!r}"
                raise sheet.error(name, at, message[:200], _ONE)
        at += 1
    if at == start or not (told or others):
        return None
    size = told.get("number of wells")
    wells = None if size is None else stated_format(size)
    if size is not None and wells is None:
        others.append(("plate", size))
    return Preamble(told.get("barcode"), told.get("plate name"), wells, tuple(others), at)


def _meaning(key: str) -> str | None:
    word = normalise(key)
    named = {"barcode": _BARCODE, "plate name": _NAME, "number of wells": _SIZE}
    return next((what for what, words in named.items() if word in words), None)


def _goes_on(sheet: Sheet, at: int) -> bool:
    """Whether the next row with a text is another pair, rather than the title of a grid."""
    rows = range(at, len(sheet.rows))
    after = next((each for each in rows if not sheet.is_empty(each)), None)
    return after is not None and key_and_value(sheet, after) is not None


def grid_start(sheet: Sheet, at: int, sizes: set[int]) -> int:
    """Where the grid below a preamble begins: spreadsheets fill empty lines with separators,
    and a grid without labels may begin with a row of empty wells. ``sizes``: rows of plates."""
    first = at
    while first < len(sheet.rows) and sheet.is_empty(first):
        first += 1
    if first == len(sheet.rows) or column_labels(sheet, first):
        return first
    while at < first and sheet.is_blank(at):
        at += 1
    end = at
    while end < len(sheet.rows) and not sheet.is_blank(end):
        end += 1
    return at if end - at in sizes else first
