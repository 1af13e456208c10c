"""What a field map means: the column names of somebody else's table, read as ours.

Only the columns that a map names are read. A table that lacks one of them is refused, and every
problem is told with both names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from models.chemistry.names import fold_name
from service.assays.tables_in import Declaration, RowProblem, TableError
from service.assays.tables_in.aliases import role_of
from service.assays.tables_in.header import read_header
from service.assays.tables_in.rows import shorten

UNMAPPED = "(not mapped) "
"""Before the name of a column that the map does not read: no name of ours begins so."""
_DECLARED = ("cell_line", "quantity", "unit", "dose_unit", "decimal")
_LEFT_TO_THE_UPLOADER = {"quantity_missing", "unit_missing"}


@dataclass(frozen=True)
class Column:
    """One column of theirs and the name of ours that it is read as."""

    column: str
    field: str
    required: bool = True


@dataclass(frozen=True)
class HeaderMap:
    """A field map, ready to read a header with."""

    name: str
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, name: str, definition: Mapping[str, Any]) -> HeaderMap:
        """From the definition as it is stored."""
        return cls(name, tuple(Column(**column) for column in definition["columns"]))

    def translate(self, cells: Sequence[str]) -> list[str]:
        """The header with our names; raises :class:`TableError` where a column is missing."""
        fields = {fold_name(column.column): column.field for column in self.columns}
        found = [fold_name(cell) for cell in cells]
        missing = [
            column
            for column in self.columns
            if column.required and fold_name(column.column) not in found
        ]
        if missing:
            raise TableError(self._missing(column, cells) for column in missing)
        return [
            fields.get(folded, f"{UNMAPPED}{cell.strip()}")
            for folded, cell in zip(found, cells, strict=True)
        ]

    def _missing(self, column: Column, cells: Sequence[str]) -> RowProblem:
        message = (
            f"column {shorten(column.column)}, which field map {shorten(self.name)} reads as "
            f"{column.field}, is not in the table; its columns are: {', '.join(cells)[:300]}"
        )
        return RowProblem(1, column.column, None, "missing_column", message)

    def explain(self, problem: RowProblem) -> RowProblem:
        """``problem`` with their name for the column, and ours in the message."""
        message = problem.message.replace(UNMAPPED, "")
        theirs = self.theirs(problem.column)
        if theirs is None:
            return replace(problem, message=message)
        return replace(problem, column=theirs[0], message=f"{message} ({theirs[1]})")

    def theirs(self, name: str | None) -> tuple[str, str] | None:
        """Their column behind ``name``, a column or a meaning of ours, and how it is read."""
        if name is None:
            return None
        found = [column for column in self.columns if column.field == name]
        found = found or [column for column in self.columns if _kind(column.field) == name]
        if not found:
            return None
        read = ", ".join(f"{shorten(one.column)} as {one.field}" for one in found)
        return " | ".join(one.column for one in found), f"{shorten(self.name)} reads {read}"

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Errors that leave the block name both columns."""
        try:
            yield
        except TableError as error:
            raise TableError(self.explain(problem) for problem in error.problems) from None


def merged(name: str, definition: Mapping[str, Any], declared: Declaration) -> Declaration:
    """What map and uploader declare together; raises :class:`TableError` where they disagree."""
    values: dict[str, Any] = {}
    for key in _DECLARED:
        ours, given = definition.get(key), getattr(declared, key)
        if ours is not None and given is not None and ours != given:
            message = f"field map {name!r} says {key} is {ours!r}; leave it out of the query"
            raise TableError.single("declaration", message, key)
        values[key] = ours if given is None else given
    if definition.get("repeats") == "replicates":
        values["repeats"] = "replicates"
    return replace(declared, **values)


def faults(definition: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(code, JSON pointer, message) of everything that would make the map unusable."""
    columns = [Column(**column) for column in definition["columns"]]
    found = [*_unknown(columns), *_repeated(columns)]
    if found:
        return found
    try:
        declared = merged("", definition, Declaration())
        # With semicolons, so that a decimal comma is no contradiction.
        read_header([column.field for column in columns], ";", 1, declared)
    except TableError as error:
        return [
            (problem.code, _pointer(problem, columns), problem.message)
            for problem in error.problems
            if problem.code not in _LEFT_TO_THE_UPLOADER
        ]
    return []


@cache
def ready_maps() -> dict[str, dict[str, Any]]:
    """The maps that come with the program, by name."""
    folder = files("service.assays.field_maps") / "ready"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return {
        name.removesuffix(".json"): json.loads(text)
        for name, text in sorted(texts.items())
        if name.endswith(".json")
    }


def _unknown(columns: Sequence[Column]) -> Iterator[tuple[str, str, str]]:
    for row, column in enumerate(columns):
        if role_of(column.field) is None:
            message = (
                f"{column.field!r} is no column of ours. Use cell_line, compound_1 to compound_3, "
                f"dose_1_um to dose_3_um (or another unit, or dose_1 and dose_unit), "
                f"viability_fraction, viability_percent, inhibition_fraction, inhibition_percent, "
                f"response, plate, well, replicate or block."
            )
            yield "unknown_field", f"/columns/{row}/field", message


def _repeated(columns: Sequence[Column]) -> Iterator[tuple[str, str, str]]:
    first: dict[str, int] = {}
    for row, column in enumerate(columns):
        before = first.setdefault(fold_name(column.column), row)
        if before != row:
            message = f"{column.column!r} is listed twice, in rows {before} and {row}. Keep one."
            yield "repeated_column", f"/columns/{row}/column", message


def _pointer(problem: RowProblem, columns: Sequence[Column]) -> str:
    for row, column in enumerate(columns):
        if problem.column == column.field:
            return f"/columns/{row}/field"
    return f"/{problem.column}" if problem.column in _DECLARED else "/columns"


def _kind(field: str) -> str | None:
    """Rows are complained about by meaning: ``cell_line``, ``compound``, ``plate``..."""
    role = role_of(field)
    return None if role is None else role.kind.replace(" ", "_")
