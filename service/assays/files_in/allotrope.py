"""Allotrope ASM plate-reader documents, and the vendors that reach us through ``allotropy``.

A document is JSON; ``plate well count`` in it counts the wells *read*, so it never decides the
plate's format. Kaleido, Magellan and SkanIt exports are turned into a document by the optional
package allotropy first; without it the file is refused with words that say so.
"""

from __future__ import annotations

import importlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import Decimal
from service.assays.files_in.problems import FileError
from service.assays.files_in.results import (
    Kind,
    Measurement,
    ReaderFile,
    ReaderPlate,
    Reading,
    smallest_format,
)
from service.assays.files_in.sources import Source
from service.plates.geometry import parse_well
from service.plates.problems import PlateError

NAME = "allotrope"
_AGGREGATE = "plate reader aggregate document"
_AGAIN = "export an ASM plate-reader document with one value per well"
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("absorbance", "absorbance"),
    ("fluorescence", "fluorescence"),
    ("luminescence", "luminescence"),
)
VENDORS = {
    "kaleido": "REVVITY_KALEIDO",
    "magellan": "TECAN_MAGELLAN",
    "skanit": "THERMO_SKANIT",
}
_SIGNS = {
    "kaleido": ("ensight results from", "kaleido"),
    "magellan": ("magellan",),
    "skanit": ("skanit",),
}


def recognise(source: Source) -> Certainty:
    """JSON with a plate reader aggregate document."""
    if source.kind == "json" and isinstance(source.document, dict):
        if _AGGREGATE in source.document:
            return Certainty(1.0, "is an Allotrope plate-reader document")
        if "$asm.manifest" in source.document:
            return Certainty(0.6, "is an Allotrope document")
    return NO


def vendor_of(source: Source) -> str | None:
    """``kaleido``, ``magellan`` or ``skanit``, by the words in the file."""
    texts = list(source.lines[:60])
    for sheet in source.book:
        texts.append(sheet.name or "")
        rows = (*sheet.rows[:30], *sheet.rows[-10:])
        texts += [cell for row in rows for cell in row if cell]
    whole = "\n".join(texts).lower()
    return next((name for name, signs in _SIGNS.items() if any(s in whole for s in signs)), None)


def recognise_vendor(source: Source) -> Certainty:
    """A vendor's own words."""
    if source.kind not in {"text", "workbook"}:
        return NO
    vendor = vendor_of(source)
    return Certainty(0.7, f"names {vendor.capitalize()}") if vendor else NO


def parse_vendor(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Through allotropy; call it in a worker job, as it takes seconds."""
    vendor = vendor_of(source)
    if vendor is None:
        raise FileError("allotropy", 1, "the file names none of the known vendors", _AGAIN)
    try:
        factory = importlib.import_module("allotropy.parser_factory")
        convert = importlib.import_module("allotropy.to_allotrope")
    except ImportError:
        message = f"{vendor.capitalize()} files need the package allotropy, not installed here"
        fix = "install nextround with that extra, or export the plate as a grid or a long table"
        raise FileError("allotropy", None, message, fix) from None
    try:
        kind = getattr(factory.Vendor, VENDORS[vendor])
        document = convert.allotrope_from_io(io.BytesIO(source.content), source.name, kind)
        document = json.loads(json.dumps(document))
    except Exception as error:
        message = f"allotropy could not read the {vendor} file ({error})"
        raise FileError("allotropy", None, message[:300], _AGAIN) from None
    return read_document(document)


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """The plates of a document. Raises :class:`FileError`."""
    return read_document(source.document)


@dataclass
class _Plate:
    """Wells of one plate and channel."""

    unit: str
    measurement: Measurement
    time: str | None
    readings: list[Reading] = field(default_factory=list)


def read_document(document: Any) -> ReaderFile:
    """Maps an ASM document to plates; ``line`` of a reading counts its measurements from 1."""
    aggregate = document.get(_AGGREGATE) if isinstance(document, dict) else None
    if not isinstance(aggregate, dict):
        raise FileError(NAME, None, f"{_AGGREGATE!r} is missing", _AGAIN)
    plates: dict[tuple[str, int, str], _Plate] = {}
    cubes = 0
    for number, (time, channel, entry) in enumerate(_measurements(aggregate), 1):
        found = next(((word, kind) for word, kind in _KINDS if word in entry), None)
        if found is None:
            cubes += 1
            continue
        _add(plates, number, time, channel, entry, *found)
    if not plates:
        what = f" ({cubes} have data cubes only)" if cubes else ""
        raise FileError(NAME, None, f"no measurement has a value{what}", _AGAIN)
    made = [_finished(name, plate) for (name, _, _), plate in plates.items()]
    notes = [f"{cubes} measurements without one value (data cubes) left aside"] if cubes else []
    if "calculated data aggregate document" in aggregate:
        notes.append("calculated data left aside")
    device = aggregate.get("device system document")
    model = device.get("model number") if isinstance(device, dict) else None
    instrument = model if isinstance(model, str) else None
    return ReaderFile(NAME, instrument, check_plates(NAME, made), tuple(notes))


def _measurements(aggregate: dict[str, Any]) -> Iterator[tuple[str | None, int, dict[str, Any]]]:
    """``(time, channel, measurement)`` of every measurement document."""
    for document in _listed(aggregate, "plate reader document"):
        inner = document.get("measurement aggregate document")
        if not isinstance(inner, dict):
            message = "'measurement aggregate document' is missing"
            raise FileError(NAME, None, message, _AGAIN)
        time = inner.get("measurement time")
        seen: dict[str, int] = {}
        for entry in _listed(inner, "measurement document"):
            kind = next((word for word, _ in _KINDS if word in entry), "")
            channel = seen.get(kind, 0)
            seen[kind] = channel + 1
            yield (time if isinstance(time, str) else None), channel, entry


def _listed(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = parent.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FileError(NAME, None, f"{key!r} is no list of objects", _AGAIN)
    return entries


def _add(
    plates: dict[tuple[str, int, str], _Plate],
    number: int,
    time: str | None,
    channel: int,
    entry: dict[str, Any],
    word: str,
    kind: Kind,
) -> None:
    sample = entry.get("sample document")
    if not isinstance(sample, dict):
        raise FileError(NAME, number, "the sample document is missing", _AGAIN)
    name, place = sample.get("well plate identifier"), sample.get("location identifier")
    if not isinstance(place, str):
        raise FileError(NAME, number, "the sample has no location identifier", _AGAIN)
    try:
        row, column = parse_well(place)
    except PlateError as error:
        raise FileError(NAME, number, str(error), _AGAIN) from None
    value, flag, unit = _value(number, entry[word])
    wave, excitation = _wavelengths(entry)
    measurement = Measurement(word, kind, str(channel + 1), wave, excitation)
    key = (name if isinstance(name, str) else "", channel, word)
    plate = plates.setdefault(key, _Plate(unit, measurement, time))
    if plate.unit != unit or plate.measurement != measurement:
        message = "the unit or the wavelength changes within one plate"
        raise FileError(NAME, number, message, _AGAIN)
    plate.readings.append(Reading(row, column, value, flag, number, 1))


def _value(number: int, entry: Any) -> tuple[float | None, str | None, str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("unit"), str):
        raise FileError(NAME, number, "the value has no unit", _AGAIN)
    value = entry.get("value")
    if value is None or value in {"NaN", "Infinity", "-Infinity"}:
        flag = "no reading" if value in {None, "NaN"} else "overflow"
        return None, flag, entry["unit"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FileError(NAME, number, f"{str(value)[:40]!r} is no number", _AGAIN)
    if (isinstance(value, int) and abs(value) > 10**300) or not math.isfinite(value):
        raise FileError(NAME, number, "the value is too large", _AGAIN)
    return float(value), None, entry["unit"]


def _wavelengths(entry: dict[str, Any]) -> tuple[float | None, float | None]:
    control = entry.get("device control aggregate document")
    listed = control.get("device control document") if isinstance(control, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    if not isinstance(first, dict):
        return None, None
    return _nm(first.get("detector wavelength setting")), _nm(
        first.get("excitation wavelength setting")
    )


def _nm(entry: Any) -> float | None:
    value = entry.get("value") if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e5:
        return None
    return float(value)


def _finished(name: str, plate: _Plate) -> ReaderPlate:
    rows = max(reading.row for reading in plate.readings) + 1
    columns = max(reading.column for reading in plate.readings) + 1
    size = smallest_format(rows, columns)
    if size is None:
        raise FileError(NAME, None, "the wells are on no plate of 96, 384 or 1536", _AGAIN)
    return ReaderPlate(
        barcode=None,
        plate_name=name or None,
        format=size,
        readings=tuple(plate.readings),
        measurement=plate.measurement,
        unit=plate.unit,
        read_at=plate.time,
        identifiers=(name,) if name else (),
        format_proof="grid" if len(plate.readings) == size.size else "wells",
    )
