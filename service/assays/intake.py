"""From a received body and its content type to a table that can be read twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from pydantic import ValidationError

from service.assays.field_maps.rules import UNMAPPED, HeaderMap
from service.assays.schemas import SubmissionIn
from service.assays.service import Table
from service.assays.tables_in import (
    Chunk,
    Declaration,
    Scale,
    TableError,
    TableReader,
    read_records,
)
from service.kit.body import ReceivedBody, parse_json
from service.kit.problems import FieldError, Invalid, TooLarge, UnsupportedMedia, pointer_to, row_of

_TABLE_TYPES = {"text/csv": "csv", "text/tab-separated-values": "csv", "text/plain": "csv"}
_CHUNK = 2_000


def table_from(
    received: ReceivedBody,
    content_type: str,
    declared: Declaration,
    *,
    max_rows: int,
    max_json_bytes: int,
    note: str | None,
    header_map: HeaderMap | None = None,
    field_map_id: str | None = None,
) -> Table:
    """The table in ``received``; raises a problem where it is not even a table."""
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    if "charset=" in parameters.lower() and "utf-8" not in parameters.lower():
        raise UnsupportedMedia("Only charset=utf-8 is read. Save the table as UTF-8.")
    if media_type in _TABLE_TYPES:
        text = _TextTable(received, declared, max_rows, header_map)
        return replace(_from_text(text, media_type, note), field_map_id=field_map_id)
    if media_type == "application/json":
        _refuse_map(header_map)
        return _from_json(received, declared, max_json_bytes)
    raise UnsupportedMedia(
        f"Content-Type {media_type or '(none)'!r} is not a table. Send text/csv, "
        f"text/tab-separated-values or application/json."
    )


@dataclass
class _TextTable:
    """Opens the received file anew for each reading."""

    received: ReceivedBody
    declared: Declaration
    max_rows: int
    header_map: HeaderMap | None = None

    def open(self) -> TableReader:
        with self._explaining():
            return self._open()

    def read(self) -> Iterator[Chunk]:
        with self._explaining():
            for chunk in self._open().chunks():
                yield chunk if self.header_map is None else self._explained(chunk, self.header_map)

    def content(self) -> bytes:
        self.received.file.seek(0)
        return self.received.file.read()

    def scale(self) -> Scale:
        return self.open().scale

    def ignored(self) -> list[str]:
        return [name.removeprefix(UNMAPPED) for name in self.open().columns.ignored]

    def explain(self, error: FieldError) -> FieldError:
        """``error`` of a row, with both names of its column."""
        theirs = None if self.header_map is None else self.header_map.theirs(error.column)
        if theirs is None:
            return error
        message = f"{error.message} ({theirs[1]})"
        return error.model_copy(update={"column": theirs[0], "message": message})

    def _open(self) -> TableReader:
        self.received.file.seek(0)
        rename = None if self.header_map is None else self.header_map.translate
        return TableReader(self.received.file, self.declared, max_rows=self.max_rows, rename=rename)

    def _explaining(self) -> AbstractContextManager[None]:
        return nullcontext() if self.header_map is None else self.header_map.explaining()

    def _explained(self, chunk: Chunk, header_map: HeaderMap) -> Chunk:
        return replace(chunk, problems=tuple(map(header_map.explain, chunk.problems)))


def _refuse_map(header_map: HeaderMap | None) -> None:
    if header_map is not None:
        message = "A field map reads tables (CSV, TSV). JSON names its fields itself."
        error = FieldError(code="field_map", message=message, pointer="query/field_map")
        raise Invalid(message, errors=[error])


def _from_text(text: _TextTable, media_type: str, note: str | None) -> Table:
    return Table(
        media_type=media_type,
        content=text.content,
        sha256=text.received.sha256,
        n_bytes=text.received.length,
        read=text.read,
        scale=text.scale,
        ignored_columns=text.ignored,
        suffix="csv",
        note=note,
        explain=text.explain,
    )


def _from_json(received: ReceivedBody, declared: Declaration, max_bytes: int) -> Table:
    if received.length > max_bytes:  # unlike a table it is held in memory, many times its size
        raise TooLarge(
            f"JSON is taken up to {max_bytes / 2**20:.0f} MiB. Send a larger table as text/csv."
        )
    content = received.file.read()
    body = _parse(content)
    scale = Scale(body.quantity, body.unit)
    value_key = f"{body.quantity}_{body.unit}"

    def read() -> Iterator[Chunk]:
        records = [
            {**item.model_dump(exclude={"value"}, exclude_none=True), value_key: item.value}
            for item in body.measurements
        ]
        found = read_records(records, declared)
        shown = tuple(
            replace(problem, column=(problem.column or "").replace(value_key, "value"))
            for problem in found.problems
        )
        rows = found.rows
        yield Chunk(rows[:_CHUNK], shown, found.problem_count)
        for start in range(_CHUNK, len(rows), _CHUNK):
            yield Chunk(rows[start : start + _CHUNK])

    return Table(
        media_type="application/json",
        content=lambda: content,
        sha256=received.sha256,
        n_bytes=received.length,
        read=read,
        scale=lambda: scale,
        ignored_columns=list,
        suffix="json",
        note=body.note,
        base="/measurements",
    )


def _parse(content: bytes) -> SubmissionIn:
    value = parse_json(content)
    try:
        return SubmissionIn.model_validate(value)
    except ValidationError as error:
        items = error.errors(include_input=False, include_url=False, include_context=False)
    errors = [
        FieldError(
            code=item["type"],
            message=item["msg"],
            pointer=pointer_to(item["loc"]),
            row=row_of(item["loc"]),
        )
        for item in items
    ]
    first = errors[0]
    raise Invalid(f"Nothing was stored. {first.pointer}: {first.message}", errors=errors)


def declare(
    quantity: str | None,
    unit: str | None,
    dose_unit: str | None,
    decimal: str | None,
    cell_line: str | None,
    confirm_scale: bool,
    repeats: str,
) -> Declaration:
    """The declaration in a query string, or a 422 that says what may be declared."""
    try:
        return Declaration(
            quantity=quantity,  # type: ignore[arg-type]
            unit=unit,  # type: ignore[arg-type]
            dose_unit=dose_unit,
            decimal=decimal,  # type: ignore[arg-type]
            cell_line=cell_line,
            confirm_scale=confirm_scale,
            repeats=repeats,  # type: ignore[arg-type]
        )
    except TableError as error:
        errors = [
            FieldError(code=p.code, message=p.message, pointer=f"query/{p.column}")
            for p in error.problems
        ]
        raise Invalid(errors[0].message, errors=errors) from None
