"""An archive from outside: nothing in it is believed before it was looked at.

Nothing is ever unpacked under a name that stands in the archive: members are read as streams, and
what is kept is kept under its own hash.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from service.archive.content import ADDED, BY_NAME, Part
from service.archive.exporting import content_sha256
from service.archive.packing import (
    AUDIT,
    FORMAT,
    MANIFEST,
    VERSION,
    digest_of,
    file_path,
    table_path,
)
from service.archive.rows import ArchiveError, RowReader, lines_of, parse_line
from service.learning.tables import WITHHELD

MAX_MEMBERS = 100_000
MAX_MANIFEST = 2**25
MAX_RATIO, FREE_RATIO_BYTES = 200, 2**22
_DIRECTORY_BYTES = 2**24
_PATH = re.compile(r"manifest\.json|audit\.ndjson|tables/[a-z_]{1,60}\.ndjson|"
                   r"files/[0-9a-f]{64}\.(?:bin|json|parquet|safetensors|csv|ndjson)")  # fmt: skip
_END = b"PK\x05\x06"
_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, struct.error, NotImplementedError, ValueError)


@dataclass(frozen=True)
class ArchiveReader:
    """An archive whose directory and manifest are in order; call :meth:`verify` for the rest."""

    zip: zipfile.ZipFile
    manifest: dict[str, Any]

    @classmethod
    def open(cls, file: BinaryIO, max_unpacked: int) -> ArchiveReader:
        """Raises :class:`ArchiveError` for what is not an archive of ours, or is a bomb."""
        _check_directory(file)
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise ArchiveError(f"this is not a ZIP file: {_short(error)}") from None
        _check_members(archive.infolist(), max_unpacked)
        return cls(archive, _manifest(archive))

    @property
    def campaign_id(self) -> str:
        return str(self.manifest["campaign"]["id"])

    def verify(self, on_file: Callable[[int, int], None]) -> None:
        """Read everything once and compare it with the manifest."""
        files = self.manifest["files"]
        for done, (path, said) in enumerate(files.items()):
            on_file(done, len(files))
            found = _reading(lambda path=path: digest_of(self._stream(path)))  # type: ignore[misc]
            if found != (said["sha256"], said["bytes"]):
                raise ArchiveError(f"{path} is damaged: its hash is not the manifest's")
            folder, _, name = path.rpartition("/")
            if folder == "files" and name.partition(".")[0] != said["sha256"]:
                raise ArchiveError(f"{path} is not named by its hash")

    def rows(self, part: Part, text: Callable[[str], str] = str) -> Iterator[dict[str, Any]]:
        """The rows of a table, with ``text`` done to each line first."""
        if part.name not in self.manifest["rows"]:
            return
        path, reader = table_path(part.name), RowReader(part.table)
        n_rows = 0
        for number, line in lines_of(self._stream(path), path):
            where = f"{path}, line {number}"
            try:
                row = reader.row(parse_line(text(line), where))
            except ArchiveError as error:
                said = str(error)
                words = said if said.startswith(path) else f"{where} {said}"
                raise ArchiveError(words) from None
            self._check_files(part, row, where)
            n_rows += 1
            yield row
        if n_rows != self.manifest["rows"][part.name]:
            raise ArchiveError(f"{path} has {n_rows} rows, the manifest says otherwise")

    def audit(self) -> Iterator[str]:
        """The lines of the audit trail, each usable JSON."""
        for number, line in lines_of(self._stream(AUDIT), AUDIT):
            parse_line(line, f"{AUDIT}, line {number}")
            yield line

    def artifacts(self) -> list[str]:
        """The names of all files that came along."""
        prefix = file_path("")
        return [path.removeprefix(prefix) for path in self.manifest["files"] if prefix in path]

    def read(self, artifact: str) -> bytes:
        """One file that came along."""
        content: bytes = _reading(lambda: self._stream(file_path(artifact)).read())
        return content

    def _check_files(self, part: Part, row: dict[str, Any], where: str) -> None:
        for column in part.files:
            name = row[column]
            withheld = name == WITHHELD and column in part.heavy
            if name is not None and not withheld and file_path(name) not in self.manifest["files"]:
                raise ArchiveError(f"{where} names a {column} that is not in the archive")

    def _stream(self, path: str) -> BinaryIO:
        return cast(BinaryIO, self.zip.open(path))


def _reading(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (*_DAMAGE, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise ArchiveError(f"the archive is damaged: {_short(error)}") from None


def _check_directory(file: BinaryIO) -> None:
    """The directory is read into memory as a whole, so its length is looked at first."""
    length = file.seek(0, 2)
    file.seek(max(0, length - 65_557))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise ArchiveError("this is not a ZIP file, or its end is missing")
    entries, size = struct.unpack("<HI", tail[at + 10 : at + 16])
    if entries == 0xFFFF or size > _DIRECTORY_BYTES:
        raise ArchiveError(f"the archive lists more than {MAX_MEMBERS:,} files")
    file.seek(0)


def _check_members(members: list[zipfile.ZipInfo], max_unpacked: int) -> None:
    names = [member.filename for member in members]
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"the archive lists more than {MAX_MEMBERS:,} files")
    if len(set(names)) < len(names):
        raise ArchiveError("two files of the archive have the same name")
    for member in members:
        if not _PATH.fullmatch(member.filename):
            raise ArchiveError(f"{member.filename[:80]!r} does not belong into an archive")
        if member.flag_bits & _ENCRYPTED:
            raise ArchiveError(f"{member.filename} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError(f"{member.filename} is packed in a way that is not read here")
        if member.file_size > MAX_RATIO * member.compress_size + FREE_RATIO_BYTES:
            raise ArchiveError(f"{member.filename} would unpack to {member.file_size:,} bytes")
    total = sum(member.file_size for member in members)
    if total > max_unpacked:
        raise ArchiveError(
            f"the archive unpacks to {total:,} bytes, more than {max_unpacked:,}; ask the operator "
            f"to raise NEXTROUND_MAX_ARCHIVE_UNPACKED_BYTES"
        )


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    names = set(archive.namelist())
    if MANIFEST not in names:
        raise ArchiveError(f"there is no {MANIFEST}: this is not an archive of a campaign")
    if archive.getinfo(MANIFEST).file_size > MAX_MANIFEST:
        raise ArchiveError(f"{MANIFEST} is too long")
    text = _reading(lambda: archive.read(MANIFEST).decode())
    found = parse_line(text, MANIFEST)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArchiveError(f"{MANIFEST} does not say that its format is {FORMAT}")
    if found.get("version") != VERSION:
        raise ArchiveError(
            f"the archive has format version {str(found.get('version'))[:20]}, this service reads "
            f"{VERSION}; update the service"
        )
    _check_shape(found)
    wanted = {AUDIT, *(table_path(name) for name in found["rows"] if name != "audit_event")}
    if set(found["files"]) != names - {MANIFEST} or not wanted <= names:
        raise ArchiveError("the manifest does not list exactly the files of the archive")
    if set(found["rows"]) - {"audit_event"} | ADDED != set(BY_NAME):
        raise ArchiveError("the archive does not have the tables of its format version")
    if content_sha256(found["files"]) != found["content_sha256"]:
        raise ArchiveError("the manifest contradicts itself: its hashes do not add up")
    return found


def _check_shape(found: dict[str, Any]) -> None:
    campaign, files, rows = found.get("campaign"), found.get("files"), found.get("rows")
    good = (
        isinstance(campaign, dict)
        and isinstance(campaign.get("id"), str)
        and re.fullmatch(r"cam_[0-9a-z]{26}", campaign["id"]) is not None
        and isinstance(campaign.get("name"), str)
        and isinstance(files, dict)
        and all(
            isinstance(file, dict)
            and isinstance(file.get("sha256"), str)
            and isinstance(file.get("bytes"), int)
            for file in files.values()
        )
        and isinstance(rows, dict)
        and all(isinstance(count, int) for count in rows.values())
        and isinstance(found.get("weights"), bool)
        and isinstance(found.get("content_sha256"), str)
    )
    if not good:
        raise ArchiveError(f"{MANIFEST} is incomplete or of the wrong shape")


def _short(error: BaseException) -> str:
    return str(error)[:120] or type(error).__name__
