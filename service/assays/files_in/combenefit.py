"""AZ-DREAM and Combenefit grids: one small matrix a file, percent of survival by definition.

Row 1 holds the doses of agent 2, column 1 those of agent 1; below stand ``Agent1``, ``Agent2``,
``Unit1``, ``Unit2`` and ``Title``. The file name may end in the replicate (``A.B.CELL.Rep1.csv``).
"""

from __future__ import annotations

import re

from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, treatment, unit_of
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.results import ScaleEvidence, TableFile, TableRow
from service.assays.files_in.scale import prove_scale
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source

NAME = "combenefit"
_LABEL = re.compile(r"(agent|unit)\s*_?([12])|(title|sample|cell ?line)", re.IGNORECASE)
_REPLICATE = re.compile(r"\.Rep([0-9]+)(?:\.[A-Za-z]+)?$", re.IGNORECASE)
_NEEDED = ("agent1", "agent2", "unit1", "unit2", "title")
_FIX = "write Agent1, Agent2, Unit1, Unit2 and Title below the grid, each with its value beside"


def recognise(source: Source) -> Certainty:
    """``Agent1`` and ``Agent2`` in column A, below the grid."""
    if source.kind not in {"text", "workbook"} or not source.sheets:
        return NO
    sheet = source.sheets[0]
    found = {_label(sheet, at) for at in range(min(len(sheet.rows), 60))}
    if {"agent1", "agent2"} <= found:
        return Certainty(0.95, "has the lines Agent1 and Agent2 of a Combenefit grid")
    return NO


def _label(sheet: Sheet, at: int) -> str | None:
    match = _LABEL.fullmatch(sheet.cell(at, 0).rstrip(": "))
    if match is None:
        return None
    return "title" if match[3] else match[1].lower() + match[2]


def parse(source: Source, decimal: Decimal = None) -> TableFile:
    """The grid of the file. Raises :class:`FileError`."""
    sheet = source.sheets[0]
    facts, fact_at, end = _facts(sheet)
    head = next((at for at in range(end) if not sheet.is_empty(at)), None)
    if head is None:
        raise sheet.error(NAME, 0, "there is no grid above the labels", _FIX)
    rows_at = list(range(head, end))
    while rows_at and sheet.is_empty(rows_at[-1]):
        rows_at.pop()
    texts = [cell for at in rows_at for cell in sheet.rows[at]]
    maker = ReadingMaker(NAME, texts, decimal)
    units = [unit_of(NAME, sheet, fact_at[u], 1, facts[u]) for u in ("unit1", "unit2")]
    replicate = _REPLICATE.search(source.name)
    rows = _rows(sheet, rows_at, facts, units, maker, replicate[1] if replicate else None)
    proved = prove_scale(rows, "viability", "percent", "the Combenefit format")
    scale = ScaleEvidence(proved.quantity, proved.unit, proved.reasons)
    return TableFile(NAME, tuple(rows), scale, "uM", maker.notes)


def _facts(sheet: Sheet) -> tuple[dict[str, str], dict[str, int], int]:
    facts: dict[str, str] = {}
    fact_at: dict[str, int] = {}
    end = len(sheet.rows)
    for at in range(len(sheet.rows)):
        label = _label(sheet, at)
        if label is None:
            if facts and not sheet.is_empty(at):
                raise sheet.error(NAME, at, "a line among the labels is none of them", _FIX)
            continue
        end = min(end, at)
        if label in facts:
            raise sheet.error(NAME, at, f"{label} is there twice", _FIX)
        facts[label] = compound_name(NAME, sheet, at, 1, sheet.cell(at, 1))
        fact_at[label] = at
        if any(cell.strip() for cell in sheet.rows[at][2:]):
            raise sheet.error(NAME, at, f"{label} has more than one value", _FIX)
    for label in _NEEDED:
        if not facts.get(label):
            message = f"{label} is missing or empty"
            raise sheet.error(NAME, max(len(sheet.rows) - 1, 0), message, _FIX)
    return facts, fact_at, end


def _rows(
    sheet: Sheet,
    rows_at: list[int],
    facts: dict[str, str],
    units: list[str],
    maker: ReadingMaker,
    replicate: str | None,
) -> list[TableRow]:
    head = rows_at[0]
    cells = list(sheet.rows[head])
    while cells and not cells[-1].strip():
        cells.pop()
    fields = range(1, len(cells))
    corner = sheet.cell(head, 0)
    if corner and not re.fullmatch(r"0*(?:\.0*)?", corner):
        raise sheet.error(NAME, head, f"{corner[:20]!r} stands in the corner", _FIX, 0)

    def dose(at: int, field: int, unit: str) -> float:
        number = maker.number(sheet, at, field, "the dose")
        return dose_um(NAME, sheet, at, field, number, unit)

    doses2 = [dose(head, field, units[1]) for field in fields]
    doses1 = [dose(at, 0, units[0]) for at in rows_at[1:]]
    for doses, at in ((doses1, head + 1), (doses2, head)):
        if len(doses) < 2 or len(set(doses)) != len(doses) or 0.0 not in doses:
            message = "the doses should start at 0 and be all different"
            raise sheet.error(NAME, at, message, "correct them: a row or column was lost")
    rows = []
    for at, dose1 in zip(rows_at[1:], doses1, strict=True):
        if any(cell.strip() for cell in sheet.rows[at][len(cells) :]):
            raise sheet.error(NAME, at, "a value stands beyond the last dose", "correct the row")
        for field, dose2 in zip(fields, doses2, strict=True):
            pair = [(facts["agent1"], dose1), (facts["agent2"], dose2)]
            components = treatment(NAME, sheet, at, pair)
            rows.append(
                TableRow(
                    line=sheet.line(at),
                    field=field + 1,
                    cell_line=facts["title"],
                    components=components,
                    value=maker.number(sheet, at, field, "the survival"),
                    role="sample" if components else "control",
                    replicate=replicate,
                    block="1",
                    sheet=sheet.name,
                )
            )
    return rows
