"""One ``Plate:`` block of SoftMax Pro: its head, and its table in either layout.

PlateFormat prints each time point or wavelength as a plate, several wavelengths side by side;
TimeFormat prints one line per time point or wavelength with a column per well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from service.assays.files_in.grid import RawCell, known_format
from service.assays.files_in.results import Kind
from service.assays.files_in.sheets import Sheet
from service.plates.geometry import PlateFormat, parse_well
from service.plates.problems import PlateError

NAME = "softmax_pro"
AGAIN = "export the data again from SoftMax Pro"

_KINDS: dict[str, Kind] = {
    "Absorbance": "absorbance",
    "Luminescence": "luminescence",
    "Fluorescence": "fluorescence",
}
_TYPES = ("Endpoint", "Kinetic", "Spectrum")
_TIME = re.compile(r"(?:([0-9]+)\.)?(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{2}(?:[.,][0-9]+)?)")


@dataclass(frozen=True)
class PlateHead:
    """What the line ``Plate:`` says. ``steps``: wavelengths of a spectrum; ``points``: times.

    The region read is rows ``top`` to ``bottom`` and columns ``left`` to ``right``, exclusive.
    """

    name: str
    layout: str
    read_type: str
    mode: str
    kind: Kind | None
    reduced: bool
    format: PlateFormat
    points: int
    wavelengths: tuple[float | None, ...]
    excitations: tuple[float, ...]
    steps: tuple[float, ...]
    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Section:
    """One wavelength at one time: the cells of the region, with their texts."""

    cells: tuple[RawCell, ...]
    channel: int
    wavelength_nm: float | None
    time_h: float | None
    has_reduced: bool = False


def read_head(sheet: Sheet, at: int) -> PlateHead:
    """The head of the block at ``at``. Raises :class:`FileError`."""
    fields = [cell.strip() for cell in sheet.rows[at]]
    fields += [""] * (32 - len(fields))
    layout, read_type, mode = fields[3], fields[4], fields[5]
    if layout not in {"PlateFormat", "TimeFormat"}:
        raise sheet.error(NAME, at, f"{layout[:40]!r} is no plate layout", AGAIN)
    if read_type not in _TYPES:
        message = f"{read_type[:40]!r} has many readings in a well and is not read"
        raise sheet.error(NAME, at, message, "export an endpoint, kinetic or spectrum read")
    if mode not in _KINDS:
        message = f"read mode {mode[:40]!r} is not known"
        raise sheet.error(NAME, at, message, "export absorbance, fluorescence or luminescence")
    if read_type == "Spectrum" and mode == "Luminescence":
        message = "a luminescence spectrum has no reading per well"
        raise sheet.error(NAME, at, message, "export an endpoint read of the plate")
    shift = 1 if mode == "Fluorescence" else 0
    return _head(sheet, at, fields, shift)


def _head(sheet: Sheet, at: int, fields: list[str], shift: int) -> PlateHead:
    def whole(index: int, what: str) -> int:
        if not re.fullmatch(r"[0-9]{1,5}", fields[index + shift]):
            message = f"the head's {what} is {fields[index + shift][:20]!r}, no whole number"
            raise sheet.error(NAME, at, message, AGAIN)
        return int(fields[index + shift])

    kind_of_data = fields[6 + shift]
    if kind_of_data not in {"Raw", "Reduced"}:
        raise sheet.error(NAME, at, f"data type {kind_of_data[:20]!r} is not known", AGAIN)
    plate = known_format(whole(18, "number of wells"))
    if plate is None:
        raise sheet.error(NAME, at, f"no plate has {fields[18 + shift]} wells", AGAIN)
    left, columns = whole(16, "first column") - 1, whole(17, "number of columns")
    top, rows = _rows_of(fields, shift, plate)
    if left < 0 or top < 0 or left + columns > plate.columns or top + rows > plate.rows:
        raise sheet.error(NAME, at, "the region read lies beyond the plate", AGAIN)
    spectrum = fields[4] == "Spectrum"
    reduced = kind_of_data == "Reduced"
    start, last, step = (whole(i, "spectrum") for i in (11, 12, 13)) if spectrum else (0, 0, 0)
    steps = tuple(float(nm) for nm in range(start, last + 1, step)) if step else ()
    waves = _wavelengths(fields[15 + shift])
    if not spectrum and len(waves) != whole(14, "number of wavelengths"):
        raise sheet.error(NAME, at, "the head lists another number of wavelengths", AGAIN)
    points = whole(8, "number of reads")
    if points < 1 or (spectrum and points != len(steps)):
        message = f"the head says {points} reads, which its wavelengths or times do not give"
        raise sheet.error(NAME, at, message, AGAIN)
    return PlateHead(
        name=fields[1],
        layout=fields[3],
        read_type=fields[4],
        mode=fields[5],
        kind=_KINDS[fields[5]],
        reduced=reduced,
        format=plate,
        points=1 if reduced else points,
        wavelengths=(None,) if spectrum or reduced else waves,
        excitations=_excitations(fields[20]) if shift else (),
        steps=() if reduced else steps,
        left=left,
        right=left + columns,
        top=top,
        bottom=top + rows,
    )


def _rows_of(fields: list[str], shift: int, plate: PlateFormat) -> tuple[int, int]:
    """First row and number of rows: the last two adjacent whole numbers of the head."""
    tail = fields[19 + shift :]
    for index in range(len(tail) - 1, 0, -1):
        pair = tail[index - 1], tail[index]
        if all(re.fullmatch(r"[0-9]{1,2}", number) for number in pair):
            return int(pair[0]) - 1, int(pair[1])
    return 0, plate.rows


def _wavelengths(text: str) -> tuple[float | None, ...]:
    numbers = [word for word in text.split() if re.fullmatch(r"[0-9]{1,4}", word)]
    # 0 nm stands for all light.
    return tuple(float(word) or None for word in numbers) if numbers else (None,)


def _excitations(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split() if re.fullmatch(r"[0-9]{3,4}", word))


def read_sections(
    sheet: Sheet, head: PlateHead, start: int, end: int
) -> tuple[PlateHead, list[Section]]:
    """Every wavelength and time of the block between its head and ``~End``.

    A plate with nothing but a reduced table is read from that; the head says so then.
    """
    body = list(range(start + 1, end))
    groups = list(_groups(sheet, body[1:]))
    if not body or not groups:
        raise sheet.error(NAME, start, "the plate has no table", AGAIN)
    plates = head.layout == "PlateFormat"
    header = body[0]
    if not head.reduced and _is_reduced(sheet, groups[0][0], "1" if plates else "A1"):
        head = replace(head, reduced=True, points=1, wavelengths=(None,), steps=())
        header, groups = groups[0][0], [groups[0][1:], *groups[1:]]
        if not groups[0]:
            raise sheet.error(NAME, header, "the reduced table is empty", AGAIN)
    read = _plate_format if plates else _time_format
    return head, read(sheet, head, header, groups)


def _groups(sheet: Sheet, rows: list[int]) -> Iterator[list[int]]:
    """Runs of rows between blank lines. A plate with empty rows still has its tabs."""
    group: list[int] = []
    for at in rows:
        if len(sheet.rows[at]) <= 3 and sheet.is_empty(at):
            if group:
                yield group
            group = []
        else:
            group.append(at)
    if group:
        yield group


def _is_reduced(sheet: Sheet, at: int, label: str) -> bool:
    """Whether a group starts with labels again: the reduced table."""
    return not sheet.cell(at, 0) and not sheet.cell(at, 1) and sheet.cell(at, 2) == label


def _split_reduced(
    sheet: Sheet, head: PlateHead, groups: list[list[int]], label: str, expected: int
) -> tuple[list[list[int]], bool]:
    first = next((i for i, group in enumerate(groups) if _is_reduced(sheet, group[0], label)), None)
    raw = groups if first is None else groups[:first]
    if first is not None and len(groups) - first > 1:
        at = groups[first + 1][0]
        raise sheet.error(NAME, at, "a table follows after the reduced table", AGAIN)
    if len(raw) != expected:
        at = raw[-1][-1] if raw else groups[0][0]
        message = f"the plate has {len(raw)} tables where its head says {expected}"
        raise sheet.error(NAME, at, message, AGAIN)
    return raw, first is not None


def _plate_format(
    sheet: Sheet, head: PlateHead, header: int, groups: list[list[int]]
) -> list[Section]:
    lefts = _check_header(sheet, head, header)
    tables, reduced = _split_reduced(sheet, head, groups, "1", len(head.steps) or head.points)
    sections = []
    for number, rows in enumerate(tables):
        if len(rows) != head.format.rows:
            message = f"this table has {len(rows)} rows; {head.format.size} wells need "
            raise sheet.error(NAME, rows[0], f"{message}{head.format.rows}", AGAIN)
        for at in rows[1:]:
            if sheet.cell(at, 0) and not re.fullmatch(r"[A-P]", sheet.cell(at, 0)):
                raise sheet.error(NAME, at, "a new table starts within the last", AGAIN)
        labelled = rows[0] if sheet.cell(rows[0], 0) else _labelled(sheet, rows)
        time, wave = _step(sheet, head, labelled, number)
        for channel, left in enumerate(lefts):
            cells = _region(sheet, head, rows, left)
            wavelength = wave if head.steps else head.wavelengths[channel]
            sections.append(Section(cells, channel, wavelength, time, reduced))
        for at in rows:
            _check_rest(sheet, head, at, lefts)
    return sections


def _labelled(sheet: Sheet, rows: list[int]) -> int:
    return next((at for at in rows if sheet.cell(at, 0)), rows[0])


def _check_header(sheet: Sheet, head: PlateHead, header: int) -> list[int]:
    """The field before each block of column numbers; every one must count 1 to the last."""
    cells = [cell.strip() for cell in sheet.rows[header]]
    count = head.format.columns
    numbers = [str(number) for number in range(1, count + 1)]
    lefts = [2 + channel * (count + 1) for channel in range(len(head.wavelengths))]
    end = lefts[-1] + count
    good = all(cells[left : left + count] == numbers for left in lefts)
    if not good or any(cells[end:]) or any(cells[left - 1] for left in lefts[1:]):
        message = f"the header should number the columns 1 to {count}, once per wavelength"
        raise sheet.error(NAME, header, message, AGAIN)
    return lefts


def _region(sheet: Sheet, head: PlateHead, rows: list[int], left: int) -> tuple[RawCell, ...]:
    cells = []
    for row in range(head.top, head.bottom):
        at = rows[row]
        if len(sheet.rows[at]) < left + head.right:
            message = f"this row ends before column {head.right}"
            raise sheet.error(NAME, at, message, AGAIN)
        for column in range(head.left, head.right):
            text = sheet.cell(at, left + column)
            cells.append(RawCell(row, column, text, at, left + column))
    return tuple(cells)


def _check_rest(sheet: Sheet, head: PlateHead, at: int, lefts: list[int]) -> None:
    """Nothing may stand outside the wavelengths' columns, or outside the region read."""
    row_at = {left + column for left in lefts for column in range(head.left, head.right)}
    for field in range(2, len(sheet.rows[at])):
        if field not in row_at and sheet.cell(at, field):
            message = f"{sheet.cell(at, field)[:20]!r} stands outside the columns that were read"
            raise sheet.error(NAME, at, message, AGAIN, field)


def _step(sheet: Sheet, head: PlateHead, at: int, number: int) -> tuple[float | None, float | None]:
    """``(time in hours, wavelength)`` of a table from its first field."""
    text = sheet.cell(at, 0)
    if head.read_type == "Kinetic":
        return _hours(sheet, at, text), None
    if head.read_type == "Spectrum" and head.steps:
        if text != f"{head.steps[number]:g}":
            message = f"wavelength {head.steps[number]:g} should stand here, not {text[:20]!r}"
            raise sheet.error(NAME, at, message, AGAIN)
        return None, head.steps[number]
    if text:
        raise sheet.error(NAME, at, f"{text[:20]!r} should not stand in an endpoint", AGAIN)
    return None, None


def _hours(sheet: Sheet, at: int, text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None:
        raise sheet.error(NAME, at, f"{text[:20]!r} is no time", AGAIN)
    days, hours, minutes = (int(part or 0) for part in match.groups()[:3])
    return 24 * days + hours + minutes / 60 + float(match[4].replace(",", ".")) / 3600


def _time_format(
    sheet: Sheet, head: PlateHead, header: int, groups: list[list[int]]
) -> list[Section]:
    wells = _well_columns(sheet, head, header)
    channels = len(head.wavelengths)
    tables, reduced = _split_reduced(sheet, head, groups, "A1", channels)
    sections = []
    lines = len(head.steps) or head.points
    for channel, rows in enumerate(tables):
        if len(rows) != lines:
            message = f"this table has {len(rows)} lines where the head says {lines}"
            raise sheet.error(NAME, rows[-1], message, AGAIN)
        beyond = _beyond(sheet, head, rows, wells)
        for number, at in enumerate(rows):
            if len(sheet.rows[at]) < 2 + len(wells):
                message = f"this line has {len(sheet.rows[at]) - 2} of {len(wells)} wells"
                raise sheet.error(NAME, at, message, AGAIN)
            time, wave = _step(sheet, head, at, number)
            wavelength = wave if head.steps else head.wavelengths[channel]
            cells = _line_cells(sheet, head, at, wells, beyond)
            sections.append(Section(cells, channel, wavelength, time, reduced))
    return sections


def _well_columns(sheet: Sheet, head: PlateHead, header: int) -> list[tuple[int, int]]:
    """The wells of the header in order; it must list the whole plate, each well once."""
    cells = [cell.strip() for cell in sheet.rows[header]][2:]
    while cells and not cells[-1]:
        cells.pop()
    try:
        wells = [head.format.check(parse_well(cell)) for cell in cells]
    except PlateError as error:
        raise sheet.error(NAME, header, str(error), AGAIN) from None
    if wells != list(head.format.wells()):
        message = f"the header should list the {head.format.size} wells in order, A1 first"
        raise sheet.error(NAME, header, message, AGAIN)
    return wells


def _beyond(
    sheet: Sheet, head: PlateHead, rows: list[int], wells: list[tuple[int, int]]
) -> frozenset[int]:
    """Wells outside the region that are filled all the same, on each of several lines."""
    filled = {
        frozenset(
            index
            for index, well in enumerate(wells)
            if not _inside(head, well) and sheet.cell(at, index + 2)
        )
        for at in rows
    }
    return filled.pop() if len(rows) > 1 and len(filled) == 1 else frozenset()


def _inside(head: PlateHead, well: tuple[int, int]) -> bool:
    return head.top <= well[0] < head.bottom and head.left <= well[1] < head.right


def _line_cells(
    sheet: Sheet,
    head: PlateHead,
    at: int,
    wells: list[tuple[int, int]],
    beyond: frozenset[int],
) -> tuple[RawCell, ...]:
    cells = []
    for index, (row, column) in enumerate(wells):
        text = sheet.cell(at, index + 2)
        if _inside(head, (row, column)) or index in beyond:
            cells.append(RawCell(row, column, text, at, index + 2))
        elif text:
            message = f"{text[:20]!r} stands outside the region that was read"
            raise sheet.error(NAME, at, message, AGAIN, index + 2)
    for field in range(2 + len(wells), len(sheet.rows[at])):
        if sheet.cell(at, field):
            raise sheet.error(NAME, at, "a value stands beyond the last well", AGAIN, field)
    return tuple(cells)
