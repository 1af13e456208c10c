"""The files that came with an archive, put where the rows will look for them."""

from __future__ import annotations

import json
from typing import Any

from service.archive.content import WITH_ARRAYS, Part
from service.archive.reading import ArchiveReader
from service.archive.renaming import Renamer
from service.archive.rows import ArchiveError
from service.batches.documents import parquet_of
from service.kit.artifacts import ArtifactStore, names_in
from service.learning.tables import WITHHELD


class FileKeeper:
    """Keeps originals byte for byte, and documents with the ids of here.

    Call :meth:`keep` for every row, then :meth:`kept` gives the names of its files here.
    """

    def __init__(self, reader: ArchiveReader, artifacts: ArtifactStore, renamer: Renamer) -> None:
        self._reader = reader
        self._artifacts = artifacts
        self._renamer = renamer
        self._names: dict[tuple[str, str, str], str] = {}

    def keep(self, part: Part, row: dict[str, Any]) -> None:
        """Store the files of ``row``."""
        for column in part.files:
            name = row[column]
            key = (part.name, column, str(name))
            if name is None or name == WITHHELD or key in self._names:
                continue
            try:
                self._names[key] = self._store(part, column, row)
            except (KeyError, TypeError, IndexError, ValueError) as error:
                if isinstance(error, ArchiveError):
                    raise
                raise ArchiveError(f"the {column} of a {part.name} is not of ours") from None

    def kept(self, part: Part, row: dict[str, Any]) -> dict[str, Any]:
        """The file columns of ``row`` with the names of here."""
        return {
            column: self._names.get((part.name, column, str(row[column])), row[column])
            for column in part.files
        }

    def history(self) -> str:
        """The audit trail that came along, as a file."""
        lines = "".join(self._renamer.text(line) for line in self._reader.audit())
        return self._artifacts.put(lines.encode(), "ndjson")

    def _store(self, part: Part, column: str, row: dict[str, Any]) -> str:
        name = str(row[column])
        content = self._reader.read(name)
        if column in part.derived and not self._renamer.changes_nothing:
            candidates = self._renamer.content(self._reader.read(row[part.documents[0]]))
            return self._artifacts.put(parquet_of(json.loads(candidates)), "parquet")
        if column in part.documents or column == "snapshot":
            content = self._document(content)
        if column in WITH_ARRAYS:
            self._copy(json.loads(content)["arrays"])
        if column in part.indexes:
            content = self._index(content)
        return self._artifacts.put(content, name.rpartition(".")[2])

    def _document(self, content: bytes) -> bytes:
        if self._renamer.changes_nothing:
            return content
        return self._renamer.content(content)

    def _index(self, content: bytes) -> bytes:
        """The document with the ids and the names of here; what it names is stored."""
        text = self._renamer.text(content.decode())
        for name in names_in(text):
            kept = self._artifacts.put(self._document(self._named(name)), name.rpartition(".")[2])
            text = text.replace(name, kept)
        return text.encode()

    def _copy(self, name: str) -> None:
        self._artifacts.put(self._named(name), name.rpartition(".")[2])

    def _named(self, name: str) -> bytes:
        if name not in self._reader.artifacts():
            raise ArchiveError("a description names files that are not in the archive")
        return self._reader.read(name)
