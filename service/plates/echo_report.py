"""Transfer reports of the Echo (Cherry Pick and Plate Reformat): what was really dispensed.

A report is a list of names and values, then a table of what went wrong (``[EXCEPTIONS]``), a table
of what was done (``[DETAILS]``) or both, then names and values of the instrument. Volumes are in
nL, those of the source fluid in uL.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from service.kit.csv_out import plain
from service.plates.geometry import WellAt, parse_well
from service.plates.numbers import amount
from service.plates.problems import PlateError

MAX_BYTES = 50_000_000
_SECTIONS = {"[DETAILS]": False, "[EXCEPTIONS]": True}
# Names have one value each; a file name with commas may look like a few more.
_MANY = 6
_NEEDED = (
    "Source Plate Barcode",
    "Source Well",
    "Destination Plate Barcode",
    "Destination Well",
    "Transfer Volume",
    "Actual Volume",
    "Transfer Status",
)


class Outcome(StrEnum):
    """How a transfer went: in full, in part, or not at all."""

    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass(frozen=True)
class ReportedTransfer:
    """One line of a report. ``line`` is that of the file, from 1."""

    line: int
    source_plate: str
    source_type: str
    source_well: WellAt
    destination: str
    destination_well: WellAt
    sample: str
    asked_nl: float
    actual_nl: float
    source_ul: float | None
    survey_ul: float | None
    status: str
    exception: bool
    when: str

    @property
    def outcome(self) -> Outcome:
        """Failed where nothing came out; partial where less came out than was asked for."""
        if self.actual_nl <= 0:
            return Outcome.FAILED
        return Outcome.PARTIAL if self.actual_nl < self.asked_nl - 1e-6 else Outcome.DONE

    @property
    def reason(self) -> str:
        """Why it did not go in full, in the words of the machine."""
        return self.status or f"{self.actual_nl:g} of {self.asked_nl:g} nL dispensed"


@dataclass(frozen=True)
class EchoReport:
    """A whole report; ``about`` holds its names and values (Run ID, Instrument Model, ...)."""

    about: Mapping[str, str]
    transfers: tuple[ReportedTransfer, ...]

    @property
    def run(self) -> str:
        """The machine's number of the run; empty where the report has none."""
        return self.about.get("Run ID", "")

    def of(self, outcome: Outcome) -> tuple[ReportedTransfer, ...]:
        """The transfers that went so."""
        return tuple(each for each in self.transfers if each.outcome is outcome)


def read_echo_report(data: bytes) -> EchoReport:
    """A report from its file. Refuses what it does not understand, with the line."""
    rows = _rows(data)
    if not any(cells[0].startswith("[") for _, cells in rows):
        raise PlateError(
            "this is no Echo transfer report: it has neither [DETAILS] nor [EXCEPTIONS]. A pick "
            "list or a survey is not a report"
        )
    about: dict[str, str] = {}
    found: list[ReportedTransfer] = []
    sections: set[str] = set()
    place = 0
    while place < len(rows):
        line, cells = rows[place]
        place += 1
        if cells[0] in _SECTIONS:
            if cells[0] in sections:
                raise PlateError(f"line {line}: the report has {cells[0]} twice")
            sections.add(cells[0])
            place, transfers = _section(rows, place, line, _SECTIONS[cells[0]])
            found += transfers
        elif cells[0].startswith("["):
            raise PlateError(f"line {line}: section {cells[0][:40]} of an Echo report is not known")
        elif sum(map(bool, cells)) >= _MANY:
            raise PlateError(f"line {line} looks like a transfer but stands outside of any table")
        elif any(cells):
            about.setdefault(cells[0], cells[1] if len(cells) > 1 else "")
    return EchoReport(about, _once(found))


def _once(found: Sequence[ReportedTransfer]) -> tuple[ReportedTransfer, ...]:
    """Without the exceptions that the table of details repeats word for word."""
    details = {replace(each, line=0) for each in found if not each.exception}
    return tuple(
        each
        for each in found
        if not each.exception or replace(each, line=0, exception=False) not in details
    )


def _rows(data: bytes) -> list[tuple[int, list[str]]]:
    """Lines with their cells; a blank line is one empty cell."""
    if len(data) > MAX_BYTES:
        raise PlateError(f"the Echo report is larger than {MAX_BYTES // 1_000_000} MB")
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise PlateError("the Echo report is not UTF-8 text; save it as CSV UTF-8") from None
    if "\x00" in text:
        raise PlateError("the Echo report has characters of a binary file; send the CSV itself")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        return [(reader.line_num, [cell.strip() for cell in cells] or [""]) for cells in reader]
    except csv.Error as error:
        raise PlateError(f"line {reader.line_num}: the Echo report is no CSV ({error})") from None


def _section(
    rows: Sequence[tuple[int, list[str]]], place: int, line: int, exception: bool
) -> tuple[int, list[ReportedTransfer]]:
    """The table of a section: its header, then lines up to a blank one."""
    if place >= len(rows) or not any(rows[place][1]):
        raise PlateError(f"line {line}: the section has no header line below it")
    header_line, header = rows[place]
    width = len(header)
    # A spreadsheet makes all lines equally long; what hangs over has no name and must be empty.
    while not header[-1]:
        header = header[:-1]
    if missing := [name for name in _NEEDED if name not in header]:
        raise PlateError(f"line {header_line}: the report lacks the columns {', '.join(missing)}")
    if len(set(header)) < len(header):
        raise PlateError(f"line {header_line}: the report names a column twice")
    found = []
    place += 1
    while place < len(rows) and any(rows[place][1]):
        number, cells = rows[place]
        if len(cells) != width or any(cells[len(header) :]):
            raise PlateError(
                f"line {number} has {len(cells)} cells, its header {len(header)}; the report is "
                "cut off or was edited"
            )
        row = dict(zip(header, cells[: len(header)], strict=True))
        found.append(_transfer(number, row, exception))
        place += 1
    return place, found


def _transfer(line: int, row: Mapping[str, str], exception: bool) -> ReportedTransfer:
    for name in ("Source Plate Barcode", "Destination Plate Barcode"):
        if not row[name]:
            raise PlateError(f"line {line}: {name} is empty; a plate without barcode is unknown")
    asked, actual = (_volume(line, row, name) for name in ("Transfer Volume", "Actual Volume"))
    if asked is None or actual is None:
        raise PlateError(f"line {line}: a transfer needs Transfer Volume and Actual Volume")
    return ReportedTransfer(
        line,
        plain(row["Source Plate Barcode"]),
        row.get("Source Plate Type", ""),
        _well(line, row, "Source Well"),
        plain(row["Destination Plate Barcode"]),
        _well(line, row, "Destination Well"),
        plain(row.get("Sample ID", "")),
        asked,
        actual,
        _volume(line, row, "Current Fluid Volume"),
        _volume(line, row, "Survey Fluid Volume"),
        row["Transfer Status"],
        exception,
        row.get("Date Time Point", ""),
    )


def _well(line: int, row: Mapping[str, str], name: str) -> WellAt:
    try:
        return parse_well(row[name])
    except PlateError as problem:
        raise PlateError(f"line {line}: {name}: {problem}") from None


def _volume(line: int, row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "")
    if not text:
        return None
    value = amount(text)
    if value is None:
        raise PlateError(f"line {line}: {name} is {text[:40]!r}, expected a number from 0 up")
    return value
