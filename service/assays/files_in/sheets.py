"""A rectangle of texts with the place of every row: what all readers read."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from service.assays.files_in.limits import Limits
from service.assays.files_in.problems import FileError

SEPARATORS = {"\t": "tab", ";": "semicolon", ",": "comma"}


@dataclass(frozen=True)
class Sheet:
    """Rows of cells as texts. ``lines[i]`` is the line (in a workbook: the row) of ``rows[i]``.

    Rows have their own lengths. ``name`` is None outside workbooks.
    """

    name: str | None
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def cell(self, row: int, column: int) -> str:
        """The stripped text of a cell, empty beyond the end."""
        if not 0 <= row < len(self.rows) or not 0 <= column < len(self.rows[row]):
            return ""
        return self.rows[row][column].strip()

    def is_blank(self, row: int) -> bool:
        """Whether the row holds nothing, not even separators (in a workbook: only empty cells)."""
        cells = self.rows[row]
        if self.name is None:
            return len(cells) < 2 and not any(cell.strip() for cell in cells)
        return not any(cell.strip() for cell in cells)

    def is_empty(self, row: int) -> bool:
        """Whether no cell of the row holds a text."""
        return not any(cell.strip() for cell in self.rows[row])

    def line(self, row: int) -> int:
        """The line of a row; one after the last for a row beyond the end."""
        if row < len(self.lines):
            return self.lines[row]
        return self.lines[-1] + 1 if self.lines else 1

    def error(
        self, format: str | None, row: int, message: str, fix: str, column: int | None = None
    ) -> FileError:
        """A :class:`FileError` at a row, and in a workbook at a cell."""
        cell = None
        if column is not None and self.name is not None:
            cell = f"{column_letters(column)}{self.line(row)}"
        elif column is not None:
            message = f"field {column + 1}: {message}"
        return FileError(format, self.line(row), message, fix, sheet=self.name, cell=cell)


def column_letters(column: int) -> str:
    """``A`` for 0, ``AA`` for 26: the name of a spreadsheet column."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def separator_of(line: str) -> str | None:
    """The separator of a line: tab before semicolon before comma, as either may hold the next.

    Text in double quotes does not count.
    """
    bare = "".join(line.split('"')[::2])
    return next((separator for separator in SEPARATORS if separator in bare), None)


def split_lines(
    lines: Sequence[str], separator: str, limits: Limits, *, quoted: bool = True
) -> Sheet:
    """The cells of text lines. Raises :class:`FileError` for quotes that do not close."""
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    if not quoted:
        for number, line in enumerate(lines, 1):
            rows.append(tuple(line.split(separator)))
            numbers.append(number)
    else:
        known: dict[str, str] = {}  # tables repeat their words: keep each only once
        for number, cells in _csv_rows(lines, separator):
            rows.append(tuple(known.setdefault(cell, cell) for cell in cells))
            numbers.append(number)
    check_size(None, rows, numbers, limits)
    return Sheet(None, tuple(rows), tuple(numbers))


def _csv_rows(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_with_ends(lines), delimiter=separator, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileError(
                None,
                start,
                f"the row that starts here is damaged ({error})",
                "look for a double quote that is never closed",
            ) from None
        yield start, cells
        start = reader.line_num + 1


def _with_ends(lines: Iterable[str]) -> Iterator[str]:
    return (line + "\n" for line in lines)


def check_size(
    name: str | None, rows: Sequence[Sequence[str]], lines: Sequence[int], limits: Limits
) -> None:
    """Raise :class:`FileError` for too many rows, columns or cells, or too long a cell."""
    if len(rows) > limits.rows:
        raise _too_large(name, None, f"more than {limits.rows:,} rows", "split the file")
    cells = 0
    for line, row in zip(lines, rows, strict=True):
        cells += len(row)
        if len(row) > limits.columns:
            fix = "is the separator right? Otherwise split the file"
            raise _too_large(name, line, f"more than {limits.columns:,} columns", fix)
        if cells > limits.cells:
            raise _too_large(name, line, f"more than {limits.cells:,} cells", "split the file")
        if any(len(cell) > limits.cell_characters for cell in row):
            what = f"a cell of more than {limits.cell_characters:,} characters"
            raise _too_large(name, line, what, "look for a quote that is never closed")


def _too_large(name: str | None, line: int | None, what: str, fix: str) -> FileError:
    return FileError(None, line, f"the file has {what}", fix, sheet=name)
