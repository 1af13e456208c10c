"""Finds rows that measure the same thing twice, in memory that does not grow with the table."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from types import TracebackType

from service.assays.tables_in.rows import Problems, Repeats, WellRow
from service.assays.tables_in.rules import Draft

_BATCH = 500
_DIGEST_BYTES = 16

# key -> (row first seen, times seen)
_Seen = dict[bytes, tuple[int, int]]


class DuplicateGuard:
    """Remembers a 16-byte digest of every row in a temporary SQLite file, deleted on close.

    Two rows are the same if cell line, treatment, plate, well, replicate and block are: the
    block counts because matrices repeat single-agent and control wells from block to block.
    """

    def __init__(
        self, repeats: Repeats, problems: Problems, what: str = "row", base: str | None = None
    ) -> None:
        """``what`` names a row in messages; ``base`` is the JSON pointer of the list, if any."""
        self._repeats, self._problems, self._what, self._base = repeats, problems, what, base
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA cache_size = -8192",
            "CREATE TABLE seen (key BLOB PRIMARY KEY, row INTEGER, times INTEGER) WITHOUT ROWID",
        ):
            self._database.execute(statement)

    def __enter__(self) -> DuplicateGuard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def accept(self, drafts: Sequence[Draft]) -> tuple[WellRow, ...]:
        """The rows not seen before; notes a problem for each of the others."""
        keys = [_key(draft) for draft in drafts]
        seen = self._recall(keys)
        accepted = []
        for key, draft in zip(keys, drafts, strict=True):
            first, times = seen.get(key, (draft.row.row, 0))
            seen[key] = (first, times + 1)
            row = self._admit(draft.row, first, times)
            if row is not None:
                accepted.append(row)
        self._store(seen)
        return tuple(accepted)

    def _admit(self, row: WellRow, first: int, times: int) -> WellRow | None:
        if self._repeats == "replicates" and row.well is None:
            return _numbered(row, times + 1)
        if times:
            message = self._message(row, first)
            self._problems.add(row.row, self._place(row), None, "duplicate_row", message)
            return None
        return row

    def _message(self, row: WellRow, first: int) -> str:
        doses = " + ".join(f"{name} {dose:g} uM" for name, dose in row.components)
        same = f"{doses[:120] or 'vehicle control'} on {row.cell_line[:40]}"
        fix = "add a replicate column, or declare repeats='replicates' if these are replicates"
        if row.well is not None:
            fix = "correct the plate, well or replicate, or delete one of the rows"
        elif row.replicate is not None:
            fix = "correct the replicate, or declare repeats='replicates' to number them on"
        return f"{self._what} {row.row} repeats {self._what} {first} ({same}); {fix}"

    def _place(self, row: WellRow) -> str:
        if self._base is not None:
            return f"{self._base}/{row.row}"
        return "replicate" if row.well is None else "well"

    def _recall(self, keys: Sequence[bytes]) -> _Seen:
        seen: _Seen = {}
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            marks = ",".join("?" * len(batch))
            query = f"SELECT key, row, times FROM seen WHERE key IN ({marks})"  # noqa: S608
            for key, row, times in self._database.execute(query, batch):
                seen[key] = (row, times)
        return seen

    def _store(self, seen: _Seen) -> None:
        rows = sorted((key, row, times) for key, (row, times) in seen.items())
        self._database.execute("BEGIN")
        self._database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", rows)
        self._database.execute("COMMIT")


def _numbered(row: WellRow, time: int) -> WellRow:
    """The row as its replicate 1, 2, ...; a replicate ``x`` that repeats becomes ``x (2)``."""
    if row.replicate is None:
        return replace(row, replicate=str(time))
    return row if time == 1 else replace(row, replicate=f"{row.replicate} ({time})")


def _key(draft: Draft) -> bytes:
    doses = [f"{dose:.12g}" for _, dose in draft.row.components]
    return blake2b(
        "\x1f".join((*draft.folded, *doses)).encode(), digest_size=_DIGEST_BYTES
    ).digest()
