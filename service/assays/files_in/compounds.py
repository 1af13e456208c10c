"""Components of a treatment, in the one form that every table gives: micromolar, sorted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from models.chemistry.names import fold_name
from service.assays.files_in.results import Component
from service.assays.files_in.sheets import Sheet
from service.assays.tables_in.rules import MAX_DOSE_UM, MIN_DOSE_UM, clean_text
from service.assays.tables_in.units import UNIT_NAMES, parse_unit, to_um

_PART = re.compile(r"(.+?)\s+([0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµμ/]+)")
_VEHICLES = {"vehicle", "dmso", "control", "untreated", "water", "media", "medium", "none"}


def dose_um(name: str, sheet: Sheet, at: int, field: int, number: float, unit: str) -> float:
    """A dose in micromolar, plausible for a well. Raises :class:`FileError`."""
    dose = to_um(number, unit)
    if dose == 0.0 or MIN_DOSE_UM <= dose <= MAX_DOSE_UM:
        return dose
    message = f"a dose of {number:g} {unit} is not plausible"
    raise sheet.error(name, at, message, "check the dose and its unit", field)


def unit_of(name: str, sheet: Sheet, at: int, field: int, text: str) -> str:
    """The molar unit that a text spells, with either micro sign. Raises :class:`FileError`."""
    unit = parse_unit(text) if text else None
    if unit is None:
        message = f"{text[:20]!r} is no molar unit" if text else "the unit is empty"
        raise sheet.error(name, at, message, f"use {UNIT_NAMES}", field)
    return unit


def compound_name(name: str, sheet: Sheet, at: int, field: int, text: str) -> str:
    """A compound's name with single blanks. Raises :class:`FileError` for hidden characters."""
    clean, _, hidden = clean_text(text)
    if hidden is not None:
        message = f"{clean[:40]!r} holds the invisible character {hidden}"
        raise sheet.error(name, at, message, "type it again", field)
    return clean


def treatment(
    name: str, sheet: Sheet, at: int, components: Iterable[Component]
) -> tuple[Component, ...]:
    """Components with a dose, sorted by folded name. Raises :class:`FileError` for doubles."""
    dosed = sorted(
        (part for part in components if part[1] > 0.0), key=lambda part: fold_name(part[0])
    )
    folded = [fold_name(part[0]) for part in dosed]
    if len(set(folded)) != len(folded):
        message = "one compound is in this treatment twice"
        raise sheet.error(name, at, message, "add the doses up, or correct the name")
    return tuple(dosed)


def is_vehicle(text: str) -> bool:
    """Whether a name stands for no compound."""
    return fold_name(text) in _VEHICLES


def parse_condition(
    name: str, sheet: Sheet, at: int, field: int, text: str
) -> tuple[tuple[Component, ...], str]:
    """``(components, role)`` of words such as ``PIM447 2.5 uM + OSI-906 10 µM``.

    Raises :class:`FileError` where a part has no dose with a unit.
    """
    word = fold_name(text)
    if word in {"blank", "blanks", "background"}:
        return (), "blank"
    if is_vehicle(text):
        return (), "control"
    parts = []
    for part in text.split(" + "):
        match = _PART.fullmatch(part.strip())
        if match is None:
            message = f"{part.strip()[:40]!r} is no compound with dose and unit, nor a control"
            fix = "write 'name dose unit', parts joined by ' + '"
            raise sheet.error(name, at, message, fix, field)
        unit = unit_of(name, sheet, at, field, match[3])
        number = float(match[2].replace(",", "."))
        compound = compound_name(name, sheet, at, field, match[1])
        parts.append((compound, dose_um(name, sheet, at, field, number, unit)))
    return treatment(name, sheet, at, parts), "sample"
