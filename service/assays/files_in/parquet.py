"""Parquet tables through pyarrow, as texts; the sizes in the footer are checked first."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from service.assays.files_in.limits import Limits
from service.assays.files_in.problems import FileError
from service.assays.files_in.sheets import Sheet, check_size
from service.assays.files_in.workbook import cell_text


def read_parquet(content: bytes, limits: Limits) -> Sheet:
    """The one table of a file, its names as the first row. Raises :class:`FileError`."""
    try:
        table = pq.ParquetFile(io.BytesIO(content))
        about = table.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if (
            about.num_rows > limits.rows
            or about.num_columns > limits.columns
            or about.num_rows * about.num_columns > limits.cells
            or size > limits.unpacked_bytes
        ):
            raise FileError(None, None, "the Parquet table is too large", "split it")
        columns = table.read(use_threads=False)
        nested = [f.name for f in columns.schema if pa.types.is_nested(f.type)]
        if nested:
            raise FileError(None, None, f"column {nested[0]!r} is nested", "write flat columns")
        names = tuple(str(name) for name in columns.column_names)
        values = [[cell_text(cell) for cell in column.to_pylist()] for column in columns.columns]
    except FileError:
        raise
    except (pa.ArrowException, ValueError, OSError, OverflowError, MemoryError) as error:
        message = f"the Parquet file is damaged ({error})"
        raise FileError(None, None, message[:200], "write it again") from None
    rows = (names, *zip(*values, strict=True))
    lines = tuple(range(len(rows)))
    check_size(None, rows, lines, limits)
    return Sheet(None, rows, lines)
