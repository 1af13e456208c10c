"""One row as one line of JSON, and back: the same on both databases, to the last bit."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, NoReturn

from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, String
from sqlalchemy.schema import Column

from service.kit.database import Identifier, UTCDateTime

OWNER = "workspace_id"
MAX_LINE = 2**25
_INT32 = 2**31
BEFORE = {("campaign", "repeat_earlier"): False}
"""Columns that archives from before them lack, and what that means; others are null then."""


class ArchiveError(ValueError):
    """What is wrong with an archive, in words for who sent it."""


def kind_of(column: Column[Any]) -> str:
    """What a column holds, in the words of the documented schema."""
    for kind, name in _KINDS:
        if isinstance(column.type, kind):
            return name
    raise TypeError(f"column {column} is of a type that archives do not know")


_KINDS: tuple[tuple[type[Any], str], ...] = (
    (Identifier, "id"),
    (UTCDateTime, "time"),
    (LargeBinary, "bytes"),
    (JSON, "json"),
    (Boolean, "boolean"),
    (Integer, "integer"),
    (Float, "number"),
    (String, "text"),
)


def columns_of(table: Any) -> list[Column[Any]]:
    """The columns that are exported: all but the owner, which is whoever imports."""
    return [column for column in table.columns if column.name != OWNER]


def described(table: Any) -> dict[str, str]:
    """Name and kind of each exported column; a question mark where it may be null."""
    return {
        column.name: kind_of(column) + ("?" if column.nullable else "")
        for column in columns_of(table)
    }


def dump_line(value: Any) -> bytes:
    """One line of NDJSON."""
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode() + (b"\n")


class RowWriter:
    """Rows of one table as lines."""

    def __init__(self, table: Any) -> None:
        columns = columns_of(table)
        self.names = [column.name for column in columns]
        self._special = [
            (column.name, _ENCODERS[kind])
            for column in columns
            if (kind := kind_of(column)) in _ENCODERS
        ]

    def plain(self, row: Sequence[Any]) -> dict[str, Any]:
        """A row of the database as JSON values."""
        values = dict(zip(self.names, row, strict=True))
        for name, encode in self._special:
            if values[name] is not None:
                values[name] = encode(values[name])
        return values


def _time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_ENCODERS: dict[str, Callable[[Any], Any]] = {
    "time": _time_text,
    "bytes": lambda value: base64.b64encode(value).decode(),
}


class RowReader:
    """Lines of one table as rows; refuses what does not fit its columns."""

    def __init__(self, table: Any) -> None:
        self._name = str(table.name)
        self._columns = {column.name: column for column in columns_of(table)}
        self._kinds = {name: kind_of(column) for name, column in self._columns.items()}

    def row(self, values: Any) -> dict[str, Any]:
        """The row of one parsed line."""
        if not isinstance(values, dict):
            raise ArchiveError("is not a JSON object")
        unknown = sorted(set(values) - set(self._columns))
        if unknown:
            raise ArchiveError(f"has a column {unknown[0][:60]!r} that this service does not know")
        return {
            name: self._value(name, column, values.get(name, BEFORE.get((self._name, name))))
            for name, column in self._columns.items()
        }

    def _value(self, name: str, column: Column[Any], value: Any) -> Any:
        if value is None:
            if not column.nullable:
                raise ArchiveError(f"has no {name}")
            return None
        try:
            return _DECODERS[self._kinds[name]](column, value)
        except (ValueError, TypeError, binascii.Error) as error:
            raise ArchiveError(f"has a {name} that is no {self._kinds[name]}: {error}") from None


def _text(column: Column[Any], value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it is a {type(value).__name__}")
    length = getattr(column.type, "length", None)
    if length is not None and len(value) > length:
        raise ValueError(f"it has {len(value)} characters, more than {length}")
    return value


def _identifier(column: Column[Any], value: Any) -> str:
    text = _text(column, value)
    if not 1 <= len(text) <= 40 or not text.isascii() or not text.isprintable():
        raise ValueError("identifiers are 1 to 40 printable characters")
    return text


def _integer(_column: Column[Any], value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT32 <= value < _INT32:
        raise ValueError("whole numbers have 32 bits")
    return value


def _number(_column: Column[Any], value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"it is a {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("it is not finite")
    return number


def _boolean(_column: Column[Any], value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"it is a {type(value).__name__}")
    return value


def _time(_column: Column[Any], value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError("it has no zone")
    return found


_DECODERS: dict[str, Callable[[Column[Any], Any], Any]] = {
    "id": _identifier,
    "time": _time,
    "bytes": lambda _column, value: base64.b64decode(value, validate=True),
    "json": lambda _column, value: value,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "text": _text,
}


def lines_of(stream: BinaryIO, path: str) -> Iterator[tuple[int, str]]:
    """``(number, text)`` of each line; refuses what is too long, not UTF-8 or cut off."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ArchiveError(f"{path}, line {number} is longer than {MAX_LINE >> 20} MiB")
        if not line.endswith(b"\n"):
            raise ArchiveError(f"{path}, line {number} is cut off")
        try:
            yield number, line.decode()
        except UnicodeDecodeError:
            raise ArchiveError(f"{path}, line {number} is not UTF-8") from None


def parse_line(text: str, where: str) -> Any:
    """Strict JSON: no key twice, no NaN, nothing that the databases would refuse."""
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
        if "\\u" in text:  # an escape may stand for half a character, or for NUL
            json.dumps(value, ensure_ascii=False).encode()
            if "\\u0000" in text:
                raise ValueError("it holds NUL")
    except (ValueError, RecursionError) as error:
        shown = str(error) or "it is nested too deeply"
        raise ArchiveError(f"{where} is not usable JSON: {shown[:200]}") from None
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
