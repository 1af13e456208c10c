"""A run's manifest (Barcode, Template, Duration, clid) and its plate templates, as gDR writes them.

A template has one sheet per field (gnumber, concentration, gnumber_2, ...), each laid out as the
plate; doses are micromolar. Well A1 is cell B2 in some and cell A1 in others: letters and numbers
at the sides prove B2, contents in row 1 or column A prove A1, and otherwise the wells that were
read decide when ``join_manifest`` puts the run together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from models.chemistry.names import fold_name
from service.assays.files_in.common import NO, Certainty
from service.assays.files_in.compounds import compound_name, dose_um, is_vehicle, treatment
from service.assays.files_in.grid import Decimal, ReadingMaker, row_of
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import (
    FormatProof,
    LayoutFile,
    LayoutWell,
    ManifestEntry,
    ManifestFile,
    Origin,
    PlateLayout,
    ReaderFile,
    smallest_format,
)
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.sources import Source
from service.assays.tables_in.aliases import normalise
from service.plates.geometry import PlateFormat, well_name

NAME = "manifest"
TEMPLATE = "plate_template"
_COLUMNS = {
    "barcode": "barcode",
    "platebarcode": "barcode",
    "template": "template",
    "duration": "duration",
    "durationh": "duration",
    "clid": "cell line",
    "cellline": "cell line",
    "celllinename": "cell line",
}
_FIELD = re.compile(r"(gnumber|compound|drug|concentration|conc)_?([2-9])?")
_FIX = "write the columns Barcode, Template, Duration (in hours) and clid"
_LAYOUT = "lay every sheet out as the plate, with 1, 2... in row 1 and A, B... in column A"


def recognise(source: Source) -> Certainty:
    """A table whose header has Barcode and Template."""
    if source.kind not in {"text", "workbook", "table"} or not source.sheets:
        return NO
    sheet = source.sheets[0]
    found = {_COLUMNS.get(normalise(cell)) for cell in (sheet.rows[0] if sheet.rows else ())}
    if {"barcode", "template"} <= found:
        return Certainty(0.95, "has the columns Barcode and Template")
    return NO


def parse(source: Source, decimal: Decimal = None) -> ManifestFile:
    """The entries of a manifest; each barcode once. Raises :class:`FileError`."""
    sheet = source.sheets[0]
    places: dict[str, int] = {}
    for index, cell in enumerate(sheet.rows[0]):
        what = _COLUMNS.get(normalise(cell))
        if what is not None:
            if what in places:
                raise sheet.error(NAME, 0, f"two columns name the {what}", _FIX)
            places[what] = index
    for needed in ("barcode", "template"):
        if needed not in places:
            raise sheet.error(NAME, 0, f"the column of the {needed} is missing", _FIX)
    rows = [at for at in range(1, len(sheet.rows)) if not sheet.is_empty(at)]
    duration = places.get("duration", -1)
    maker = ReadingMaker(NAME, [sheet.cell(at, duration) for at in rows], decimal)
    entries = [_entry(sheet, at, places, maker) for at in rows]
    if not entries:
        raise sheet.error(NAME, 0, "the manifest has no rows", _FIX)
    seen: set[str] = set()
    for entry, at in zip(entries, rows, strict=True):
        if entry.barcode in seen:
            message = f"barcode {entry.barcode!r} is there twice"
            raise sheet.error(NAME, at, message, "give each plate one row")
        seen.add(entry.barcode)
    return ManifestFile(NAME, tuple(entries), maker.notes)


def _entry(sheet: Sheet, at: int, places: Mapping[str, int], maker: ReadingMaker) -> ManifestEntry:
    barcode = sheet.cell(at, places["barcode"])
    template = sheet.cell(at, places["template"])
    if not barcode or not template:
        raise sheet.error(NAME, at, "the barcode or the template is empty", _FIX)
    if len(sheet.rows[at]) != len(sheet.rows[0]):
        raise sheet.error(NAME, at, "the row has another number of fields than the header", _FIX)
    time = None
    if "duration" in places and sheet.cell(at, places["duration"]):
        time = maker.number(sheet, at, places["duration"], "the duration")
        if time < 0:
            raise sheet.error(NAME, at, "the duration is negative", "correct it")
    cell_line = sheet.cell(at, places["cell line"]) if "cell line" in places else ""
    return ManifestEntry(barcode, template, time, cell_line or None, sheet.line(at))


def recognise_template(source: Source) -> Certainty:
    """A workbook whose sheets are named gnumber and concentration, or one sheet of vehicle."""
    if source.kind != "workbook":
        return NO
    names = [_FIELD.fullmatch(fold_name(sheet.name or "")) for sheet in source.book]
    if any(match and match[1] in {"concentration", "conc"} for match in names):
        return Certainty(0.95, "has the sheets of a plate template")
    if len(source.book) == 1:
        cells = {c.strip() for row in source.book[0].rows for c in row if c.strip()}
        if cells and all(is_vehicle(cell) for cell in cells):
            return Certainty(0.9, "names only the vehicle, laid out as a plate")
    return NO


def parse_template(source: Source, decimal: Decimal = None) -> LayoutFile:
    """The contents of a template's wells. Raises :class:`FileError`."""
    compounds, doses, notes = _fields(source.book)
    texts = [c for sheet in doses.values() for row in sheet.rows for c in row if c.strip()]
    maker = ReadingMaker(TEMPLATE, texts, decimal)
    plates = tuple(
        _layout(source.name, compounds, doses, origin, maker)
        for origin in _origins([*compounds.values(), *doses.values()])
    )
    if len(plates) > 1:
        notes.append("whether well A1 is cell A1 or B2 is not proved by the template alone")
    return LayoutFile(TEMPLATE, plates, (*notes, *maker.notes))


def _layout(
    name: str,
    compounds: Mapping[int, Sheet],
    doses: Mapping[int, Sheet],
    origin: Origin,
    maker: ReadingMaker,
) -> PlateLayout:
    offset = 1 if origin == "B2" else 0
    rows, columns = (n - offset for n in _extent([*compounds.values(), *doses.values()]))
    plate = smallest_format(rows, columns)
    if plate is None:
        message = f"the template reaches to row {rows} and column {columns}, beyond any plate"
        raise FileError(TEMPLATE, None, message, _LAYOUT)
    _check_orphans(compounds, doses, plate, offset)
    wells = [
        well
        for row, column in plate.wells()
        if (well := _well(compounds, doses, row, column, offset, maker)) is not None
    ]
    if not wells:
        raise FileError(TEMPLATE, None, "the template names nothing", _LAYOUT)
    proof: FormatProof = "grid" if (rows, columns) == (plate.rows, plate.columns) else "wells"
    return PlateLayout(None, plate, tuple(wells), template=name, format_proof=proof, origin=origin)


def _fields(book: Iterable[Sheet]) -> tuple[dict[int, Sheet], dict[int, Sheet], list[str]]:
    compounds: dict[int, Sheet] = {}
    doses: dict[int, Sheet] = {}
    notes = []
    book = list(book)
    for sheet in book:
        match = _FIELD.fullmatch(fold_name(sheet.name or ""))
        if match is None and len(book) > 1:
            notes.append(f"sheet {sheet.name!r} left aside")
            continue
        slot = int(match[2] or 1) if match else 1
        fields = doses if match and match[1] in {"concentration", "conc"} else compounds
        if slot in fields:
            raise sheet.error(TEMPLATE, 0, "two sheets name the same field", _LAYOUT)
        fields[slot] = sheet
    for slot, sheet in doses.items():
        if slot not in compounds:
            raise sheet.error(TEMPLATE, 0, f"concentration {slot} has no compound sheet", _LAYOUT)
    return compounds, doses, notes


def _extent(sheets: Iterable[Sheet]) -> tuple[int, int]:
    """The last row and the last column with a text, counted from 1."""
    places = [
        (sheet.line(at), field + 1)
        for sheet in sheets
        for at in range(len(sheet.rows))
        for field, cell in enumerate(sheet.rows[at])
        if cell.strip()
    ]
    if not places:
        raise FileError(TEMPLATE, None, "the template is empty", _LAYOUT)
    return max(row for row, _ in places), max(column for _, column in places)


def _origins(sheets: Sequence[Sheet]) -> tuple[Origin, ...]:
    """The cells that may be well A1, by what stands in row 1 and column A."""
    labels = contents = 0
    for sheet in sheets:
        for at in range(len(sheet.rows)):
            for field in range(len(sheet.rows[at])) if at == 0 else (0,):
                text = sheet.cell(at, field)
                if not text:
                    continue
                is_label = text.lstrip("0") == str(field) if at == 0 else row_of(text, 0) == at - 1
                labels, contents = labels + is_label, contents + (not is_label)
    if labels > 1 and not contents:
        return ("B2",)
    if contents:
        return ("A1",)
    rows, columns = _extent(sheets)
    return ("A1", "B2") if smallest_format(rows, columns) is not None else ("B2",)


def _well(
    compounds: Mapping[int, Sheet],
    doses: Mapping[int, Sheet],
    row: int,
    column: int,
    offset: int,
    maker: ReadingMaker,
) -> LayoutWell | None:
    at, field = row + offset, column + offset
    parts = []
    role = None
    place = None
    for slot, sheet in sorted(compounds.items()):
        text = sheet.cell(at, field)
        dose_sheet = doses.get(slot)
        dosed = dose_sheet is not None and bool(dose_sheet.cell(at, field))
        if not text:
            continue
        place = place or sheet
        if is_vehicle(text):
            role = role or ("untreated" if fold_name(text) == "untreated" else "vehicle")
            zero = dosed and maker.number(dose_sheet, at, field, "dose") == 0 if dose_sheet else 0
            if dosed and not zero:
                raise sheet.error(TEMPLATE, at, f"{text!r} has a dose", _LAYOUT, field)
            continue
        if dose_sheet is None or not dosed:
            message = f"{text[:40]!r} has no concentration"
            raise sheet.error(TEMPLATE, at, message, _LAYOUT, field)
        number = maker.number(dose_sheet, at, field, "the concentration")
        dose = dose_um(TEMPLATE, dose_sheet, at, field, number, "uM")
        parts.append((compound_name(TEMPLATE, sheet, at, field, text), dose))
    if place is None:
        return None
    components = treatment(TEMPLATE, place, at, parts)
    role = "sample" if components else role or "vehicle"
    return LayoutWell(row, column, components, role, place.line(at), field + 1)


def _check_orphans(
    compounds: Mapping[int, Sheet], doses: Mapping[int, Sheet], plate: PlateFormat, offset: int
) -> None:
    for slot, sheet in doses.items():
        for row, column in plate.wells():
            at, field = row + offset, column + offset
            if sheet.cell(at, field) and not compounds[slot].cell(at, field):
                message = f"well {well_name(row, column)} has a concentration, but no compound"
                raise sheet.error(TEMPLATE, at, message, _LAYOUT, field)


def join_manifest(
    manifest: ManifestFile,
    templates: Mapping[str, LayoutFile],
    readers: Iterable[ReaderFile] = (),
    *,
    origin: Origin | None = None,
) -> LayoutFile:
    """The contents of every plate of a run, by barcode.

    ``templates``: by file name as the manifest writes it. Where ``readers`` are given, every
    plate read must be listed, and every well of its template must have been read; that also
    proves the template's origin, which ``origin`` may declare instead. Raises :class:`FileError`.
    """
    read = _wells_read(manifest, readers)
    plates = []
    for entry in manifest.entries:
        layout = templates.get(entry.template)
        if layout is None:
            message = f"template {entry.template!r} of plate {entry.barcode!r} was not sent"
            raise FileError(NAME, entry.line, message, "send it with the manifest")
        plate = _fitting(entry, layout, read.get(entry.barcode), origin)
        plates.append(
            replace(plate, barcode=entry.barcode, cell_line=entry.cell_line, time_h=entry.time_h)
        )
    return LayoutFile("run", tuple(plates), manifest.notes)


_Read = tuple[PlateFormat, frozenset[tuple[int, int]]]


def _wells_read(manifest: ManifestFile, readers: Iterable[ReaderFile]) -> dict[str, _Read]:
    listed = {entry.barcode for entry in manifest.entries}
    read: dict[str, _Read] = {}
    for file in readers:
        for plate in file.plates:
            barcode = next((name for name in plate.identifiers if name in listed), None)
            if barcode is None:
                message = f"plate {plate.barcode or plate.plate_name!r} was read, but is not listed"
                raise FileError(NAME, None, message, "add it to the manifest")
            wells = frozenset((r.row, r.column) for r in plate.readings if r.flag != "empty")
            known = read.get(barcode, (plate.format, frozenset()))
            read[barcode] = plate.format, known[1] | wells
    return read


def _fitting(
    entry: ManifestEntry, layout: LayoutFile, read: _Read | None, origin: Origin | None
) -> PlateLayout:
    """The one layout of a template that the declared origin, or the wells read, leave over."""
    fits = [plate for plate in layout.plates if origin is None or plate.origin == origin]
    if read is not None:
        size, wells = read
        fits = [p for p in fits if all((w.row, w.column) in wells for w in p.wells)]
        fits = [replace(plate, format=size, format_proof="stated") for plate in fits]
    where = f"template {entry.template!r} of plate {entry.barcode!r}"
    if not fits:
        message = f"{where} names wells that were not read"
        raise FileError(NAME, entry.line, message, "send the right template")
    if len(fits) > 1:
        message = f"{where} does not say whether well A1 is cell A1 or cell B2"
        raise FileError(NAME, entry.line, message, _LAYOUT)
    return fits[0]
