"""What every reader of instrument files needs: certainty, checks of the whole file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.assays.files_in.grid import Decimal
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import Parsed, ReaderPlate
from service.assays.files_in.sources import Source
from service.plates.geometry import PlateFormat


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure a reader is that a file is its own: 0 (no) to 1 (it says so), and why."""

    score: float
    why: str


NO = Certainty(0.0, "")


@dataclass(frozen=True)
class Format:
    """A reader: its name, and the two functions every one has."""

    name: str
    title: str
    recognise: Callable[[Source], Certainty]
    parse: Callable[[Source, Decimal], Parsed]


def unquote(text: str) -> str:
    """A field without Excel's ``="..."`` around it."""
    match = re.fullmatch(r'="(.*)"', text.strip())
    return (match[1] if match else text).strip()


def check_plates(name: str, plates: Sequence[ReaderPlate]) -> tuple[ReaderPlate, ...]:
    """Refuse a file without one number, and two readings of one plate that claim to be the same."""
    if not any(plate.n_read for plate in plates):
        line = plates[0].readings[0].line if plates and plates[0].readings else None
        raise FileError(name, line, "there is no reading in the file", "export the measured plate")
    seen: dict[tuple[object, ...], ReaderPlate] = {}
    for plate in plates:
        key = (
            plate.barcode,
            plate.plate_name,
            plate.measurement,
            plate.unit,
            plate.time_h,
            plate.sheet,
            plate.read_at,
        )
        if key in seen:
            raise FileError(
                name,
                plate.readings[0].line if plate.readings else None,
                f"plate {plate.barcode or plate.plate_name!r} is in the file twice",
                "give each plate its own name, or delete the copy",
                sheet=plate.sheet,
            )
        seen[key] = plate
        check_wells(name, plate)
    return tuple(plates)


def check_wells(name: str, plate: ReaderPlate) -> None:
    """Refuse a well that comes twice, or that the plate does not have."""
    seen: set[tuple[int, int]] = set()
    for reading in plate.readings:
        at = (reading.row, reading.column)
        if at in seen or not plate.format.has(at):
            what = "comes twice" if at in seen else f"is not on {plate.format.size} wells"
            message = f"well (row {at[0] + 1}, column {at[1] + 1}) {what}"
            raise FileError(name, reading.line, message, "correct the well", sheet=plate.sheet)
        seen.add(at)


def stated_format(text: str) -> int | None:
    """The one plate size that a text names (``384 OptiPlate``, ``[NUN384fb.pdfx]``)."""
    found = {
        int(size)
        for size in re.findall(r"(?<![0-9])(6|12|24|48|96|384|1536)(?![0-9])", text)
        if int(size) >= 96
    }
    return found.pop() if len(found) == 1 else None


def rows_needed(plate: PlateFormat, rows: int) -> str:
    """Words for a grid with too few rows."""
    return f"{rows} rows where {plate.size} wells need {plate.rows}"
