"""SynergyFinder, DrugComb and our own long tables: a row per well of a block.

Any sheet, CSV, TSV, Parquet or NDJSON with the names of ``tables_in.aliases``; one to three
compounds. An inhibition column is never taken for viability, nor the other way round.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from models.chemistry.names import fold_name
from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, treatment, unit_of
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import Component, TableFile, TableRow
from service.assays.files_in.scale import prove_scale
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.assays.tables_in.aliases import Role, is_beyond_three, role_of

NAME = "synergy_table"
_FIX = (
    "name the columns as SynergyFinder does: block_id, drug_row, drug_col, conc_r, conc_c, "
    "response, conc_r_unit, conc_c_unit, cell_line_name"
)
_LABELS = ("cell line", "plate", "well", "replicate", "block")
_BLOCK_UNITS = {"concrunit": 1, "concrowunit": 1, "conccunit": 2, "conccolunit": 2}


@dataclass(frozen=True)
class _Columns:
    """Field numbers by meaning; ``units[slot]`` is a fixed unit or the field of the unit."""

    compounds: dict[int, int]
    doses: dict[int, int]
    units: dict[int, str | int]
    value: int
    value_role: Role
    value_name: str
    labels: dict[str, int]
    ignored: tuple[str, ...]
    width: int


def recognise(source: Source) -> Certainty:
    """A header with compounds, doses and a response."""
    if source.kind not in {"text", "workbook", "table"} or not source.sheets:
        return NO
    sheet = source.sheets[0]
    head = _head(sheet)
    if head is None:
        return NO
    kinds = {role.kind for cell in sheet.rows[head] if (role := role_of(cell)) is not None}
    if {"compound", "dose", "value"} <= kinds:
        return Certainty(0.9, "has columns of compounds, doses and a response")
    return NO


def _head(sheet: Sheet) -> int | None:
    return next((at for at in range(min(len(sheet.rows), 5)) if not sheet.is_empty(at)), None)


def parse(source: Source, decimal: Decimal = None) -> TableFile:
    """Every row of the first sheet. Raises :class:`FileError`."""
    sheet = source.sheets[0]
    head = _head(sheet)
    if head is None:
        raise FileError(NAME, 1, "the table is empty", _FIX)
    columns = _columns(sheet, head)
    lines = [at for at in range(head + 1, len(sheet.rows)) if not sheet.is_empty(at)]
    if not lines:
        raise sheet.error(NAME, head, "the table has a header but no rows", _FIX)
    numbers = [columns.value, *columns.doses.values()]
    maker = ReadingMaker(NAME, (sheet.cell(at, i) for at in lines for i in numbers), decimal)
    guard = _Guard(sheet)
    rows = []
    for at in lines:
        row = _row(sheet, at, columns, maker)
        guard.check(at, row)
        rows.append(row)
    role = columns.value_role
    said = f"column {columns.value_name!r}"
    scale = prove_scale(rows, role.quantity, role.scale_unit, said)
    others = [
        other.name
        for other in source.sheets[1:]
        if any(not other.is_empty(at) for at in range(len(other.rows)))
    ]
    notes = [f"sheet {name!r} left aside" for name in others]
    if guard.repeats:
        guard.check_balance()
        notes.append(f"{guard.repeats} rows repeat a treatment: numbered as replicates 1, 2...")
        rows = guard.numbered(rows)
    return TableFile(NAME, tuple(rows), scale, "uM", (*notes, *maker.notes), columns.ignored)


def _columns(sheet: Sheet, head: int) -> _Columns:
    names = [cell.strip() for cell in sheet.rows[head]]
    while names and not names[-1]:
        names.pop()
    found: dict[str, tuple[int, Role]] = {}
    ignored = []
    for index, name in enumerate(names):
        if is_beyond_three(name):
            message = f"column {name!r} is of a fourth compound; tables of up to three are read"
            raise sheet.error(NAME, head, message, "split the table", index)
        role = _role_of(name)
        if role is None:
            ignored.append(name or f"(column {index + 1})")
        elif role.meaning in found:
            message = f"columns {names[found[role.meaning][0]]!r} and {name!r} mean the same"
            raise sheet.error(NAME, head, message, "keep one of them", index)
        else:
            found[role.meaning] = index, role
    return _arranged(sheet, head, names, found, tuple(ignored))


def _role_of(name: str) -> Role | None:
    role = role_of(name)
    if role is None:
        slot = _BLOCK_UNITS.get(re.sub(r"[\W_]+", "", fold_name(name)))
        return Role("dose unit", slot) if slot else None
    return role


def _arranged(
    sheet: Sheet,
    head: int,
    names: list[str],
    found: dict[str, tuple[int, Role]],
    ignored: tuple[str, ...],
) -> _Columns:
    compounds = {role.slot: i for i, role in found.values() if role.kind == "compound"}
    doses = {role.slot: i for i, role in found.values() if role.kind == "dose"}
    if set(compounds) != set(doses) or not compounds:
        message = f"there are {len(compounds)} columns of compounds and {len(doses)} of doses"
        raise sheet.error(NAME, head, message, _FIX)
    if "value" not in found:
        raise sheet.error(NAME, head, "the column of the response is missing", _FIX)
    units: dict[int, str | int] = {}
    common = found.get("dose unit")
    for slot, index in doses.items():
        fixed = next(role.unit for i, role in found.values() if i == index)
        own = found.get(f"dose unit {slot}", common)
        if fixed is not None:
            units[slot] = fixed
        elif own is not None:
            units[slot] = own[0]
        else:
            message = f"no column says the unit of {names[index]!r}"
            fix = "add a column conc_unit with uM, nM..., or name the column conc1_uM"
            raise sheet.error(NAME, head, message, fix, index)
    value, role = found["value"]
    labels = {kind: found[kind][0] for kind in _LABELS if kind in found}
    return _Columns(compounds, doses, units, value, role, names[value], labels, ignored, len(names))


def _row(sheet: Sheet, at: int, columns: _Columns, maker: ReadingMaker) -> TableRow:
    cells = sheet.rows[at]
    if len(cells) < columns.width or any(cell.strip() for cell in cells[columns.width :]):
        message = f"this row has {len(cells)} fields, the header {columns.width}"
        raise sheet.error(NAME, at, message, "correct the row: a field was lost or added")
    parts = [part for slot in columns.compounds if (part := _part(sheet, at, columns, slot, maker))]
    labels = {
        kind: compound_name(NAME, sheet, at, index, sheet.cell(at, index)) or None
        for kind, index in columns.labels.items()
    }
    if "block" in labels and labels["block"] is None:
        raise sheet.error(NAME, at, "the block is empty", "number it in every row")
    if "cell line" in labels and labels["cell line"] is None:
        raise sheet.error(NAME, at, "the cell line is empty", "name it in every row")
    components = treatment(NAME, sheet, at, parts)
    return TableRow(
        line=sheet.line(at),
        field=columns.value + 1,
        cell_line=labels.get("cell line"),
        components=components,
        value=maker.number(sheet, at, columns.value, "the response"),
        role="sample" if components else "control",
        plate=labels.get("plate"),
        well=labels.get("well"),
        replicate=labels.get("replicate"),
        block=labels.get("block"),
        sheet=sheet.name,
    )


def _part(
    sheet: Sheet, at: int, columns: _Columns, slot: int, maker: ReadingMaker
) -> Component | None:
    index = columns.doses[slot]
    place = columns.compounds[slot]
    compound = compound_name(NAME, sheet, at, place, sheet.cell(at, place))
    if not sheet.cell(at, index):
        if not compound:
            return None
        raise sheet.error(NAME, at, f"{compound!r} has no dose", "enter it, 0 for none", index)
    number = maker.number(sheet, at, index, "the dose")
    unit = columns.units[slot]
    if isinstance(unit, int):
        unit = unit_of(NAME, sheet, at, unit, sheet.cell(at, unit))
    dose = dose_um(NAME, sheet, at, index, number, unit)
    if not compound and dose > 0:
        raise sheet.error(NAME, at, "a dose stands without a compound", "name it", place)
    return (compound, dose) if compound else None


@dataclass
class _Guard:
    """Finds rows that measure one thing twice, and blocks of two treatments."""

    sheet: Sheet
    seen: dict[tuple[object, ...], int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    repeats: int = 0

    def check(self, at: int, row: TableRow) -> None:
        """Count a repeat without well and replicate; refuse one with either."""
        key = (row.cell_line, row.components, row.plate, row.well, row.replicate, row.block)
        times = self.seen.get(key, 0) + 1
        self.seen[key] = times
        self.times.append(times)
        if times == 1:
            return
        if row.well is not None or row.replicate is not None:
            message = "this row repeats an earlier one: same treatment, well and replicate"
            raise self.sheet.error(NAME, at, message, "correct the replicate, or delete the row")
        self.repeats += 1

    def check_balance(self) -> None:
        """Repeats without a replicate column must be as many for every treatment of a block."""
        counts: dict[object, dict[int, int]] = {}
        for key, times in self.seen.items():
            block = counts.setdefault(key[-1], {})
            block[times] = block.get(times, 0) + 1
        for name, found in counts.items():
            if len(found) > 1:
                words = " and ".join(f"{n} treatments {times} times" for times, n in found.items())
                message = f"block {name} has {words}: was a row copied or lost?"
                fix = "add a replicate column, or delete the copy"
                raise self.sheet.error(NAME, 0, message, fix)

    def numbered(self, rows: list[TableRow]) -> list[TableRow]:
        """Rows with their replicate number, in file order."""
        return [
            replace(row, replicate=str(times)) for row, times in zip(rows, self.times, strict=True)
        ]
