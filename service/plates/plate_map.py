"""What is in every well of a plate: the one shape that layout, exports and reports share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from service.plates.dispensing import Dispense
from service.plates.geometry import PlateFormat, WellAt, parse_well, plate_format, well_name
from service.plates.labware import VEHICLE
from service.plates.problems import PlateError


class Role(StrEnum):
    """What a well is for. An empty well is left out, or holds buffer on the edge."""

    SAMPLE = "sample"
    SINGLE = "single"
    VEHICLE = "vehicle"
    POSITIVE = "positive"
    BLANK = "blank"
    REFERENCE = "reference_pair"
    EMPTY = "empty"


# Wells that the vehicle is filled up in: all that hold cells.
FILLED = frozenset({Role.SAMPLE, Role.SINGLE, Role.VEHICLE, Role.POSITIVE, Role.REFERENCE})


@dataclass(frozen=True)
class Content:
    """One compound in a well: the dose that was wanted and the dose that is there."""

    compound: str
    nominal_um: float
    real_um: float
    stock_mm: float
    volume_nl: float

    @classmethod
    def of(cls, dispense: Dispense) -> Self:
        """What a dispense brings into a well."""
        return cls(
            dispense.compound,
            dispense.nominal_um,
            dispense.real_um,
            dispense.stock_mm,
            dispense.volume_nl,
        )


@dataclass(frozen=True)
class Well:
    """One well. ``excluded`` says why its reading must not be used."""

    at: WellAt
    role: Role = Role.EMPTY
    contents: tuple[Content, ...] = ()
    cell_line: str | None = None
    block: str | None = None
    replicate: int | None = None
    vehicle_nl: float = 0.0
    excluded: str | None = None

    @property
    def name(self) -> str:
        """Its name without a zero in front, as dispensers write it."""
        return well_name(*self.at)

    @property
    def compound_nl(self) -> float:
        """What its compounds bring in all."""
        return round(sum(each.volume_nl for each in self.contents), 6)

    def to_dict(self) -> dict[str, Any]:
        """Only JSON."""
        plain = {**vars(self), "at": self.name, "role": str(self.role)}
        return {**plain, "contents": [dict(vars(each)) for each in self.contents]}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        contents = tuple(Content(**each) for each in plain["contents"])
        at, role = parse_well(plain["at"]), Role(plain["role"])
        return cls(**{**plain, "at": at, "role": role, "contents": contents})


@dataclass(frozen=True)
class PlateMap:
    """A plate with every one of its wells, row by row."""

    barcode: str
    number: int
    format: PlateFormat
    assay_nl: float
    wells: tuple[Well, ...]
    vehicle: str = VEHICLE

    def __post_init__(self) -> None:
        if [well.at for well in self.wells] != list(self.format.wells()):
            raise PlateError(
                f"plate {self.barcode} needs each of its {self.format.size} wells once, row by row"
            )

    @cached_property
    def _by_place(self) -> dict[WellAt, Well]:
        return {well.at: well for well in self.wells}

    def at(self, well: WellAt) -> Well:
        """The well at a place; refused where the plate has none."""
        return self._by_place[self.format.check(well)]

    def of(self, *roles: Role) -> tuple[Well, ...]:
        """The wells of one or more roles."""
        return tuple(well for well in self.wells if well.role in roles)

    @property
    def used(self) -> tuple[Well, ...]:
        """All wells that are not empty."""
        return tuple(well for well in self.wells if well.role is not Role.EMPTY)

    @property
    def cell_lines(self) -> tuple[str, ...]:
        """Its cell lines, sorted."""
        return tuple(sorted({well.cell_line for well in self.wells if well.cell_line is not None}))

    @property
    def compounds(self) -> tuple[str, ...]:
        """Its compounds, sorted."""
        return tuple(sorted({each.compound for well in self.wells for each in well.contents}))

    def changed(self, wells: Iterable[Well]) -> PlateMap:
        """The same plate with some wells replaced."""
        new = {self.at(well.at).at: well for well in wells}
        return replace(self, wells=tuple(new.get(well.at, well) for well in self.wells))

    def to_dict(self) -> dict[str, Any]:
        """Only JSON; empty wells are left out."""
        return {
            "barcode": self.barcode,
            "number": self.number,
            "format": self.format.size,
            "assay_nl": self.assay_nl,
            "vehicle": self.vehicle,
            "wells": [well.to_dict() for well in self.wells if well != Well(well.at)],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        shape = plate_format(plain["format"])
        listed = [Well.from_dict(each) for each in plain["wells"]]
        known = {shape.check(well.at): well for well in listed}
        if len(known) < len(listed):
            raise PlateError(f"plate {plain['barcode']} names a well twice")
        wells = tuple(known.get(at, Well(at)) for at in shape.wells())
        return cls(**{**plain, "format": shape, "wells": wells})


def empty_plate(
    barcode: str, number: int, shape: PlateFormat, assay_nl: float, vehicle: str = VEHICLE
) -> PlateMap:
    """A plate of empty wells."""
    wells = tuple(Well(at) for at in shape.wells())
    return PlateMap(barcode, number, shape, assay_nl, wells, vehicle)
