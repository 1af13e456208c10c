"""The file itself: a ZIP that is the same, byte for byte, whenever its content is."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

MANIFEST, AUDIT = "manifest.json", "audit.ndjson"
FORMAT, VERSION = "nextround-archive", 1
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16
_BLOCK = 1 << 20


def table_path(name: str) -> str:
    """Where a table is in the archive."""
    return f"tables/{name}.ndjson"


def file_path(artifact: str) -> str:
    """Where a file is in the archive: under the name that the rows give it."""
    return f"files/{artifact}"


class Packer:
    """Writes an archive; knows the hash and the length of everything in it."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self.files: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @contextmanager
    def member(self, path: str) -> Iterator[Member]:
        """A new file in the archive, to be written in pieces."""
        with self._zip.open(_entry(path), "w", force_zip64=True) as stream:
            member = Member(stream)
            yield member
        self.files[path] = {"sha256": member.digest.hexdigest(), "bytes": member.length}

    def add(self, path: str, content: bytes) -> None:
        """A small file."""
        with self.member(path) as member:
            member.write(content)

    def copy(self, path: str, source: Path) -> None:
        """A file on disk."""
        with self.member(path) as member, source.open("rb") as file:
            while block := file.read(_BLOCK):
                member.write(block)


class Member:
    """One file of an archive that is being written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.length = 0

    def write(self, content: bytes) -> None:
        self._stream.write(content)
        self.digest.update(content)
        self.length += len(content)


def digest_of(stream: BinaryIO) -> tuple[str, int]:
    """SHA-256 and length of what is left in ``stream``."""
    digest, length = hashlib.sha256(), 0
    while block := stream.read(_BLOCK):
        digest.update(block)
        length += len(block)
    return digest.hexdigest(), length


def _entry(path: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, _EPOCH)
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, _UNIX, _MODE
    return info
