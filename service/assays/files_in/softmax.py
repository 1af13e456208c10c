"""SoftMax Pro text: ``##BLOCKS= n``, then blocks (Plate, Group, Note) that end in ``~End``.

Plates are read; groups and notes are counted, and the reduced table of a plate is noted: both
repeat what the raw table says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.assays.files_in.common import NO, Certainty, check_plates
from service.assays.files_in.grid import Decimal, ReadingMaker
from service.assays.files_in.results import Measurement, ReaderFile, ReaderPlate
from service.assays.files_in.sheets import Sheet
from service.assays.files_in.softmax_plate import (
    AGAIN,
    NAME,
    PlateHead,
    Section,
    read_head,
    read_sections,
)
from service.assays.files_in.sources import Source

_BLOCKS = re.compile(r"##BLOCKS=\s*([0-9]+)\s*")
_KINDS = ("Plate:", "Group:", "Note:", "Cuvette:", "CuvetteSet:")
_FILE = re.compile(r"Original Filename: (.*?); Date Last Saved: (.*)")


def recognise(source: Source) -> Certainty:
    """Every SoftMax Pro export begins with ``##BLOCKS=``."""
    if source.kind == "text" and source.lines[0].startswith("##BLOCKS="):
        return Certainty(1.0, "begins with SoftMax Pro's '##BLOCKS='")
    if source.kind == "text" and source.lines[0].startswith("Plate:\t"):
        return Certainty(0.6, "begins with a SoftMax Pro plate, but '##BLOCKS=' is missing")
    return NO


@dataclass(frozen=True)
class _Block:
    kind: str
    start: int
    end: int  # the row of ~End


def parse(source: Source, decimal: Decimal = None) -> ReaderFile:
    """Every plate, wavelength and time point. Raises :class:`FileError`."""
    sheet = source.split("\t", quoted=False)
    blocks = _blocks(sheet)
    found = [
        (head, section)
        for block in blocks
        if block.kind == "Plate:"
        for head, sections in [_read(sheet, block)]
        for section in sections
    ]
    _check_names(sheet, blocks)
    if not found:
        raise sheet.error(NAME, 0, "no block 'Plate:' is in the file", AGAIN)
    texts = [cell.text for _, section in found for cell in section.cells]
    maker = ReadingMaker(NAME, texts, decimal)
    saved = next((m for line in source.lines if (m := _FILE.match(line))), None)
    plates = [_plate(sheet, head, section, maker, saved) for head, section in found]
    notes = _notes(blocks, found)
    return ReaderFile(NAME, "SoftMax Pro", check_plates(NAME, plates), (*notes, *maker.notes))


def _read(sheet: Sheet, block: _Block) -> tuple[PlateHead, list[Section]]:
    return read_sections(sheet, read_head(sheet, block.start), block.start, block.end)


def _blocks(sheet: Sheet) -> list[_Block]:
    match = _BLOCKS.fullmatch(sheet.cell(0, 0))
    if match is None:
        raise sheet.error(NAME, 0, "the first line should be '##BLOCKS= n'", AGAIN)
    blocks: list[_Block] = []
    start: int | None = None
    for at in range(1, len(sheet.rows)):
        word = sheet.cell(at, 0)
        kind = next((kind for kind in _KINDS if word.startswith(kind)), None)
        if word == "~End":
            if start is None:
                raise sheet.error(NAME, at, "'~End' without a block before it", AGAIN)
            blocks.append(_Block(_kind_at(sheet, start), start, at))
            start = None
        elif start is None and kind is not None:
            start = at
        elif start is None and word and not _FILE.match(word):
            raise sheet.error(NAME, at, f"{word[:40]!r} belongs to no block", AGAIN)
        elif kind in {"Plate:", "Group:"} and start is not None:
            message = f"a block starts here, but the one of line {sheet.line(start)} has no '~End'"
            raise sheet.error(NAME, at, message, AGAIN)
    if start is not None:
        message = "this block has no '~End': the file is cut off"
        raise sheet.error(NAME, start, message, AGAIN)
    if len(blocks) < int(match[1]):
        message = f"the file has {len(blocks)} blocks, but its first line says {match[1]}"
        raise sheet.error(NAME, len(sheet.rows) - 1, message, AGAIN)
    return blocks


def _kind_at(sheet: Sheet, at: int) -> str:
    word = sheet.cell(at, 0)
    return next(kind for kind in _KINDS if word.startswith(kind))


def _check_names(sheet: Sheet, blocks: list[_Block]) -> None:
    seen: dict[str, int] = {}
    for block in blocks:
        name = sheet.cell(block.start, 1)
        if block.kind != "Plate:":
            continue
        if name in seen:
            message = f"plate {name!r} was at line {sheet.line(seen[name])} already"
            fix = "give each plate section its own name in SoftMax Pro and export again"
            raise sheet.error(NAME, block.start, message, fix)
        seen[name] = block.start


def _notes(blocks: list[_Block], found: list[tuple[PlateHead, Section]]) -> list[str]:
    notes = []
    for kind, words in (("Group:", "groups"), ("Note:", "notes"), ("Cuvette", "cuvette sets")):
        count = sum(block.kind.startswith(kind) for block in blocks)
        if count:
            notes.append(f"{count} {words} left aside")
    reduced = {head.name for head, section in found if section.has_reduced}
    if reduced:
        notes.append(f"the reduced tables of {len(reduced)} plates left aside")
    return notes


def _plate(
    sheet: Sheet,
    head: PlateHead,
    section: Section,
    maker: ReadingMaker,
    saved: re.Match[str] | None,
) -> ReaderPlate:
    excitation = (
        head.excitations[section.channel] if section.channel < len(head.excitations) else None
    )
    measurement = Measurement(
        label=f"{head.mode} {head.read_type}" + (" reduced" if head.reduced else ""),
        kind=head.kind,
        channel=str(section.channel + 1),
        wavelength_nm=section.wavelength_nm,
        excitation_nm=excitation,
        derived=head.reduced,
    )
    return ReaderPlate(
        barcode=None,
        plate_name=head.name,
        format=head.format,
        readings=maker.readings(sheet, section.cells),
        measurement=measurement,
        unit=None,
        read_at=f"saved {saved[2].strip()}" if saved else None,
        time_h=section.time_h,
        identifiers=(head.name,),
        format_proof="stated",
    )
