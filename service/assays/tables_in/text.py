"""Bytes to lines: UTF-8 only, in blocks, and every refusal names the byte and the line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from service.assays.tables_in.rows import TableError

BLOCK_BYTES = 1 << 16
MAX_RECORD_CHARACTERS = 250_000
"""Longest row; 200 columns of 1,000 characters fit."""

_SAVE = "save as UTF-8 text (in Excel: 'CSV UTF-8') and upload that file"
_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF"),
)
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextLines:
    """Iterator over the lines of ``stream``, each ending in a newline; any line end is accepted.

    ``line`` counts lines handed out. Raises :class:`TableError` for anything but UTF-8 text, and
    for more than 250,000 characters between two calls of :meth:`start_record`.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.line = 0
        self._characters = 0
        self._record_line = 1
        self._lines = self._read(stream)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.line += 1
        self._count(len(line))
        return line

    def start_record(self) -> int:
        """Begin a new row; returns the number of its first line."""
        self._characters = 0
        self._record_line = self.line + 1
        return self._record_line

    def _count(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_RECORD_CHARACTERS:
            raise TableError.single(
                "row_too_long",
                f"the row that starts at line {self._record_line} has more than "
                f"{MAX_RECORD_CHARACTERS:,} characters; look for a double quote that is never "
                "closed, or for missing line ends",
                row=self._record_line,
            )

    def _read(self, stream: BinaryIO) -> Iterator[str]:
        rest = ""
        for text in _decoded(stream):
            first, *more = (rest + text).split("\n")
            rest = first
            for following in more:
                yield rest + "\n"
                rest = following
            if len(rest) > MAX_RECORD_CHARACTERS:
                self._count(len(rest))
        if rest:
            yield rest + "\n"


def _decoded(stream: BinaryIO) -> Iterator[str]:
    """The text of ``stream`` in blocks, byte order mark removed, line ends as newlines."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    offset, lines, at_start = 0, 1, True
    while True:
        block = stream.read(BLOCK_BYTES)
        if at_start:
            _refuse_other_formats(block)
        _refuse_nul(block, offset, lines)
        try:
            decoded = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise _not_utf8(error, offset + len(block) - len(error.object), lines) from error
        if at_start and decoded:
            decoded, at_start = decoded.removeprefix("\ufeff"), False
        text = newlines.decode(decoded, final=not block)
        offset, lines = offset + len(block), lines + text.count("\n")
        yield text
        if not block:
            return


def _refuse_other_formats(block: bytes) -> None:
    for magic, what in _MAGIC:
        if block.startswith(magic):
            raise TableError.single("not_text", f"this file is {what}, not a text table; {_SAVE}")
    if block.startswith(_UTF16_MARKS) or _looks_like_utf16(block):
        raise TableError.single(
            "encoding_utf16", f"this file is UTF-16 ('Unicode text' in Excel), not UTF-8; {_SAVE}"
        )


def _looks_like_utf16(block: bytes) -> bool:
    """Whether every second byte of the beginning is zero, as in UTF-16 without its mark."""
    head = block[:64]
    return len(head) >= 8 and any(head[1::2]) != any(head[0::2])


def _refuse_nul(block: bytes, offset: int, lines: int) -> None:
    place = block.find(b"\0")
    if place >= 0:
        line = lines + _line_ends(block[:place])
        raise TableError.single(
            "nul_byte",
            f"line {line} holds a zero byte (byte {offset + place:,} of the file), which no text "
            f"table has: the file is damaged or binary; {_SAVE}",
            row=line,
        )


def _not_utf8(error: UnicodeDecodeError, start: int, lines: int) -> TableError:
    """``start`` is where ``error.object`` begins in the file."""
    line = lines + _line_ends(error.object[: error.start])
    byte = error.object[error.start]
    return TableError.single(
        "encoding",
        f"line {line} is not UTF-8 (byte 0x{byte:02x}, number {start + error.start:,} of the "
        f"file; often a µ or an accent saved by Windows as cp1252): {_SAVE}",
        row=line,
    )


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
