"""The header line: which separator, which column means what, and what is missing."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.assays.tables_in.aliases import Role, is_beyond_three, role_of
from service.assays.tables_in.rows import Declaration, RowProblem, TableError, shorten
from service.assays.tables_in.scale import Scale, resolve_scale
from service.assays.tables_in.units import parse_unit

MAX_COLUMNS = 200
MAX_NAME = 200
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}

_NEEDED = (
    "needed are compound_1 and dose_1_um (more compounds: compound_2, dose_2_um, compound_3, "
    "dose_3_um), cell_line, and one of viability_fraction, viability_percent, "
    "inhibition_fraction, inhibition_percent; the SynergyFinder names are accepted too"
)


@dataclass(frozen=True)
class DoseSlot:
    """Positions of one compound, its dose and its unit column; ``unit`` if fixed for the table."""

    compound: int
    dose: int
    unit_column: int | None
    unit: str | None


@dataclass(frozen=True)
class Columns:
    """What the header said: names as written, the position of each meaning, what is ignored."""

    names: tuple[str, ...]
    separator: str
    slots: tuple[DoseSlot, ...]
    value: int
    cell_line: int | None
    plate: int | None
    well: int | None
    replicate: int | None
    block: int | None
    ignored: tuple[str, ...]
    scale: Scale

    @property
    def separator_name(self) -> str:
        """``comma``, ``semicolon`` or ``tab``."""
        return SEPARATORS[self.separator]


def find_separator(line: str, row: int) -> str:
    """The one separator that the header line uses outside quotes. Raises TableError."""
    bare = re.sub(r'"[^"]*"', "", line)
    found = [separator for separator in SEPARATORS if separator in bare]
    excel_note = re.fullmatch(r"sep=.?", line.strip()) is not None
    if len(found) == 1 and not excel_note:
        return found[0]
    if excel_note:
        message = "the first line is Excel's 'sep=' note; delete it, so that the header comes first"
    elif found:
        names = " and ".join(SEPARATORS[separator] for separator in found)
        message = (
            f"the header line contains {names}, so the separator is ambiguous; put column names "
            "that contain one of them in double quotes, or rename them"
        )
    else:
        message = (
            f"the header line {shorten(line.strip(), 80)} contains no comma, semicolon or tab; "
            "save the table with one of these between the columns"
        )
    raise TableError.single("separator", message, row=row)


def read_header(cells: Sequence[str], separator: str, row: int, declared: Declaration) -> Columns:
    """The meaning of every column; ``row`` is the header's line number.

    Raises :class:`TableError` with every duplicated, missing or contradictory column.
    """
    names = tuple(cell.strip() for cell in cells)
    header = _Header(row, names, declared)
    header.check_shape(separator)
    places = header.places()
    slots = header.slots(places)
    header.check_required(places)
    if header.found:
        raise TableError(header.found)
    value, role = places["value"]
    return Columns(
        names=names,
        separator=separator,
        slots=slots,
        value=value,
        cell_line=_position(places, "cell line"),
        plate=_position(places, "plate"),
        well=_position(places, "well"),
        replicate=_position(places, "replicate"),
        block=_position(places, "block"),
        ignored=tuple(name for name in names if role_of(name) is None),
        scale=resolve_scale(names[value], role.quantity, role.scale_unit, declared),
    )


Places = dict[str, tuple[int, Role]]


def _position(places: Places, meaning: str) -> int | None:
    return places[meaning][0] if meaning in places else None


class _Header:
    """The checks of one header; ``found`` collects what is wrong."""

    def __init__(self, row: int, names: tuple[str, ...], declared: Declaration) -> None:
        self.row, self.names, self.declared = row, names, declared
        self.found: list[RowProblem] = []

    def note(self, code: str, message: str, column: str | None = None) -> None:
        self.found.append(RowProblem(self.row, column, None, code, message))

    def check_shape(self, separator: str) -> None:
        if len(self.names) > MAX_COLUMNS:
            message = f"the table has {len(self.names):,} columns, more than {MAX_COLUMNS}"
            raise TableError.single(
                "too_many_columns", f"{message}; delete unused ones", row=self.row
            )
        if any(len(name) > MAX_NAME for name in self.names):
            message = f"a column name has more than {MAX_NAME:,} characters; shorten it"
            raise TableError.single("column_name_too_long", message, row=self.row)
        if separator == "," and self.declared.decimal == ",":
            self.note(
                "decimal_contradiction",
                "a decimal comma was declared, but commas separate the columns; save the table "
                "with semicolons or tabs",
            )
        for name, times in Counter(self.names).items():
            if times > 1 and name:
                message = f"column {shorten(name)} appears {times} times; rename or delete"
                self.note("duplicate_column", f"{message} all but one", name)

    def places(self) -> Places:
        """Meaning -> (position, role); notes meanings that two columns share."""
        places: Places = {}
        for position, name in enumerate(self.names):
            role = role_of(name)
            if role is None:
                self._check_beyond(name)
            elif role.meaning not in places:
                places[role.meaning] = (position, role)
            elif self.names[places[role.meaning][0]] != name:
                other = self.names[places[role.meaning][0]]
                message = f"columns '{other}' and '{name}' both mean {role.meaning}"
                self.note("ambiguous_column", f"{message}; rename or delete one of them", name)
        return places

    def _check_beyond(self, name: str) -> None:
        if is_beyond_three(name):
            message = f"column {shorten(name)} belongs to a fourth compound; a well can hold three"
            self.note("too_many_compounds", f"{message}: delete it or rename it", name)

    def check_required(self, places: Places) -> None:
        missing = [kind for kind in ("compound 1", "dose 1", "value") if kind not in places]
        if "cell line" not in places and not self.declared.cell_line:
            missing.append("cell line (or declare one for the whole table)")
        if missing:
            known = [self.names[position] for position, _ in places.values()]
            unknown = ", ".join(name for name in self.names if role_of(name) is None)[:200]
            message = (
                f"no column found for {', '.join(missing)}; recognised: "
                f"{', '.join(known) or 'none'}; not recognised: {unknown or 'none'}; {_NEEDED}"
            )
            self.note("missing_column", message)
        if "cell line" in places and self.declared.cell_line:
            name = self.names[places["cell line"][0]]
            message = f"a cell line was declared for the whole table, but column '{name}' names one"
            self.note("cell_line_contradiction", f"{message}; drop one of the two", name)

    def slots(self, places: Places) -> tuple[DoseSlot, ...]:
        slots = []
        for number in (1, 2, 3):
            compound = places.get(f"compound {number}")
            dose = places.get(f"dose {number}")
            if compound and dose:
                slots.append(self._slot(number, compound[0], dose, places))
            elif (compound or dose) and number > 1:
                self._note_half_slot(number, compound, dose)
        return tuple(slots)

    def _note_half_slot(
        self, number: int, compound: tuple[int, Role] | None, dose: tuple[int, Role] | None
    ) -> None:
        present = compound or dose
        name = self.names[present[0]] if present else ""
        missing = f"dose_{number}_um" if compound else f"compound_{number}"
        message = f"column '{name}' has no partner; add a column '{missing}'"
        self.note("missing_column", message, name)

    def _slot(self, number: int, compound: int, dose: tuple[int, Role], places: Places) -> DoseSlot:
        position, role = dose
        name = self.names[position]
        declared = parse_unit(self.declared.dose_unit) if self.declared.dose_unit else None
        if role.unit and declared and role.unit != declared:
            message = f"column '{name}' is in {role.unit}, but {declared} was declared"
            self.note("dose_unit_contradiction", f"{message}; rename or declare anew", name)
        unit_column = _position(places, f"dose unit {number}")
        if unit_column is None:
            unit_column = _position(places, "dose unit")
        unit = role.unit or declared
        if unit is None and unit_column is None:
            message = (
                f"column '{name}' has no unit; rename it to dose_{number}_um, add a column "
                f"'dose_unit', or declare dose_unit (for example 'uM')"
            )
            self.note("dose_unit_missing", message, name)
        return DoseSlot(compound, position, unit_column, unit)


def split_line(line: str, separator: str) -> list[str]:
    """The cells of one line that has no quoted line ends. Raises TableError."""
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        message = f"the header line cannot be read ({error}); check its double quotes"
        raise TableError.single("header", message) from error
