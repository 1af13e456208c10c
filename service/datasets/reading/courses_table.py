"""Time courses: a long table (a row per series and time), a plate reader's wide table (a block of
columns per signal, a line of times below the header), or an IncuCyte workbook by condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.chemistry.names import fold_name
from service.assays.files_in import incucyte
from service.assays.files_in.numbers import Numbers, flag_of
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.results import TableFile
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.datasets.reading.found import Course, Courses
from service.datasets.reading.treatments import Part, Perturbations, Treatment, treatment_at

NAME = "time courses"
FIX = (
    "one row per series and time: columns 'series' (or 'well'), 'time_h', 'treatment', and one of "
    "numbers for each channel; 'cell_line' and 'plate' where there are several"
)
_ROLES = {
    "series": {"series", "well", "well id", "sample"},
    "time": {"time_h", "time h", "time (h)", "elapsed", "elapsed (h)", "hours", "time"},
    "treatment": {"treatment", "condition"},
    "cell_line": {"cell_line", "cell line", "cellline", "line", "device"},
    "plate": {"plate", "batch", "barcode", "experiment"},
}
_MOST_HOURS = 10_000.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One value, and the series that it belongs to."""

    series: str
    cell_line: str
    plate: str
    treatment: Treatment
    time_h: float
    channel: str
    value: float
    line: int


def read_courses(source: Source) -> Courses:
    """The series of a file. Raises :class:`FileError`."""
    if source.kind == "workbook" and incucyte.recognise(source).score > 0:
        return _incucyte(source)
    sheet = source.sheets[0]
    head = next((at for at in range(len(sheet.rows)) if not sheet.is_empty(at)), None)
    if head is None:
        raise FileError(NAME, 1, "the table is empty", FIX)
    if _is_wide(sheet, head):
        from service.datasets.reading.signal_blocks import read_signal_blocks

        return read_signal_blocks(sheet, head, source.name)
    return _long(sheet, head)


def _is_wide(sheet: Sheet, head: int) -> bool:
    """A line of times under the header: blank where the header names what a well is."""
    if head + 1 >= len(sheet.rows):
        return False
    times = [cell.strip() for cell in sheet.rows[head + 1]]
    blank = next((i for i, cell in enumerate(times) if cell), len(times))
    return 1 <= blank < len(times) - 1 and all(sheet.cell(head, i) for i in range(blank, blank + 2))


def _long(sheet: Sheet, head: int) -> Courses:
    columns, channels = _columns(sheet, head)
    rows = [at for at in range(head + 1, len(sheet.rows)) if not sheet.is_empty(at)]
    texts = (sheet.cell(at, c) for at in rows for c in (columns["time"], *channels.values()))
    numbers = Numbers(texts)
    if numbers.mixed:
        message = "some numbers have a decimal point and some a decimal comma"
        raise FileError(NAME, None, message, "write all of them in one way")
    readings: list[Reading] = []
    for at in rows:
        time = _number(sheet, at, columns["time"], numbers)
        if time is None or not 0 <= time <= _MOST_HOURS:
            message = f"{shorten(sheet.cell(at, columns['time']))} is no time in hours"
            raise sheet.error(NAME, at, message, "give hours from the start", columns["time"])
        series, line, plate = (
            sheet.cell(at, columns[role]) if role in columns else ""
            for role in ("series", "cell_line", "plate")
        )
        if not series:
            message = "this row names no series"
            raise sheet.error(NAME, at, message, "name the well", columns["series"])
        treatment = treatment_at(sheet, at, columns["treatment"])
        readings += [
            Reading(
                series, line, plate, treatment, time, channel,
                np.nan if (value := _number(sheet, at, column, numbers)) is None else value,
                sheet.line(at),
            )
            for channel, column in channels.items()
        ]  # fmt: skip
    return collect(readings, tuple(channels))


def _columns(sheet: Sheet, head: int) -> tuple[dict[str, int], dict[str, int]]:
    names = [cell.strip() for cell in sheet.rows[head]]
    while names and not names[-1]:
        names.pop()
    found: dict[str, int] = {}
    channels: dict[str, int] = {}
    for column, name in enumerate(names):
        if not name:
            raise sheet.error(NAME, head, "a column has no name", FIX, column)
        role = next((r for r, words in _ROLES.items() if fold_name(name) in words), None)
        if role in found:
            raise sheet.error(NAME, head, f"two columns hold the {role}", FIX, column)
        if role is not None:
            found[role] = column
        elif name in channels:
            raise sheet.error(NAME, head, f"two columns are called {shorten(name)}", FIX, column)
        else:
            channels[name] = column
    for role in ("series", "time", "treatment"):
        if role not in found:
            raise sheet.error(NAME, head, f"there is no column of the {role}", FIX)
    if not channels:
        raise sheet.error(NAME, head, "there is no column of readings", FIX)
    return found, channels


def _number(sheet: Sheet, at: int, column: int, numbers: Numbers) -> float | None:
    text = sheet.cell(at, column)
    if flag_of(text) is not None:
        return None
    number = numbers.read(text)
    if isinstance(number, str):
        raise sheet.error(NAME, at, number, FIX, column)
    return number


def _incucyte(source: Source) -> Courses:
    parsed = incucyte.parse(source)
    if not isinstance(parsed, TableFile):
        message = "this IncuCyte export lists wells without what is in them"
        raise FileError(NAME, 1, message, "export it by condition, or send " + FIX)
    readings = []
    notes = list(parsed.notes)
    for row in parsed.rows:
        if row.role == "blank":
            continue
        treatment = tuple(Part(name, dose, "uM") for name, dose in row.components)
        said = " + ".join(f"{name} {dose:g} uM" for name, dose in row.components) or "control"
        channel, _, block = (row.channel or "signal").partition("_")
        name = " / ".join(filter(None, (block, said, row.replicate)))
        value = np.nan if row.value is None else row.value
        readings.append(
            Reading(name, "", block, treatment, row.time_h or 0.0, channel, value, row.line)
        )
    if any(row.role == "blank" for row in parsed.rows):
        readings, note = _without_background(readings, parsed)
        notes.append(note)
    channels = tuple(dict.fromkeys(reading.channel for reading in readings))
    found = collect(readings, channels)
    return Courses(
        found.courses, found.channels, found.perturbations, found.units, found.series,
        found.time_h, found.values, (*notes, *found.notes),
    )  # fmt: skip


def _without_background(
    readings: Sequence[Reading], parsed: TableFile
) -> tuple[list[Reading], str]:
    """Readings minus the blank of their sheet at their time, averaged over its replicates."""
    blanks: dict[tuple[str, float], list[float]] = {}
    for row in parsed.rows:
        if row.role == "blank" and row.value is not None:
            blanks.setdefault((row.channel or "signal", row.time_h or 0.0), []).append(row.value)
    lowered = []
    for reading in readings:
        sheet = "_".join(filter(None, (reading.channel, reading.plate)))
        blank = blanks.get((sheet, reading.time_h))
        value = reading.value - (float(np.mean(blank)) if blank else 0.0)
        lowered.append(
            Reading(
                reading.series, reading.cell_line, reading.plate, reading.treatment,
                reading.time_h, reading.channel, value, reading.line,
            )
        )  # fmt: skip
    return lowered, "the blank of each sheet was subtracted, time by time"


def collect(readings: Sequence[Reading], channels: tuple[str, ...]) -> Courses:
    """Readings as series. Raises :class:`FileError` for two values of one place and time, and for
    a series that is two things."""
    if not readings:
        raise FileError(NAME, 1, "there are no readings", FIX)
    perturbations = Perturbations.of([reading.treatment for reading in readings])
    columns = perturbations.columns()
    channel_of = {name: at for at, name in enumerate(channels)}
    heads: dict[tuple[str, str], Reading] = {}
    cells: dict[tuple[str, str], dict[float, list[float]]] = {}
    taken: set[tuple[str, str, float, str]] = set()
    for reading in readings:
        key = (reading.plate, reading.series)
        first = heads.setdefault(key, reading)
        if (first.treatment, first.cell_line) != (reading.treatment, reading.cell_line):
            what = (
                f"series {shorten(reading.series)} has another treatment or cell line than on "
                f"line {first.line}"
            )
            raise FileError(NAME, reading.line, what, "give each well its own name, or its plate")
        place = (*key, reading.time_h, reading.channel)
        if place in taken:
            what = f"series {shorten(reading.series)} has two readings at {reading.time_h:g} h"
            raise FileError(NAME, reading.line, what, "give each well its own name, or its plate")
        taken.add(place)
        row = cells.setdefault(key, {}).setdefault(reading.time_h, [np.nan] * len(channels))
        row[channel_of[reading.channel]] = reading.value
    courses, series, times, values = [], [], [], []
    for number, key in enumerate(sorted(heads)):
        head = heads[key]
        doses = [0.0] * len(columns)
        for part in head.treatment:
            doses[columns[fold_name(part.name)]] = part.dose
        courses.append(Course(head.series, head.cell_line, head.plate, tuple(doses)))
        for time in sorted(cells[key]):
            series.append(number)
            times.append(time)
            values.append(cells[key][time])
    table = np.array(values, np.float64)
    missing = int(np.isnan(table).sum())
    notes = (f"{missing:,} of {table.size:,} readings are missing",) if missing else ()
    return Courses(
        tuple(courses), channels, perturbations.names, perturbations.units,
        np.array(series, np.int64), np.array(times), table, notes,
    )  # fmt: skip
