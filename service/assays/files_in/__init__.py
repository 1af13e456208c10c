"""Instrument and table files, from bytes to readings that know their line. No database, no web.

found = parse_file("plate.csv", content)        # or FileError: line, reason, fix
match found:
    case ReaderFile(plates=plates): ...          # readings per well
    case TableFile(rows=rows, scale=scale): ...  # scale.must_ask: what has to be declared
    case LayoutFile() | ManifestFile(): ...      # contents of plates
"""

from service.assays.files_in.limits import DEFAULT_LIMITS, Limits
from service.assays.files_in.manifest import join_manifest
from service.assays.files_in.packed import open_archive
from service.assays.files_in.problems import FileError
from service.assays.files_in.registry import (
    FORMATS,
    Candidate,
    parse_file,
    parse_files,
    parse_source,
    recognise,
)
from service.assays.files_in.results import (
    LayoutFile,
    LayoutWell,
    ManifestEntry,
    ManifestFile,
    Measurement,
    Parsed,
    PlateLayout,
    ReaderFile,
    ReaderPlate,
    Reading,
    ScaleEvidence,
    TableFile,
    TableRow,
)
from service.assays.files_in.sources import Source, open_source

__all__ = [
    "DEFAULT_LIMITS",
    "FORMATS",
    "Candidate",
    "FileError",
    "LayoutFile",
    "LayoutWell",
    "Limits",
    "ManifestEntry",
    "ManifestFile",
    "Measurement",
    "Parsed",
    "PlateLayout",
    "ReaderFile",
    "ReaderPlate",
    "Reading",
    "ScaleEvidence",
    "Source",
    "TableFile",
    "TableRow",
    "join_manifest",
    "open_archive",
    "open_source",
    "parse_file",
    "parse_files",
    "parse_source",
    "recognise",
]
