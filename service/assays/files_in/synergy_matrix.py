"""SynergyFinder matrices: ``Drug1:``, ``Drug2:``, ``Cell:``, ``ConcUnit:``, then a dose grid.

Columns are doses of drug 2, rows doses of drug 1; blocks follow one another.
"""

from __future__ import annotations

from models.chemistry.names import fold_name
from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, treatment, unit_of
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.results import TableFile, TableRow
from service.assays.files_in.scale import prove_scale
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "synergy_matrix"
_KEYS = ("drug1", "drug2", "cell", "concunit")
_FIX = "write Drug1:, Drug2:, Cell: and ConcUnit: above each matrix"


def recognise(source: Source) -> Certainty:
    """The words Drug1 and Drug2 in the first rows of column A."""
    if source.kind not in {"text", "workbook"} or not source.sheets:
        return NO
    sheet = source.sheets[0]
    found = {_key(sheet, at) for at in range(min(8, len(sheet.rows)))}
    if {"drug1", "drug2"} <= found:
        return Certainty(0.95, "has the lines Drug1: and Drug2: of a SynergyFinder matrix")
    return NO


def _key(sheet: Sheet, at: int) -> str:
    key = fold_name(sheet.cell(at, 0)).rstrip(": ").replace(" ", "").replace("_", "")
    return {"cellline": "cell", "unit": "concunit"}.get(key, key)


def parse(source: Source, decimal: Decimal = None) -> TableFile:
    """Every block. Raises :class:`FileError`."""
    sheet = source.sheets[0]
    starts = [at for at in range(len(sheet.rows)) if _key(sheet, at) == "drug1"]
    first = next((at for at in range(len(sheet.rows)) if not sheet.is_empty(at)), 0)
    if not starts or starts[0] != first:
        raise sheet.error(NAME, first, "the first line should be 'Drug1:'", _FIX)
    texts = [
        cell
        for at in range(len(sheet.rows))
        if _key(sheet, at) not in _KEYS
        for cell in sheet.rows[at]
    ]
    maker = ReadingMaker(NAME, texts, decimal)
    rows: list[TableRow] = []
    for number, (start, end) in enumerate(
        zip(starts, [*starts[1:], len(sheet.rows)], strict=True), 1
    ):
        rows += _block(sheet, start, end, str(number), maker)
    others = [s.name for s in source.sheets[1:] if any(map(any, s.rows))]
    notes = [f"sheet {name!r} left aside" for name in others]
    scale = prove_scale(rows)
    return TableFile(NAME, tuple(rows), scale, "uM", (*notes, *maker.notes))


def _block(sheet: Sheet, start: int, end: int, block: str, maker: ReadingMaker) -> list[TableRow]:
    facts: dict[str, str] = {}
    at = start
    while at < end and _key(sheet, at) in _KEYS:
        key = _key(sheet, at)
        if key in facts or any(cell.strip() for cell in sheet.rows[at][2:]):
            raise sheet.error(NAME, at, f"{key} is there twice", _FIX)
        facts[key] = compound_name(NAME, sheet, at, 1, sheet.cell(at, 1))
        at += 1
    for key in ("drug1", "drug2", "concunit"):
        if not facts.get(key):
            raise sheet.error(NAME, start, f"'{key}:' is missing or empty", _FIX)
    unit = unit_of(NAME, sheet, at - 1, 1, facts["concunit"])
    while at < end and sheet.is_empty(at):
        at += 1
    return _matrix(sheet, at, end, block, facts, unit, maker)


def _matrix(
    sheet: Sheet,
    head: int,
    end: int,
    block: str,
    facts: dict[str, str],
    unit: str,
    maker: ReadingMaker,
) -> list[TableRow]:
    if head >= end:
        raise sheet.error(NAME, end - 1, "the matrix is missing", _FIX)
    cells = list(sheet.rows[head])
    while cells and not cells[-1].strip():
        cells.pop()
    fields = range(1, len(cells))
    doses2 = [_dose(sheet, head, field, unit, maker) for field in fields]
    if sheet.cell(head, 0) or len(doses2) < 2 or len(set(doses2)) != len(doses2):
        message = "an empty cell and the different doses of drug 2 should stand here"
        raise sheet.error(NAME, head, message, _FIX)
    rows: list[TableRow] = []
    seen: set[float] = set()
    at = head + 1
    while at < end and not sheet.is_empty(at):
        dose1 = _dose(sheet, at, 0, unit, maker)
        if dose1 in seen:
            raise sheet.error(NAME, at, f"dose {dose1:g} uM is there twice", "correct it", 0)
        seen.add(dose1)
        if any(cell.strip() for cell in sheet.rows[at][len(cells) :]):
            raise sheet.error(NAME, at, "a value stands beyond the last dose", "correct the row")
        for field, dose2 in zip(fields, doses2, strict=True):
            pair = [(facts["drug1"], dose1), (facts["drug2"], dose2)]
            components = treatment(NAME, sheet, at, pair)
            rows.append(
                TableRow(
                    line=sheet.line(at),
                    field=field + 1,
                    cell_line=facts.get("cell") or None,
                    components=components,
                    value=maker.number(sheet, at, field, "the response"),
                    role="sample" if components else "control",
                    block=block,
                    sheet=sheet.name,
                )
            )
        at += 1
    if len(seen) < 2:
        raise sheet.error(NAME, head, "the matrix has less than two rows", "export it again")
    if any(not sheet.is_empty(rest) for rest in range(at, end)):
        raise sheet.error(NAME, at, "text follows below the matrix", "put it into another sheet")
    return rows


def _dose(sheet: Sheet, at: int, field: int, unit: str, maker: ReadingMaker) -> float:
    number = maker.number(sheet, at, field, "the dose")
    return dose_um(NAME, sheet, at, field, number, unit)
