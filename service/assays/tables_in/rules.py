"""The rules of one row, shared by files and JSON: names, numbers, doses, treatments.

Every rule returns the good value, or notes the problem with its fix and returns None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from models.chemistry.names import fold_name
from service.assays.tables_in.rows import Problems, WellRow, shorten
from service.assays.tables_in.scale import ScaleWatch
from service.assays.tables_in.units import UNIT_NAMES, parse_unit, to_um

MAX_FIELD = 1_000
MAX_DOSE_UM = 1e6
MIN_DOSE_UM = 1e-12

_POINT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WELL = re.compile(r"([a-z]{1,2})0*([0-9]{1,2})")
_NOT_ZERO = re.compile(r"[+-]?[0.,]*[1-9]")


class Component(NamedTuple):
    """One compound of a row, before zero doses are removed; ``column`` is where it stands."""

    folded: str
    name: str
    dose_um: float
    column: str


class Draft(NamedTuple):
    """A row that has passed its own rules, with the folded names that identify it."""

    row: WellRow
    folded: tuple[str, ...]


@lru_cache(maxsize=4096)
def clean_text(text: str) -> tuple[str, str, str | None]:
    """``(clean, folded, hidden)`` of a name.

    ``clean`` has single spaces for blanks, ``folded`` is equal for equal names, ``hidden`` is
    the first invisible character, if any.
    """
    clean = " ".join(text.split())
    return clean, fold_name(clean), hidden_character(clean)


@lru_cache(maxsize=2048)
def plain_well(folded: str) -> str:
    """``a1`` for ``a01``: one well, however its column is padded."""
    match = _WELL.fullmatch(folded)
    return f"{match[1]}{match[2]}" if match else folded


def hidden_character(text: str) -> str | None:
    """The first character that cannot be seen (control, zero-width, surrogate), as U+XXXX."""
    if text.isprintable():
        return None
    return next(f"U+{ord(c):04X}" for c in text if not c.isprintable())


def number_from_text(
    problems: Problems, row: int, column: str, text: str, decimal: str
) -> float | None:
    """A finite number written with ``decimal`` as its decimal mark."""
    stripped = text.strip()
    pattern = _POINT if decimal == "." else _COMMA
    if pattern.fullmatch(stripped) is None:
        problems.add(row, column, text, "not_a_number", _why_no_number(stripped, decimal))
        return None
    number = float(stripped.replace(",", "."))
    if number == 0.0 and _NOT_ZERO.match(stripped):
        number = math.nan
    return finite(problems, row, column, text, number)


def finite(problems: Problems, row: int, column: str, value: object, number: float) -> float | None:
    """``number`` unless it is infinite or NaN."""
    if math.isfinite(number):
        return number
    message = f"{shorten(value)} is too large or too small for a measurement; correct it"
    problems.add(row, column, value, "not_finite", message)
    return None


def _why_no_number(text: str, decimal: str) -> str:
    if not text:
        return "the cell is empty; enter a number, or delete the row if nothing was measured"
    if text.lower().strip("+-") in {"nan", "na", "n/a", "inf", "infinity", "null", "none", "#n/a"}:
        return f"{shorten(text)} is no measurement; enter a number or delete the row"
    if text.endswith("%"):
        return f"{shorten(text)} has a % sign; remove it and name the column '..._percent'"
    if decimal == "." and _COMMA.fullmatch(text):
        return f"{shorten(text)} has a decimal comma; write a point, or declare decimal=','"
    if decimal == "," and _POINT.fullmatch(text):
        return f"{shorten(text)} has a decimal point, but decimal=',' was declared; use one of them"
    return f"{shorten(text)} is not a number; enter a plain number such as 0.35 or 1.2e-3"


class RowRules:
    """The rules that need to know the declared scale; one instance per table."""

    def __init__(self, problems: Problems, watch: ScaleWatch | None = None) -> None:
        self.problems = problems
        self.watch = watch

    def label(self, row: int, column: str, text: str) -> tuple[str, str] | None:
        """``(clean, folded)`` of any text; both empty for an empty cell."""
        if len(text) > MAX_FIELD:
            message = f"the text has {len(text):,} characters, more than {MAX_FIELD:,}; shorten it"
            self.problems.add(row, column, text, "field_too_long", message)
            return None
        clean, folded, hidden = clean_text(text)
        if hidden:
            message = f"{shorten(clean)} holds the invisible character {hidden}; type it again"
            self.problems.add(row, column, text, "invisible_character", message)
            return None
        return clean, folded

    def cell_line(self, row: int, column: str, text: str) -> tuple[str, str] | None:
        """As :meth:`label`, but not empty."""
        label = self.label(row, column, text)
        if label is not None and not label[1]:
            message = "the cell line is empty; name it, or declare one for the whole table"
            self.problems.add(row, column, None, "cell_line_missing", message)
            return None
        return label

    def unit(self, row: int, column: str, text: str, fixed: str | None) -> str | None:
        """The dose unit of a row from its unit cell, which may not contradict a fixed unit."""
        if not text.strip():
            if fixed is None:
                message = f"the dose unit is empty; enter {UNIT_NAMES}"
                self.problems.add(row, column, None, "dose_unit_missing", message)
            return fixed
        unit = parse_unit(text)
        if unit is None:
            message = f"{shorten(text)} is no molar unit; use {UNIT_NAMES}"
            self.problems.add(row, column, text, "dose_unit_unknown", message)
        elif fixed is not None and unit != fixed:
            message = f"the unit here is {unit}, but the table's is {fixed}; make them agree"
            self.problems.add(row, column, text, "dose_unit_contradiction", message)
            return None
        return unit

    def dose(self, row: int, column: str, number: float, unit: str) -> float | None:
        """A dose in micromolar, plausible for a well."""
        dose = to_um(number, unit)
        if dose == 0.0:
            return 0.0
        if dose < 0.0:
            code, message = "dose_negative", f"the dose {number:g} is negative; correct it"
        elif dose > MAX_DOSE_UM:
            code = "dose_implausible"
            message = f"{number:g} {unit} is more than 1 M; check the dose and its unit"
        elif dose < MIN_DOSE_UM:
            code = "dose_implausible"
            message = f"{number:g} {unit} is less than one attomolar; check the dose and its unit"
        else:
            return dose
        self.problems.add(row, column, number, code, message)
        return None

    def compound_for_dose(self, row: int, column: str, dose_um: float) -> None:
        """Note that a dose stands without a compound."""
        message = f"a dose of {dose_um:g} uM stands here, but the compound is empty; name it"
        self.problems.add(row, column, None, "compound_missing", message)

    def treatment(self, row: int, components: Sequence[Component]) -> tuple[Component, ...] | None:
        """Components with a dose, sorted by folded name, each compound once."""
        dosed = sorted(part for part in components if part.dose_um > 0.0)
        for left, right in pairwise(dosed):
            if left.folded == right.folded:
                message = (
                    f"{shorten(right.name)} is in this row twice ({left.dose_um:g} and "
                    f"{right.dose_um:g} uM); add the doses up in one column, or correct the name"
                )
                self.problems.add(row, right.column, right.name, "compound_twice", message)
                return None
        return tuple(dosed)

    def viability(self, row: int, column: str, raw: float, vehicle: bool) -> float | None:
        """Viability as a fraction of the control, if the value fits the declared scale."""
        if self.watch is None:
            raise RuntimeError("no scale is known yet")
        return self.watch.viability(row, column, raw, vehicle, self.problems)
