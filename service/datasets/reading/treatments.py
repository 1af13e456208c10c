"""What a sample was treated with, out of one cell: ``Trametinib 0.1 uM + Alpelisib 1 uM``,
``C6=25000;Ara=5``, ``KLF1``. Doses come in micromolar, or in a unit of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.chemistry.names import fold_name
from service.assays.files_in.problems import FileError, shorten
from service.assays.files_in.sheets import Sheet
from service.assays.tables_in.rules import clean_text
from service.assays.tables_in.units import UNIT_NAMES, parse_unit, to_um

_CONTROL = "control ctrl vehicle dmso water media medium none untreated mock wt non-targeting"
CONTROLS = frozenset(_CONTROL.split(" "))
_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
_EQUALS = re.compile(rf"(.+?)\s*=\s*({_NUMBER})\s*([A-Za-zµμ/]*)")
_SPACED = re.compile(rf"(.+?)\s+({_NUMBER})\s*([A-Za-zµμ/]+)")
_FIX = "write 'name=dose', 'name dose unit' or 'name', parts joined by ';' or ' + '"
MAX_PARTS = 20


@dataclass(frozen=True, slots=True)
class Part:
    """One perturbation of a sample. ``unit``: ``uM``, ``own`` (a bare number) or ``level`` (no
    dose was given: 1 stands for "as used")."""

    name: str
    dose: float
    unit: str


Treatment = tuple[Part, ...]


def read_treatment(text: str, joined_by: str | None = None) -> Treatment:
    """The parts of a treatment, sorted by name; empty for a control or a dose of 0.

    ``joined_by``: what joins the perturbations, where it is neither ``;`` nor `` + ``. Raises
    :class:`ValueError` in words.
    """
    clean, _, hidden = clean_text(text)
    if hidden is not None:
        raise ValueError(f"{shorten(clean)} holds the invisible character {hidden}")
    parts = [_part(piece.strip()) for piece in _pieces(clean, joined_by) if piece.strip()]
    dosed = sorted((part for part in parts if part is not None), key=lambda p: fold_name(p.name))
    if len(dosed) > MAX_PARTS:
        raise ValueError(f"{len(dosed)} perturbations at once: is the cell right?")
    folded = [fold_name(part.name) for part in dosed]
    if len(set(folded)) != len(folded):
        raise ValueError(f"{shorten(clean)} names one perturbation twice; add the doses up")
    return tuple(dosed)


def _pieces(text: str, joined_by: str | None) -> list[str]:
    if joined_by is not None:
        return text.split(joined_by)
    return text.split(";") if ";" in text else text.split(" + ")


def _part(text: str) -> Part | None:
    if fold_name(text) in CONTROLS:
        return None
    match = _EQUALS.fullmatch(text) or _SPACED.fullmatch(text)
    if match is None:
        if "=" in text:
            raise ValueError(f"{shorten(text)} has no number after '='; {_FIX}")
        return Part(text, 1.0, "level")
    name, number, unit = match[1].strip(), float(match[2]), match[3]
    if not unit:
        return Part(name, number, "own") if number > 0 else None
    known = parse_unit(unit)
    if known is None:
        raise ValueError(f"{unit!r} in {shorten(text)} is no molar unit; use {UNIT_NAMES}")
    dose = to_um(number, known)
    return Part(name, dose, "uM") if dose > 0 else None


def treatment_at(sheet: Sheet, row: int, column: int) -> Treatment:
    """The treatment in a cell. Raises :class:`FileError`."""
    try:
        return read_treatment(sheet.cell(row, column))
    except ValueError as error:
        raise sheet.error("dataset", row, str(error), "correct the treatment", column) from None


@dataclass(frozen=True)
class Perturbations:
    """All perturbations of a file: their names as first written, and what unit each has."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    @classmethod
    def of(cls, treatments: Sequence[Treatment]) -> Perturbations:
        """Sorted by name. Raises :class:`FileError` where one has doses in two units."""
        names: dict[str, str] = {}
        units: dict[str, str] = {}
        for treatment in treatments:
            for part in treatment:
                key = fold_name(part.name)
                names.setdefault(key, part.name)
                if units.setdefault(key, part.unit) != part.unit:
                    what = f"{part.name!r} has doses in uM in one row and without unit in another"
                    raise FileError("dataset", None, what, "give all of them a unit, or none")
        order = sorted(names)
        return cls(tuple(names[key] for key in order), tuple(units[key] for key in order))

    def columns(self) -> dict[str, int]:
        """Folded name to column."""
        return {fold_name(name): column for column, name in enumerate(self.names)}
