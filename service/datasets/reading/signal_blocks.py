"""A plate reader's wide table: wells in rows, a block of columns per signal, times on line 2.

Content, Colony, Well Col, Well Row, Content,     EYFP, EYFP, ..., OD, OD, ...
       ,       ,         ,         ,        ,        0, 0.19, ...,  0, 0.19, ...
RS100,        ,        1,        A, C6=25000,      312,  314, ..., 0.08, ...
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from models.chemistry.names import fold_name
from service.assays.files_in.numbers import Numbers, flag_of
from service.assays.files_in.problems import shorten
from service.assays.files_in.sheets import Sheet
from service.datasets.reading.courses_table import FIX, NAME, Reading, collect
from service.datasets.reading.found import Courses
from service.datasets.reading.treatments import treatment_at

_RAW = re.compile(r"raw data \((.+?)\).*", re.IGNORECASE)


def read_signal_blocks(sheet: Sheet, head: int, file_name: str) -> Courses:
    """The series of such a table. Raises :class:`FileError`."""
    first = next(i for i, cell in enumerate(sheet.rows[head + 1]) if cell.strip())
    signals = _signals(sheet, head, first)
    wells = [at for at in range(head + 2, len(sheet.rows)) if not sheet.is_empty(at)]
    numbers = Numbers(
        sheet.cell(at, c) for at in (head + 1, *wells) for c in range(first, first + len(signals))
    )
    times = [
        _time(sheet, head + 1, first + i, numbers) if name else None
        for i, name in enumerate(signals)
    ]
    plate = file_name.rsplit(".", 1)[0]
    readings = []
    for at in wells:
        readings += _well(sheet, head, at, first, signals, times, numbers, plate)
    found = collect(readings, tuple(dict.fromkeys(name for name in signals if name)))
    counted = Counter(zip(signals, times, strict=True))
    twice = sorted(
        {t for (name, t), count in counted.items() if name and t is not None and count > 1}
    )
    if not twice:
        return found
    said = ", ".join(f"{time:g}" for time in twice)
    return replace(found, notes=(*found.notes, f"readings of one well at {said} h were averaged"))


def _signals(sheet: Sheet, head: int, first: int) -> list[str]:
    """The signal of each column; trailing columns without name or time are none."""
    width = max(len(sheet.rows[head]), len(sheet.rows[head + 1]))
    names = []
    for column in range(first, width):
        text = sheet.cell(head, column)
        match = _RAW.fullmatch(text)
        name = match[1] if match else text
        if bool(name) != bool(sheet.cell(head + 1, column)):
            message = "a column has a signal and no time, or a time and no signal"
            raise sheet.error(NAME, head + 1, message, FIX, column)
        names.append(name)
    return names


def _time(sheet: Sheet, at: int, column: int, numbers: Numbers) -> float:
    number = numbers.read(sheet.cell(at, column))
    if isinstance(number, str) or number < 0:
        message = f"{shorten(sheet.cell(at, column))} is no time in hours"
        raise sheet.error(NAME, at, message, "give hours from the start", column)
    return number


def _well(
    sheet: Sheet,
    head: int,
    at: int,
    first: int,
    signals: list[str],
    times: list[float | None],
    numbers: Numbers,
    plate: str,
) -> list[Reading]:
    facts = _Facts.of(sheet, head, at, first)
    treatment = treatment_at(sheet, at, facts.treatment)
    found: dict[tuple[str, float], list[float]] = {}
    for offset, (signal, time) in enumerate(zip(signals, times, strict=True)):
        text = sheet.cell(at, first + offset)
        if time is None:
            if text:
                raise sheet.error(NAME, at, "a value under no signal", FIX, first + offset)
            continue
        values = found.setdefault((signal, time), [])
        if flag_of(text) is None:
            number = numbers.read(text)
            if isinstance(number, str):
                raise sheet.error(NAME, at, number, "a number belongs here", first + offset)
            values.append(number)
    return [
        Reading(
            facts.name, facts.group, plate, treatment, time, signal,
            float(np.mean(values)) if values else np.nan, sheet.line(at),
        )
        for (signal, time), values in found.items()
    ]  # fmt: skip


@dataclass(frozen=True)
class _Facts:
    """What the columns before the signals say of a well."""

    name: str
    group: str
    treatment: int

    @classmethod
    def of(cls, sheet: Sheet, head: int, at: int, first: int) -> _Facts:
        names = [fold_name(sheet.cell(head, column)) for column in range(first)]
        contents = [i for i, name in enumerate(names) if name in ("content", "treatment")]
        if not contents:
            raise sheet.error(NAME, head, "no column says what is in a well", FIX)
        treatment = contents[-1]
        group = next((i for i, n in enumerate(names) if n in ("content", "cell line", "device")), 0)
        place = [
            sheet.cell(at, names.index(name)) for name in ("well row", "well col") if name in names
        ]
        line = sheet.cell(at, group) if group != treatment else ""
        return cls("".join(place) or str(sheet.line(at)), line, treatment)
