"""NCATS matrix exports: ``metadata`` (names, dose lists, units), ``responses``, and ``calc``.

Rows and columns of the responses count from 1 into the dose lists. Some exports have lost the
separator between Replicate and Layer (``1default``): that one damage is understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, treatment, unit_of
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.numbers import Numbers
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import TableFile, TableRow
from service.assays.files_in.scale import prove_scale
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "ncats_matrix"
_META = ("blockid", "rowname", "colname", "rowconcs", "colconcs", "rowconcunit", "colconcunit")
_RESPONSES = ("blockid", "col", "row", "value")
_FIX = "send the files metadata.csv and responses.csv of one NCATS export together"
_LOST = re.compile(r"([0-9]+)([A-Za-z]\w*)")


def _names(sheet: Sheet) -> list[str]:
    return [re.sub(r"[\W_]+", "", cell.lower()) for cell in (sheet.rows[0] if sheet.rows else ())]


def role_in_export(source: Source) -> str | None:
    """``metadata``, ``responses`` or ``calc``, if the file is one of the three."""
    if source.kind not in {"text", "workbook", "table"} or not source.sheets:
        return None
    names = set(_names(source.sheets[0]))
    if set(_META) <= names:
        return "metadata"
    if set(_RESPONSES) <= names and "drug1" not in names:
        return "responses"
    return "calc" if "blockid" in names and "dbsumpos" in names else None


def recognise(source: Source) -> Certainty:
    """One file of the three."""
    role = role_in_export(source)
    return Certainty(0.9, f"is the {role} file of an NCATS export") if role else NO


def parse(source: Source, decimal: Decimal = None) -> TableFile:
    """One file says nothing without the others; see :func:`parse_export`."""
    role = role_in_export(source)
    message = f"this is the {role} file of an NCATS export, which says nothing alone"
    raise FileError(NAME, 1, message, _FIX)


@dataclass(frozen=True)
class _Block:
    row_name: str
    col_name: str
    row_doses: tuple[float, ...]
    col_doses: tuple[float, ...]
    line: int


def parse_export(
    metadata: Source, responses: Source, calc: Source | None = None, decimal: Decimal = None
) -> TableFile:
    """The responses with their doses. ``calc`` holds published scores and is only noted.

    Raises :class:`FileError` for a response outside the dose lists, a block without metadata, and
    a well that is missing or there twice.
    """
    if role_in_export(metadata) != "metadata" or role_in_export(responses) != "responses":
        raise FileError(NAME, 1, "metadata and responses are not what was sent", _FIX)
    blocks = _blocks(metadata.sheets[0])
    sheet = responses.sheets[0]
    names = _names(sheet)
    places = {name: names.index(name) for name in _RESPONSES}
    lines = [at for at in range(1, len(sheet.rows)) if not sheet.is_empty(at)]
    maker = ReadingMaker(NAME, (sheet.cell(at, places["value"]) for at in lines), decimal)
    seen: set[tuple[str, int, int, str, str]] = set()
    rows = [_row(sheet, at, names, places, blocks, maker, seen) for at in lines]
    _check_complete(sheet, blocks, seen)
    notes = ["the published scores (calc) left aside"] if calc is not None else []
    return TableFile(NAME, tuple(rows), prove_scale(rows), "uM", (*notes, *maker.notes))


def _blocks(sheet: Sheet) -> dict[str, _Block]:
    names = _names(sheet)
    places = {name: names.index(name) for name in _META}
    blocks: dict[str, _Block] = {}
    for at in range(1, len(sheet.rows)):
        if sheet.is_empty(at):
            continue
        if len(sheet.rows[at]) != len(sheet.rows[0]):
            raise sheet.error(NAME, at, "another number of fields than the header", _FIX)
        key = sheet.cell(at, places["blockid"])
        if not key or key in blocks:
            raise sheet.error(NAME, at, f"block {key!r} is empty or there twice", _FIX)
        blocks[key] = _Block(
            compound_name(NAME, sheet, at, 0, sheet.cell(at, places["rowname"])),
            compound_name(NAME, sheet, at, 0, sheet.cell(at, places["colname"])),
            _doses(sheet, at, places["rowconcs"], places["rowconcunit"]),
            _doses(sheet, at, places["colconcs"], places["colconcunit"]),
            sheet.line(at),
        )
        if not blocks[key].row_name or not blocks[key].col_name:
            raise sheet.error(NAME, at, "a compound has no name", "enter it")
    if not blocks:
        raise sheet.error(NAME, 0, "the metadata list no block", _FIX)
    return blocks


def _doses(sheet: Sheet, at: int, field: int, unit_field: int) -> tuple[float, ...]:
    unit = unit_of(NAME, sheet, at, unit_field, sheet.cell(at, unit_field))
    numbers = Numbers((), ".")
    doses = []
    for text in sheet.cell(at, field).split(","):
        number = numbers.read(text)
        if isinstance(number, str):
            raise sheet.error(NAME, at, f"dose list: {number}", "correct it", field)
        doses.append(dose_um(NAME, sheet, at, field, number, unit))
    if len(set(doses)) != len(doses):
        raise sheet.error(NAME, at, "a dose is in the list twice", "correct it", field)
    return tuple(doses)


def _row(
    sheet: Sheet,
    at: int,
    names: list[str],
    places: dict[str, int],
    blocks: dict[str, _Block],
    maker: ReadingMaker,
    seen: set[tuple[str, int, int, str, str]],
) -> TableRow:
    replicate, layer = _replicate(sheet, at, names)
    key = sheet.cell(at, places["blockid"])
    block = blocks.get(key)
    if block is None:
        raise sheet.error(NAME, at, f"block {key!r} is not in the metadata", _FIX)
    row = _index(sheet, at, places["row"], len(block.row_doses))
    col = _index(sheet, at, places["col"], len(block.col_doses))
    place = (key, row, col, replicate, layer)
    if place in seen:
        message = f"row {row}, column {col} of block {key} is there twice"
        raise sheet.error(NAME, at, message, "delete one of the two")
    seen.add(place)
    pair = [
        (block.row_name, block.row_doses[row - 1]),
        (block.col_name, block.col_doses[col - 1]),
    ]
    components = treatment(NAME, sheet, at, pair)
    return TableRow(
        line=sheet.line(at),
        field=places["value"] + 1,
        cell_line=None,
        components=components,
        value=maker.number(sheet, at, places["value"], "the response"),
        role="sample" if components else "control",
        replicate=replicate or None,
        block=key,
        channel=layer or None,
    )


def _replicate(sheet: Sheet, at: int, names: list[str]) -> tuple[str, str]:
    width = len(sheet.rows[at])
    place = names.index("replicate") if "replicate" in names else None
    text = sheet.cell(at, place) if place is not None else ""
    if width == len(names) - 1 and place == len(names) - 2:
        lost = _LOST.fullmatch(text)
        if lost is not None:
            return lost[1], lost[2]
    if width != len(names):
        message = f"this row has {width} fields, the header {len(names)}"
        raise sheet.error(NAME, at, message, "correct the row")
    return text, sheet.cell(at, names.index("layer")) if "layer" in names else ""


def _index(sheet: Sheet, at: int, field: int, count: int) -> int:
    text = sheet.cell(at, field)
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= count:
        message = f"{text[:20]!r} is no place from 1 to {count} of the dose list"
        raise sheet.error(NAME, at, message, "correct it", field)
    return int(text)


def _check_complete(
    sheet: Sheet, blocks: dict[str, _Block], seen: set[tuple[str, int, int, str, str]]
) -> None:
    found: dict[tuple[str, str, str], int] = {}
    for key, _, _, replicate, layer in seen:
        found[key, replicate, layer] = found.get((key, replicate, layer), 0) + 1
    for (key, replicate, _), count in found.items():
        wanted = len(blocks[key].row_doses) * len(blocks[key].col_doses)
        if count != wanted:
            message = f"block {key} replicate {replicate} has {count} of {wanted} wells"
            raise sheet.error(NAME, len(sheet.rows) - 1, message, "export the block again")
    for key, block in blocks.items():
        if not any(place[0] == key for place in found):
            message = f"block {key} (metadata line {block.line}) has no responses"
            raise sheet.error(NAME, len(sheet.rows) - 1, message, _FIX)
