"""Plate maps as CSV: a long table with a line a well, and grids that look like the plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.kit.csv_out import csv_text
from service.plates.exports.echo import plain_number
from service.plates.geometry import row_name, well_name
from service.plates.plate_map import PlateMap, Role, Well
from service.plates.problems import PlateError

_WELL = ("barcode", "plate", "format", "well", "row", "column", "role", "cell_line", "block")
GRIDS = ("role", "contents", "block", "cell_line", "vehicle_nl")


def long_csv(
    plates: Sequence[PlateMap], names: Mapping[str, str] | None = None, with_empty: bool = False
) -> str:
    """A line a well; every compound with its nominal and its real dose."""
    names = names or {}
    most = max((len(well.contents) for plate in plates for well in plate.wells), default=0)
    header = [*_WELL, "replicate", "excluded", "vehicle_nl"]
    for place in range(1, max(most, 2) + 1):
        header += [f"{part}_{place}" for part in ("compound", "nominal_um", "real_um")]
        header += [f"{part}_{place}" for part in ("stock_mm", "volume_nl")]
    rows = (
        _long_row(plate, well, names, len(header))
        for plate in plates
        for well in plate.wells
        if with_empty or well.role is not Role.EMPTY
    )
    return csv_text(header, rows)


def grid_csv(
    plate: PlateMap, show: str = "contents", names: Mapping[str, str] | None = None
) -> str:
    """The plate as it lies on the bench: letters down, numbers across."""
    if show not in GRIDS:
        raise PlateError(f"a grid shows one of {', '.join(GRIDS)}, not {show!r}")
    header = [plate.barcode, *range(1, plate.format.columns + 1)]
    rows = (
        [
            row_name(row),
            *(
                _shown(plate.at((row, column)), show, names or {})
                for column in range(plate.format.columns)
            ),
        ]
        for row in range(plate.format.rows)
    )
    return csv_text(list(map(str, header)), rows)


def contents_text(well: Well, names: Mapping[str, str]) -> str:
    """What is in a well in words: compounds with their nominal doses."""
    return " + ".join(
        f"{names.get(each.compound, each.compound)} {each.nominal_um:g} uM"
        for each in well.contents
    )


def _long_row(plate: PlateMap, well: Well, names: Mapping[str, str], length: int) -> list[Any]:
    row, column = well.at
    cells: list[Any] = [
        plate.barcode,
        plate.number,
        plate.format.size,
        well_name(row, column, padded=True),
        row_name(row),
        column + 1,
        str(well.role),
        well.cell_line,
        well.block,
        well.replicate,
        well.excluded,
        plain_number(well.vehicle_nl),
    ]
    for each in well.contents:
        cells += [names.get(each.compound, each.compound), each.nominal_um, each.real_um]
        cells += [each.stock_mm, plain_number(each.volume_nl)]
    return cells + [None] * (length - len(cells))


def _shown(well: Well, show: str, names: Mapping[str, str]) -> Any:
    if well.role is Role.EMPTY:
        return None
    if show == "contents":
        return contents_text(well, names) or str(well.role)
    value = getattr(well, show)
    return str(value) if isinstance(value, Role) else value
