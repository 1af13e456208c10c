"""From received bytes to what the file says, or words on why it says nothing. No database.

A format that needs a heavy optional parser is only recognised here; a worker reads it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from service.assays.files_in import (
    DEFAULT_LIMITS,
    FORMATS,
    FileError,
    LayoutFile,
    ManifestFile,
    Measurement,
    Parsed,
    ReaderFile,
    ReaderPlate,
    Reading,
    TableFile,
    open_archive,
    open_source,
    parse_files,
)
from service.assays.files_in.registry import choose
from service.assays.files_in.workbook import is_workbook
from service.kit.problems import FieldError
from service.plates.geometry import PlateFormat

HEAVY = frozenset({"allotropy"})


@dataclass(frozen=True)
class RunFile:
    """What lies on plates, and the readings of those that were read, if any."""

    layout: LayoutFile
    reader: ReaderFile


Content = ReaderFile | TableFile | RunFile
Decimal = Literal[".", ","] | None


@dataclass(frozen=True)
class ReadFile:
    """What a file was taken for, and what it says; ``content`` None: a worker has to read it."""

    format: str
    why: str
    content: Content | None


def read_file(
    name: str, content: bytes, as_format: str | None, decimal: Decimal, *, heavy: bool = False
) -> ReadFile:
    """The readings or the table of a file; ``heavy``: also with slow parsers.

    Raises :class:`FileError` with line, reason and fix, and nothing else.
    """
    try:
        if _is_archive(content):
            return _read_archive(content, decimal)
        source = open_source(name, content, DEFAULT_LIMITS)
        chosen = choose(source, as_format)
        why = chosen.recognise(source).why
        if chosen.name in HEAVY and not heavy:
            return ReadFile(chosen.name, why, None)
        return ReadFile(chosen.name, why, _usable(chosen.parse(source, decimal), chosen.name))
    except FileError:
        raise
    except (Exception, RecursionError) as error:
        message = f"the reader failed ({type(error).__name__}: {error})"[:300]
        fix = "keep the file and report it; nothing was read"
        raise FileError(as_format, None, message, fix, unexpected=True) from error


def _is_archive(content: bytes) -> bool:
    """Whether it is a zip of files; a workbook is a zip as well, with its own index."""
    return content.startswith(b"PK") and not is_workbook(content)


def _read_archive(content: bytes, decimal: Decimal) -> ReadFile:
    """The files of an archive together: reader files of one run, or one table in parts."""
    found = parse_files(open_archive(content), decimal=decimal)
    formats = sorted({each.format_name for _, each in found})
    why = f"is an archive of {', '.join(file_name for file_name, _ in found[:5])}"
    readers = [each for _, each in found if isinstance(each, ReaderFile)]
    others = [_usable(each, each.format_name) for _, each in found if each not in readers]
    if not readers and len(others) == 1:
        return ReadFile(formats[0], why, others[0])
    layouts = [each.layout for each in others if isinstance(each, RunFile)]
    kinds = {each.format_name for each in readers}
    if len(kinds) > 1 or len(others) > 1 or len(layouts) < len(others):
        what = f"the archive holds files of different kinds ({', '.join(formats)})"
        raise FileError(None, None, what, "send each kind by itself")
    plates = tuple(plate for each in readers for plate in each.plates)
    notes = tuple(note for each in readers for note in each.notes)
    merged = ReaderFile(readers[0].format_name, readers[0].instrument, plates, notes)
    if layouts:
        return ReadFile(layouts[0].format_name, why, RunFile(layouts[0], merged))
    return ReadFile(formats[0], why, merged)


def _usable(parsed: Parsed, name: str) -> Content:
    """What says something by itself: values, or what lies on plates with a barcode."""
    if isinstance(parsed, TableFile) and parsed.scale is None:
        what = "the table holds doses and no values"
        raise FileError(name, None, what, "send the table with its responses")
    if isinstance(parsed, ReaderFile | TableFile):
        return parsed
    if isinstance(parsed, ManifestFile) or any(plate.barcode is None for plate in parsed.plates):
        what = "the file is one part of a run and does not say what is on which plate"
        fix = "send the manifest with its templates and reader files as one zip"
        raise FileError(name, None, what, fix)
    return RunFile(parsed, ReaderFile(name, None, ()))


def known_formats() -> tuple[str, ...]:
    """The formats that can be named instead of being recognised."""
    return tuple(each.name for each in FORMATS)


def as_error(error: FileError) -> FieldError:
    """A refusal as an API answers it."""
    return FieldError(
        code="file_fault" if error.unexpected else "file",
        message=_sentence(error),
        row=error.line,
        column=error.cell,
    )


def _sentence(error: FileError) -> str:
    """``EnVision, line 12: what is wrong. The fix.``"""
    titles = {each.name: each.title for each in FORMATS}
    place = ", ".join(part for part in (titles.get(error.format or ""), error.where) if part)
    fix = error.fix[:1].upper() + error.fix[1:]
    return f"{place[:1].upper()}{place[1:]}: {error.message}. {fix}."


def dump_reader(parsed: ReaderFile) -> bytes:
    """A reader file as JSON, so that a slow parser runs once."""
    return json.dumps(asdict(parsed), allow_nan=False).encode()


def load_reader(text: bytes) -> ReaderFile:
    """Inverse of :func:`dump_reader`."""
    plain: dict[str, Any] = json.loads(text)
    plates = tuple(_plate(each) for each in plain["plates"])
    return ReaderFile(plain["format_name"], plain["instrument"], plates, tuple(plain["notes"]))


def _plate(plain: dict[str, Any]) -> ReaderPlate:
    return ReaderPlate(
        **{
            **plain,
            "format": PlateFormat(**plain["format"]),
            "readings": tuple(Reading(**each) for each in plain["readings"]),
            "measurement": Measurement(**plain["measurement"]),
            "identifiers": tuple(plain["identifiers"]),
        }
    )
