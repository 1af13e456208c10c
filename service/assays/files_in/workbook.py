"""Excel workbooks (xlsx, xlsm) through calamine, after a look at the XML for what it would hide.

calamine gives an empty text for an error (``#DIV/0!``) and for a formula that was never computed,
and reserves memory for the whole rectangle up to the last cell. So the XML is read first: such
cells are refused by name, and so are sheets whose rectangle is too large.
"""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from typing import Any

from python_calamine import CalamineWorkbook

from service.assays.files_in.limits import Limits
from service.assays.files_in.packed import unzip
from service.assays.files_in.problems import FileError
from service.assays.files_in.sheets import Sheet, check_size

_CELL_AT = re.compile(rb"\br\s*=\s*[\"']\s*([A-Za-z]{1,7})([0-9]{1,9})\s*[\"']")
_ROW_AT = re.compile(rb"<(?:\w+:)?row\b[^>]*?\br\s*=\s*[\"']\s*([0-9]+)")
_ROWS = re.compile(rb"<(?:\w+:)?row\b")
_CELLS = re.compile(rb"<(?:\w+:)?c[\s>/]")
_CELL = re.compile(rb"<(?:\w+:)?c(\s(?:[^>]*[^>/])?)?>(.*?)</(?:\w+:)?c\s*>", re.DOTALL)
_ERROR = re.compile(rb"\bt\s*=\s*[\"']e[\"']")
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
_VALUE = re.compile(rb"<(?:\w+:)?(?:v|is)[\s>]")
_SAVE = "open it in Excel, save it as .xlsx and send that file"


def is_workbook(content: bytes) -> bool:
    """Whether a zip archive calls itself an Excel workbook: by its index, since an archive that
    holds a workbook holds the same words."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.lower().startswith("xl/workbook") for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return b"xl/workbook" in content  # damaged: whoever opens it says what is wrong


def read_workbook(content: bytes, limits: Limits) -> tuple[Sheet, ...]:
    """Every sheet of a workbook, cells at their places. Raises :class:`FileError`."""
    for path, xml in unzip(content, limits):
        if path.lower().endswith((".xml", ".rels")):
            _inspect(path, xml, limits)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = [
            (name, book.get_sheet_by_name(name).to_python(skip_empty_area=False))
            for name in book.sheet_names
        ]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        message = f"the workbook cannot be read ({error})"
        raise FileError(None, None, message[:300], _SAVE) from None
    return tuple(_sheet(name, values, limits) for name, values in sheets)


def _inspect(path: str, xml: bytes, limits: Limits) -> None:
    if b"\0" in xml[:200] or b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise FileError(None, None, f"{path} is no plain workbook XML", _SAVE)
    if "sheet" not in path.lower() and b"<sheetData" not in xml:
        return
    rows = columns = 0
    for match in _CELL_AT.finditer(xml):
        rows = max(rows, int(match[2]))
        columns = max(columns, _column_number(match[1]))
    rows = max([rows, len(_ROWS.findall(xml)), *(int(m[1]) for m in _ROW_AT.finditer(xml))])
    columns = max(columns, 1)
    cells = max(rows * columns, len(_CELLS.findall(xml)))
    if rows > limits.rows or columns > limits.columns or cells > limits.cells:
        what = f"{path} reaches to row {rows:,} and column {columns:,}"
        raise FileError(None, None, what, "delete what stands far from the data")
    for match in _CELL.finditer(xml):
        _inspect_cell(path, match[1] or b"", match[2])


def _inspect_cell(path: str, attributes: bytes, inside: bytes) -> None:
    if b"e" not in attributes and b"f" not in inside:
        return
    broken = _ERROR.search(attributes) is not None
    if not broken and (_FORMULA.search(inside) is None or _VALUE.search(inside) is not None):
        return
    at = _CELL_AT.search(attributes)
    name = (at[1] + at[2]).decode() if at else None
    what = "holds an Excel error (such as #DIV/0!)" if broken else "holds a formula without value"
    raise FileError(None, None, f"{path} {what}", "enter the value itself", cell=name)


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - ord("A") + 1
    return number


def _sheet(name: str, values: list[list[Any]], limits: Limits) -> Sheet:
    rows = tuple(tuple(cell_text(value) for value in row) for row in values)
    lines = tuple(range(1, len(rows) + 1))
    check_size(name, rows, lines, limits)
    return Sheet(name, rows, lines)


def cell_text(value: object) -> str:
    """A typed cell as text; floats in the shortest form that reads back to the same float."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat(*([" "] if isinstance(value, datetime.datetime) else []))
    return str(value)
