"""A table of responses: a row per sample, ``treatment`` and a column per readout.

condition, treatment, batch, ERK1, AKT1, viability
901,       MEKi 1.5 uM, 1,   -0.8, 0.1, -0.3
901|HN,    MEKi 1.5 uM + HDACi 6 uM, 1, ...
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.chemistry.names import fold_name
from models.perturbation.data import Kind, ResponseTable
from models.screen import ScreenError
from service.assays.files_in.numbers import Numbers, flag_of
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.datasets.reading.found import Found
from service.datasets.reading.treatments import Perturbations, Treatment, treatment_at

NAME = "responses table"
_TREATMENT = {"treatment", "perturbation", "perturbations"}
_CONDITION = {"condition", "sample", "sample id"}
_BATCH = {"batch", "plate"}
_QUALITY = {"low quality", "low_quality", "qc failed", "qc_failed"}
_YES_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_FIX = "one row a sample, a column 'treatment', and a column of numbers for each readout"


@dataclass(frozen=True)
class _Columns:
    treatment: int
    condition: int | None
    batch: int | None
    quality: int | None
    readouts: tuple[int, ...]


def read_responses(source: Source, kind: Kind) -> Found:
    """The table in a text file, a workbook's first sheet or Parquet. Raises :class:`FileError`."""
    sheet = source.sheets[0]
    head = next((at for at in range(len(sheet.rows)) if not sheet.is_empty(at)), None)
    if head is None:
        raise FileError(NAME, 1, "the table is empty", _FIX)
    columns = _columns_of(sheet, head)
    rows = [at for at in range(head + 1, len(sheet.rows)) if not sheet.is_empty(at)]
    if not rows:
        raise sheet.error(NAME, head, "there are no rows below the header", _FIX)
    treatments = [treatment_at(sheet, at, columns.treatment) for at in rows]
    perturbations = Perturbations.of(treatments)
    if not perturbations.names:
        message = "no row names a perturbation: all are controls"
        raise sheet.error(NAME, rows[0], message, "fill the column 'treatment'", columns.treatment)
    values, notes = _values(sheet, rows, columns)
    names = [
        sheet.cell(at, columns.condition) if columns.condition is not None else ""
        for at in rows
    ]  # fmt: skip
    try:
        table = ResponseTable.of(
            perturbations=perturbations.names,
            readouts=[sheet.cell(head, column) for column in columns.readouts],
            conditions=condition_names(names, treatments),
            doses=dose_matrix(perturbations, treatments),
            values=values,
            kind=kind,
            batch=_batches(sheet, rows, columns),
            low_quality=_flags(sheet, rows, columns),
        )
    except ScreenError as error:
        raise FileError(NAME, None, str(error), _FIX) from None
    library = np.nansum(values, axis=1) if kind == "counts" else None
    return Found(table, perturbations.units, notes, library)


def dose_matrix(perturbations: Perturbations, treatments: list[Treatment]) -> np.ndarray:
    """``(n, p)`` doses, 0 where absent."""
    columns = perturbations.columns()
    doses = np.zeros((len(treatments), len(perturbations.names)))
    for row, treatment in enumerate(treatments):
        for part in treatment:
            doses[row, columns[fold_name(part.name)]] = part.dose
    return doses


def condition_names(given: list[str], treatments: list[Treatment]) -> list[str]:
    """Names as given; a sample without one is called by its treatment."""
    return [
        name or " + ".join(f"{part.name} {part.dose:g}" for part in treatment) or "control"
        for name, treatment in zip(given, treatments, strict=True)
    ]


def _columns_of(sheet: Sheet, head: int) -> _Columns:
    names = [cell.strip() for cell in sheet.rows[head]]
    while names and not names[-1]:
        names.pop()
    found: dict[str, int] = {}
    readouts = []
    seen: dict[str, int] = {}
    for column, name in enumerate(names):
        if not name:
            raise sheet.error(NAME, head, "a column has no name", _FIX, column)
        if name in seen:
            raise sheet.error(NAME, head, f"two columns are called {shorten(name)}", _FIX, column)
        seen[name] = column
        role = _role(fold_name(name))
        if role is None:
            readouts.append(column)
        elif role in found:
            raise sheet.error(NAME, head, f"two columns hold the {role}", _FIX, column)
        else:
            found[role] = column
    if "treatment" not in found:
        raise sheet.error(NAME, head, "there is no column 'treatment'", _FIX)
    if not readouts:
        raise sheet.error(NAME, head, "there is no column of readouts", _FIX)
    return _Columns(
        found["treatment"], found.get("condition"), found.get("batch"), found.get("quality"),
        tuple(readouts),
    )  # fmt: skip


def _role(folded: str) -> str | None:
    roles = {"treatment": _TREATMENT, "condition": _CONDITION, "batch": _BATCH, "quality": _QUALITY}
    return next((role for role, words in roles.items() if folded in words), None)


def _values(sheet: Sheet, rows: list[int], columns: _Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    numbers = Numbers(sheet.cell(at, column) for at in rows for column in columns.readouts)
    if numbers.mixed:
        message = "some numbers have a decimal point and some a decimal comma"
        raise FileError(NAME, None, message, "write all of them in one way")
    values = np.full((len(rows), len(columns.readouts)), np.nan)
    missing = 0
    for i, at in enumerate(rows):
        for j, column in enumerate(columns.readouts):
            text = sheet.cell(at, column)
            if flag_of(text) is not None:
                missing += 1
                continue
            number = numbers.read(text)
            if isinstance(number, str):
                fix = f"a number belongs under {sheet.cell(_head_of(sheet), column)!r}"
                raise sheet.error(NAME, at, number, fix, column)
            values[i, j] = number
    notes = (f"{missing:,} of {values.size:,} values are missing",) if missing else ()
    return values, notes


def _head_of(sheet: Sheet) -> int:
    return next(at for at in range(len(sheet.rows)) if not sheet.is_empty(at))


def _batches(sheet: Sheet, rows: list[int], columns: _Columns) -> list[str]:
    if columns.batch is None:
        return []
    found = [sheet.cell(at, columns.batch) for at in rows]
    for at, name in zip(rows, found, strict=True):
        if not name:
            raise sheet.error(NAME, at, "this row names no batch", "name one", columns.batch)
    return found


def _flags(sheet: Sheet, rows: list[int], columns: _Columns) -> np.ndarray | None:
    if columns.quality is None:
        return None
    flags = []
    for at in rows:
        text = fold_name(sheet.cell(at, columns.quality))
        if text not in _YES_NO:
            message = f"{shorten(text)} says neither yes nor no"
            raise sheet.error(NAME, at, message, "write 1 or 0", columns.quality)
        flags.append(_YES_NO[text])
    return np.array(flags, np.bool_)
