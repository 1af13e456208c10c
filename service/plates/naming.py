"""Names for ids: our documents hold ids, people and instruments read names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from service.cell_lines.repository import CellLineRepository
from service.compounds.repository import AliasRepository, CompoundRepository
from service.kit.names import NameDirectory
from service.kit.problems import FieldError
from service.kit.unit import Unit
from service.plates.plate_map import PlateMap

_REGISTER = "Register it with POST /v1/compounds."


def compound_directory(unit: Unit) -> NameDirectory:
    """Every compound of the workspace by name, alias and id."""
    aliases = AliasRepository(unit.session, unit.principal)
    return NameDirectory("compound", aliases.everything())


def compound_names(unit: Unit, identifiers: Iterable[str]) -> dict[str, str]:
    """What people call these compounds, by id; other texts (a vehicle) are left out."""
    compounds = CompoundRepository(unit.session, unit.principal)
    return {row.id: row.name for row in compounds.get_many(set(identifiers)).values()}


def line_names(unit: Unit, identifiers: Iterable[str]) -> dict[str, str]:
    """What people call these cell lines, by id."""
    lines = CellLineRepository(unit.session, unit.principal)
    return {row.id: row.name for row in lines.get_many(set(identifiers)).values()}


def names_on(unit: Unit, plates: Iterable[PlateMap]) -> dict[str, str]:
    """The names of every compound and cell line on these plates, by id."""
    listed = list(plates)
    names = compound_names(unit, {name for plate in listed for name in plate.compounds})
    return names | line_names(unit, {line for plate in listed for line in plate.cell_lines})


def with_line_names(plate: PlateMap, names: Mapping[str, str]) -> PlateMap:
    """The plate as people read it: cell lines by name, which no export does by itself."""
    wells = [
        replace(well, cell_line=names.get(well.cell_line, well.cell_line))
        for well in plate.wells
        if well.cell_line is not None
    ]
    return plate.changed(wells)


def resolve_compound(
    directory: NameDirectory, name: str, pointer: str, errors: list[FieldError], row: int | None
) -> str | None:
    """The compound's id; otherwise ``errors`` says what was meant perhaps."""
    identifier = directory.resolve(name)
    if identifier is None:
        message = directory.unknown(name, _REGISTER)
        errors.append(
            FieldError(code="unknown_compound", message=message, pointer=pointer, row=row)
        )
    return identifier
