"""What the campaign says of a row: its names must be known, its labels must fit."""

from __future__ import annotations

from collections.abc import Iterator

from service.assays.tables_in import WellRow
from service.kit.names import NameDirectory
from service.kit.problems import FieldError

MAX_LABEL = 200


def wrong_names(
    row: WellRow, compounds: NameDirectory, lines: NameDirectory
) -> Iterator[FieldError]:
    """Names in ``row`` that lead nowhere, or twice to one compound."""
    if lines.resolve(row.cell_line) is None:
        message = lines.unknown(row.cell_line, "Correct the name, or add the line to the campaign.")
        yield _row_error(row, "unknown_cell_line", "cell_line", message)
    ids = []
    for name, _ in row.components:
        identifier = compounds.resolve(name)
        if identifier is None:
            fix = "Correct the name, or add the compound to the campaign."
            yield _row_error(row, "unknown_compound", "compound", compounds.unknown(name, fix))
        ids.append(identifier)
    if len(set(ids)) < len(ids) and None not in ids:
        names = " and ".join(repr(name) for name, _ in row.components)
        message = f"{names} are names of one compound; a combination needs different ones."
        yield _row_error(row, "same_compound", "compound", message)


def long_labels(row: WellRow) -> Iterator[FieldError]:
    """Labels of ``row`` that do not fit."""
    for column in ("plate", "well", "replicate", "block"):
        length = len(getattr(row, column) or "")
        if length > MAX_LABEL:
            message = f"The {column} has {length} characters; shorten it to {MAX_LABEL}."
            yield _row_error(row, "field_too_long", column, message)


def _row_error(row: WellRow, code: str, column: str, message: str) -> FieldError:
    return FieldError(code=code, message=f"Row {row.row}: {message}", row=row.row, column=column)
