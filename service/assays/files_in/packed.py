"""gzip and zip, unpacked under a limit that counts what really comes out."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from service.assays.files_in.limits import DEFAULT_LIMITS, Limits
from service.assays.files_in.problems import FileError

_BLOCK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    IndexError,
)
_AGAIN = "save or pack the file again"


def gunzip(content: bytes, limits: Limits) -> bytes:
    """The content of a gzip file."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return _read(stream, limits.unpacked_bytes, limits)
    except FileError:
        raise
    except _DAMAGED as error:
        raise FileError(None, None, f"the gzip file is damaged ({error})", _AGAIN) from None


def unzip(content: bytes, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """``(name, content)`` of every file in a zip archive, checked against its checksum."""
    left = limits.unpacked_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) > limits.archive_files:
                what = f"the archive holds more than {limits.archive_files:,} files"
                raise FileError(None, None, what, "send fewer at a time")
            for member in members:
                if member.flag_bits & 0x1:
                    raise FileError(
                        None, None, "the archive is encrypted", "pack it without a password"
                    )
                with archive.open(member) as stream:
                    unpacked = _read(stream, left, limits)
                left -= len(unpacked)
                yield member.filename, unpacked
    except FileError:
        raise
    except _DAMAGED as error:
        raise FileError(None, None, f"the archive is damaged ({error})", _AGAIN) from None


def _read(stream: IO[bytes] | gzip.GzipFile, left: int, limits: Limits) -> bytes:
    blocks = []
    while block := stream.read(_BLOCK):
        left -= len(block)
        if left < 0:
            raise FileError(
                None,
                None,
                f"unpacks to more than {limits.unpacked_bytes / 2**20:.0f} MiB",
                "send a smaller file",
            )
        blocks.append(block)
    return b"".join(blocks)


def open_archive(content: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[tuple[str, bytes], ...]:
    """The files of a zip archive by their last name, without the litter of operating systems.

    Raises :class:`FileError` for bombs, damage and two files of one name.
    """
    files: dict[str, bytes] = {}
    for path, data in unzip(content, limits):
        name = path.replace("\\", "/").rsplit("/", 1)[-1]
        if path.startswith("__MACOSX/") or name in {".DS_Store", "Thumbs.db", ""}:
            continue
        if name in files:
            raise FileError(
                None, None, f"the archive holds {name!r} twice", "keep one, or rename them"
            )
        files[name] = data
    if not files:
        raise FileError(None, None, "the archive is empty", "pack the reader's files into it")
    return tuple(files.items())
