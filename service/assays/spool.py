"""Rows that were found good, kept on disk until all of a table is known to be good.

A table is then parsed once, and storing it, which needs the write lock, is short.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType

from service.assays.tables_in import WellRow

_IN_MEMORY = 1 << 20


class RowSpool:
    """Well rows with ids instead of names, in the order in which they came."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed on exit

    def __enter__(self) -> RowSpool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, rows: Sequence[WellRow]) -> None:
        """Keep ``rows``, which come back together."""
        plain = [
            (r.row, r.cell_line, r.components, r.viability, r.raw_value,
             r.plate, r.well, r.replicate, r.block)
            for r in rows
        ]  # fmt: skip
        self._file.write(json.dumps(plain, allow_nan=False).encode() + b"\n")

    def chunks(self) -> Iterator[list[WellRow]]:
        """Everything that was added, chunk by chunk; can be read again."""
        self._file.seek(0)
        for line in self._file:
            yield [
                WellRow(row, cell_line, tuple((name, dose) for name, dose in components), *rest)
                for row, cell_line, components, *rest in json.loads(line)
            ]
