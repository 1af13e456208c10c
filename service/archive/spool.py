"""Rows that were found good, kept on disk, so that storing them, under the write lock, is short."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any

from service.archive.content import Part
from service.archive.rows import RowWriter, columns_of, dump_line, kind_of
from service.kit.repository import in_chunks

CHUNK = 2_000
_DECODERS: dict[str, Callable[[str], Any]] = {
    "time": datetime.fromisoformat,
    "bytes": base64.b64decode,
}


class Spool:
    """The rows of all tables as they will be stored."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, part: Part, rows: Iterable[dict[str, Any]]) -> None:
        """Keep the rows of one table."""
        writer, start = RowWriter(part.table), self._file.tell()
        for chunk in in_chunks(rows, CHUNK):
            plain = [writer.plain([row[name] for name in writer.names]) for row in chunk]
            self._file.write(dump_line(plain))
        self._places[part.name] = (start, self._file.tell())

    def chunks(self, part: Part) -> Iterator[list[dict[str, Any]]]:
        """Give them back, some at a time."""
        special = [
            (column.name, _DECODERS[kind])
            for column in columns_of(part.table)
            if (kind := kind_of(column)) in _DECODERS
        ]
        start, end = self._places[part.name]
        self._file.seek(start)
        while self._file.tell() < end:
            rows: list[dict[str, Any]] = json.loads(self._file.readline())
            for row in rows:
                for name, decode in special:
                    if row[name] is not None:
                        row[name] = decode(row[name])
            yield rows
