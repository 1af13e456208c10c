"""IncuCyte exports: confluence or fluorescence over time, by condition or by well.

By condition: a workbook with a sheet per channel, ``Elapsed`` (h) and a column per condition
(``PIM447 2.5 uM + OSI-906 10 uM``). By well: text with ``Date Time``, ``Elapsed``, ``A1``...
"""

from __future__ import annotations

import re

from models.chemistry.names import fold_name
from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.compounds import parse_condition
from service.assays.files_in.grid import Decimal, RawCell, ReadingMaker
from service.assays.files_in.numbers import flag_of
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import (
    Measurement,
    ReaderFile,
    ReaderPlate,
    ScaleEvidence,
    TableFile,
    TableRow,
    smallest_format,
)
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.plates.geometry import parse_well
from service.plates.problems import PlateError

NAME = "incucyte"
_AGAIN = "export the experiment again from IncuCyte"
_WELL = re.compile(r"[A-P][0-9]{1,2}")


def recognise(source: Source) -> Certainty:
    """A column ``Elapsed`` beside conditions or wells."""
    if source.kind not in {"text", "workbook"}:
        return NO
    heads = [(sheet, at) for sheet in _sheets(source) if (at := _head(sheet)) is not None]
    if not heads:
        return NO
    sheet, at = heads[0]
    vessel = any(sheet.cell(i, 0).startswith(("Vessel Name", "Metric")) for i in range(at))
    return Certainty(0.95 if vessel else 0.85, "has a column 'Elapsed' of times")


def _sheets(source: Source) -> tuple[Sheet, ...]:
    if source.kind == "workbook":
        return source.book
    line = next((line for line in source.lines[:40] if "Elapsed" in line), "")
    separator = "\t" if "\t" in line else ","
    return (source.split(separator),) if line else ()


def _head(sheet: Sheet) -> int | None:
    for at in range(min(len(sheet.rows), 20)):
        if any(_is_elapsed(cell) for cell in sheet.rows[at][:2]):
            return at
    return None


def _is_elapsed(cell: str) -> bool:
    return fold_name(cell) in {"elapsed", "elapsed (h)", "elapsed (hours)"}


def parse(source: Source, decimal: Decimal = None) -> ReaderFile | TableFile:
    """A plate per time point, or a table of conditions. Raises :class:`FileError`."""
    sheets = [sheet for sheet in _sheets(source) if _head(sheet) is not None]
    if not sheets:
        raise FileError(NAME, 1, "no column 'Elapsed' was found", _AGAIN)
    texts = [cell for sheet in sheets for row in sheet.rows[_top(sheet) :] for cell in row]
    maker = ReadingMaker(NAME, texts, decimal)
    tables = [_Table(sheet) for sheet in sheets]
    by_well = {table.by_well for table in tables}
    if by_well == {True}:
        plates = [plate for table in tables for plate in table.plates(maker, source)]
        return ReaderFile(NAME, "IncuCyte", check_plates(NAME, plates), maker.notes)
    if by_well == {True, False}:
        raise FileError(NAME, 1, "some sheets list wells, others conditions", _AGAIN)
    rows = tuple(row for table in tables for row in table.rows(maker))
    if not any(row.value is not None for row in rows):
        raise FileError(NAME, 1, "there is no reading in the file", _AGAIN)
    others = [sheet.name for sheet in _sheets(source) if _head(sheet) is None]
    notes = [f"sheet {name!r} left aside" for name in others]
    reason = "IncuCyte measures area or confluence, not viability"
    scale = ScaleEvidence("raw", None, (reason,))
    return TableFile(NAME, rows, scale, "uM", (*notes, *maker.notes))


def _top(sheet: Sheet) -> int:
    at = _head(sheet)
    return 0 if at is None else at + 1


class _Table:
    """One sheet: where its times, columns and lines are."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.head = _top(sheet) - 1
        cells = [cell.strip() for cell in sheet.rows[self.head]]
        while cells and not cells[-1]:
            cells.pop()
        self.time = next(i for i, cell in enumerate(cells) if _is_elapsed(cell))
        self.fields = list(range(self.time + 1, len(cells)))
        self.names = [cells[field] for field in self.fields]
        self.by_well = bool(self.names) and all(_WELL.fullmatch(name) for name in self.names)
        self.lines = [at for at in range(self.head + 1, len(sheet.rows)) if not sheet.is_empty(at)]
        self._check()

    def _check(self) -> None:
        sheet = self.sheet
        if not self.names or not all(self.names):
            raise sheet.error(NAME, self.head, "a column has no name", _AGAIN)
        if len({fold_name(name) for name in self.names}) != len(self.names):
            raise sheet.error(NAME, self.head, "two columns have one name", _AGAIN)
        if not self.lines:
            raise sheet.error(NAME, self.head, "there are no times below the header", _AGAIN)
        width = self.fields[-1] + 1
        for at in self.lines:
            if len(sheet.rows[at]) < width or any(c.strip() for c in sheet.rows[at][width:]):
                message = f"this row has {len(sheet.rows[at])} fields, the header {width}"
                raise sheet.error(NAME, at, message, _AGAIN)

    def times(self, maker: ReadingMaker) -> list[tuple[float, int]]:
        """``(hours, repeat)`` of every line.

        Times may start again, for a replicate below the last: then all must list the same times.
        """
        times = [maker.number(self.sheet, at, self.time, "the elapsed time") for at in self.lines]
        runs: list[list[float]] = [[]]
        for at, time in zip(self.lines, times, strict=True):
            if time < 0 or (runs[-1] and time == runs[-1][-1]):
                message = f"time {time:g} does not follow the line above"
                raise self.sheet.error(NAME, at, message, _AGAIN, self.time)
            if runs[-1] and time < runs[-1][-1]:
                runs.append([])
            runs[-1].append(time)
            if len(runs) > 1 and runs[0][: len(runs[-1])] != runs[-1]:
                message = f"time {time:g} is not at this place of the first replicate"
                raise self.sheet.error(NAME, at, message, _AGAIN, self.time)
        if any(len(run) != len(runs[0]) for run in runs) or (self.by_well and len(runs) > 1):
            message = "the replicates below each other list different times: cut off?"
            raise self.sheet.error(NAME, self.lines[-1], message, _AGAIN)
        return [(time, number) for number, run in enumerate(runs, 1) for time in run]

    def rows(self, maker: ReadingMaker) -> list[TableRow]:
        sheet = self.sheet
        treatments = [
            parse_condition(NAME, sheet, self.head, field, name)
            for field, name in zip(self.fields, self.names, strict=True)
        ]
        rows = []
        times = self.times(maker)
        several = times[-1][1] > 1
        for at, (time, repeat) in zip(self.lines, times, strict=True):
            for field, (components, role) in zip(self.fields, treatments, strict=True):
                flag = flag_of(sheet.cell(at, field))
                value = None if flag else maker.number(sheet, at, field, "the reading")
                rows.append(
                    TableRow(
                        line=sheet.line(at),
                        field=field + 1,
                        cell_line=None,
                        components=components,
                        value=value,
                        flag=flag,
                        role=role,
                        replicate=str(repeat) if several else None,
                        time_h=time,
                        channel=(sheet.name or "").strip() or None,
                        block=(sheet.name or "").strip() or None,
                        sheet=sheet.name,
                    )
                )
        return rows

    def plates(self, maker: ReadingMaker, source: Source) -> list[ReaderPlate]:
        sheet = self.sheet
        try:
            wells = [parse_well(name) for name in self.names]
        except PlateError as error:
            raise sheet.error(NAME, self.head, str(error), _AGAIN) from None
        plate = smallest_format(max(r for r, _ in wells) + 1, max(c for _, c in wells) + 1)
        if plate is None:
            raise sheet.error(NAME, self.head, "the wells are on no known plate", _AGAIN)
        facts = self._facts()
        stem = source.name.rsplit(".", 1)[0]
        name = facts.get("Vessel Name", stem)
        metric = facts.get("Metric") or sheet.name or "IncuCyte"
        return [
            ReaderPlate(
                barcode=None,
                plate_name=name,
                format=plate,
                readings=maker.readings(
                    sheet,
                    [
                        RawCell(*well, sheet.cell(at, field), at, field)
                        for well, field in zip(wells, self.fields, strict=True)
                    ],
                ),
                measurement=Measurement(metric, channel=metric),
                time_h=time,
                identifiers=tuple(dict.fromkeys((name, stem))),
                sheet=sheet.name,
                format_proof="grid" if len(wells) == plate.size else "wells",
            )
            for at, (time, _) in zip(self.lines, self.times(maker), strict=True)
        ]

    def _facts(self) -> dict[str, str]:
        facts: dict[str, str] = {}
        for at in range(self.head):
            key, _, value = self.sheet.cell(at, 0).partition(":")
            facts[key.strip()] = value.strip() or self.sheet.cell(at, 1)
        return {key: value for key, value in facts.items() if key and value}
