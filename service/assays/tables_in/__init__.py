"""Long tables of measurements, from bytes or JSON to typed rows. No database, no web.

reader = TableReader(stream, Declaration(quantity="inhibition", unit="percent"))
reader.columns.ignored, reader.columns.separator_name, reader.scale
for chunk in reader.chunks():      # up to 2,000 rows each; provisional until the end
    keep(chunk.rows, chunk.problems)
"""

from service.assays.tables_in.header import Columns
from service.assays.tables_in.reader import MAX_ROWS, TableReader, read_table
from service.assays.tables_in.records import Records, read_records
from service.assays.tables_in.rows import Chunk, Declaration, RowProblem, TableError, WellRow
from service.assays.tables_in.scale import Scale

__all__ = [
    "MAX_ROWS",
    "Chunk",
    "Columns",
    "Declaration",
    "Records",
    "RowProblem",
    "Scale",
    "TableError",
    "TableReader",
    "WellRow",
    "read_records",
    "read_table",
]
