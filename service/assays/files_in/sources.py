"""A received file, opened: text lines, sheets of a workbook, a table, or a JSON document.

source = open_source("plate.csv", content)
source.kind          # "text", "workbook", "table", "json", "hdf5"
source.sheets        # for "text" with the separator of its first line
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from service.assays.files_in.limits import DEFAULT_LIMITS, Limits
from service.assays.files_in.packed import gunzip, open_archive
from service.assays.files_in.problems import FileError
from service.assays.files_in.sheets import Sheet, check_size, separator_of, split_lines
from service.assays.files_in.text import decode
from service.assays.files_in.workbook import cell_text, is_workbook, read_workbook

Kind = Literal["text", "workbook", "table", "json", "hdf5"]

_REFUSED = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "save it as .xlsx"),
    (b"%PDF", "a PDF", "export the numbers as CSV or Excel"),
    (b"\x89PNG", "a picture", "export the numbers as CSV or Excel"),
    (b"BZh", "compressed with bzip2", "unpack it, or use gzip"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it, or use gzip"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it, or use zip"),
    (b"<?xml", "an XML file", "export the numbers as CSV or Excel"),
)


@dataclass(frozen=True)
class Source:
    """An opened file; ``name`` is without the ending of a compression that was undone."""

    name: str
    content: bytes
    kind: Kind
    limits: Limits = DEFAULT_LIMITS
    encoding: str | None = None
    lines: tuple[str, ...] = ()
    book: tuple[Sheet, ...] = ()
    document: Any = field(default=None, repr=False)

    @cached_property
    def sheets(self) -> tuple[Sheet, ...]:
        """The sheets; of a text the one sheet by the separator of its first line with one."""
        if self.kind != "text":
            return self.book
        separator = next((found for line in self.lines if (found := separator_of(line))), ",")
        return (self.split(separator),)

    def split(self, separator: str, *, quoted: bool = True) -> Sheet:
        """The cells of a text file. Raises :class:`FileError` where quotes do not close."""
        lines = self.lines
        if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip()) == 5:
            lines = ("", *lines[1:])  # Excel's own note, no data
        return split_lines(lines, separator, self.limits, quoted=quoted)


def open_source(name: str, content: bytes, limits: Limits = DEFAULT_LIMITS) -> Source:
    """Open a file by what it is, not by what its name says. Raises :class:`FileError`."""
    if len(content) > limits.bytes:
        raise FileError(
            None, None, f"the file is larger than {limits.bytes / 2**20:.0f} MiB", "split it"
        )
    if content.startswith(b"\x1f\x8b"):
        content, name = gunzip(content, limits), name.removesuffix(".gz")
    if content.startswith(b"PK") and not is_workbook(content):
        name, content = _only_member(content, limits)
    if not content.strip():
        raise FileError(None, None, "the file is empty", "export it again")
    if content.startswith(b"PK"):
        return Source(name, content, "workbook", limits, book=read_workbook(content, limits))
    if content.startswith(b"PAR1"):
        from service.assays.files_in.parquet import read_parquet  # pyarrow is slow to import

        return Source(name, content, "table", limits, book=(read_parquet(content, limits),))
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return Source(name, content, "hdf5", limits)
    for magic, what, fix in _REFUSED:
        if content.startswith(magic):
            raise FileError(None, None, f"the file is {what}", fix)
    return _open_text(name, content, limits)


def _only_member(content: bytes, limits: Limits) -> tuple[str, bytes]:
    files = open_archive(content, limits)
    if len(files) > 1:
        what = f"the archive holds {len(files)} files"
        raise FileError(None, None, what, "send it as a run (parse_files), or one file at a time")
    name, inner = files[0]
    if (inner.startswith(b"PK") and not is_workbook(inner)) or inner.startswith(b"\x1f\x8b"):
        raise FileError(None, None, "an archive within an archive", "pack the files only once")
    return name, inner


def _open_text(name: str, content: bytes, limits: Limits) -> Source:
    text, encoding = decode(content)
    lines = tuple(text.split("\n"))
    start = text.lstrip()[:1]
    if start in {"{", "["}:
        return _open_json(name, content, text, encoding, limits)
    return Source(name, content, "text", limits, encoding, lines)


def _open_json(name: str, content: bytes, text: str, encoding: str, limits: Limits) -> Source:
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except _NotPlain as error:
        raise FileError(None, None, str(error), "write plain JSON") from None
    except RecursionError:
        raise FileError(None, None, "the JSON is nested too deeply", "write plain JSON") from None
    except ValueError:
        sheet = _ndjson(text, limits)
        return Source(name, content, "table", limits, encoding, book=(sheet,))
    if isinstance(document, dict) and len(text.strip().split("\n")) == 1 and _is_flat(document):
        sheet = _ndjson(text, limits)
        return Source(name, content, "table", limits, encoding, book=(sheet,))
    return Source(name, content, "json", limits, encoding, document=document)


class _NotPlain(Exception):
    pass


def _no_constant(word: str) -> Any:
    raise _NotPlain(f"{word} is no JSON number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotPlain("a JSON object holds a key twice")
    return found


def _is_flat(record: dict[str, Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in record.values())


def _ndjson(text: str, limits: Limits) -> Sheet:
    """One JSON object a line; numbers stay as they are written."""
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        record = _record(line, number)
        names.update(dict.fromkeys(record))
        records.append(record)
        lines.append(number)
        if len(records) > limits.rows:
            raise FileError(None, number, f"more than {limits.rows:,} rows", "split the file")
    rows = [tuple(names)]
    rows += [tuple(cell_text(record.get(name)) for name in names) for record in records]
    check_size(None, rows, [1, *lines], limits)
    return Sheet(None, tuple(rows), (1, *lines))


def _record(line: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(
            line,
            parse_float=str,
            parse_int=str,
            parse_constant=_no_constant,
            object_pairs_hook=_no_repeats,
        )
    except (_NotPlain, ValueError, RecursionError) as error:
        raise FileError(
            None, number, f"no JSON object ({error})"[:200], "write one object a line"
        ) from None
    if not isinstance(record, dict) or not record or not _is_flat(record):
        what = "not one flat JSON object"
        raise FileError(None, number, what, "write one object of texts and numbers a line")
    return record
