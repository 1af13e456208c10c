"""A file as it was declared. Imported by workers only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.assays.files_in.limits import Limits
from service.assays.files_in.problems import FileError
from service.assays.files_in.sources import open_source
from service.datasets.reading.found import Courses, Found

LIMITS = Limits(bytes=256 << 20, unpacked_bytes=1 << 30, columns=50_000, cells=40_000_000)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read(path: Path, name: str, asked: Mapping[str, Any]) -> Found | Courses:
    """What the file holds. Raises :class:`FileError` with place, reason and fix, nothing else."""
    try:
        return _read(path, name, asked)
    except FileError:
        raise
    except Exception as error:
        message = f"the reader failed ({type(error).__name__}: {error})"[:300]
        fix = "keep the file and report it; nothing was read"
        raise FileError(None, None, message, fix, unexpected=True) from error


def _read(path: Path, name: str, asked: Mapping[str, Any]) -> Found | Courses:
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_HDF5)) == _HDF5
    if is_hdf5:
        return _anndata(path, asked)
    source = open_source(name, path.read_bytes(), LIMITS)
    if source.kind == "json":
        fix = "send a table (CSV, TSV, Excel, Parquet, one JSON object a line) or an .h5ad file"
        raise FileError(None, None, "the file is a JSON document", fix)
    if asked["holds"] == "cell_counts":
        from service.datasets.reading.counts_table import read_counts

        return read_counts(source)
    if asked["holds"] == "time_courses":
        from service.datasets.reading.courses_table import read_courses

        return read_courses(source)
    from service.datasets.reading.responses_table import read_responses

    return read_responses(source, asked["kind"])


def _anndata(path: Path, asked: Mapping[str, Any]) -> Found:
    if asked["holds"] != "responses":
        fix = "send a table; AnnData is read as responses"
        raise FileError(None, None, "an HDF5 file holds no time courses that we read", fix)
    from service.datasets.reading.anndata_file import Asked, read_anndata

    columns = Asked(asked["treatment_column"], asked["batch_column"], asked["joined_by"])
    return read_anndata(path, asked["kind"], columns)
