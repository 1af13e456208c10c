"""The labware table: what the dispensers, plates and stocks of a lab can hold and give.

Everything is data that a lab may edit: :data:`DEFAULT_LABWARE` is only where it begins. Volumes are
in nL, stock concentrations in mM, limits of the vehicle as a fraction of the filled well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

from service.plates.geometry import WellAt, parse_well, plate_format, well_name
from service.plates.problems import PlateError

VEHICLE = "DMSO"


@dataclass(frozen=True)
class Dispenser:
    """A machine that gives whole drops of ``drop_nl``, at most ``max_transfer_nl`` in one go.

    ``cassettes``: it takes its stocks from cassettes, not from wells of source plates.
    """

    name: str
    drop_nl: float
    max_transfer_nl: float
    cassettes: bool = False

    def __post_init__(self) -> None:
        _named(self.name, "a dispenser")
        _above_zero(self, "drop_nl", "max_transfer_nl")
        if not isinstance(self.cassettes, bool):
            raise PlateError(f"dispenser {self.name}: cassettes is true or false")
        if self.max_transfer_nl < self.drop_nl:
            raise PlateError(f"dispenser {self.name} cannot give one drop of {self.drop_nl:g} nL")

    def volume(self, drops: int) -> float:
        """So many drops in nL, free of the dust of floating point."""
        return round(drops * self.drop_nl, 6)

    def drops(self, volume_nl: float) -> int:
        """The drops in a volume; refused where it is no whole number of them."""
        drops = round(volume_nl / self.drop_nl)
        if drops < 0 or not math.isclose(self.volume(drops), volume_nl, rel_tol=0, abs_tol=1e-6):
            raise PlateError(
                f"{volume_nl:g} nL is no whole number of drops of {self.drop_nl:g} nL, as "
                f"{self.name} gives them"
            )
        return drops

    def whole(self, volume_nl: float) -> float:
        """The most that whole drops reach without exceeding ``volume_nl``."""
        # A volume that is a whole number of drops must not lose one to its last bit.
        return self.volume(math.floor(volume_nl / self.drop_nl + 1e-6))


@dataclass(frozen=True)
class SourceType:
    """A kind of source plate; ``name`` is what the dispenser calls plate and fluid class.

    A well holds ``well_volume_nl`` at most, and ``dead_volume_nl`` of it stays behind.
    """

    name: str
    wells: int
    well_volume_nl: float
    dead_volume_nl: float

    def __post_init__(self) -> None:
        _named(self.name, "a source plate type")
        _above_zero(self, "wells", "well_volume_nl")
        _from_zero(self, "dead_volume_nl")
        if self.dead_volume_nl >= self.well_volume_nl:
            raise PlateError(
                f"source plate type {self.name}: the dead volume of {self.dead_volume_nl:g} nL "
                f"leaves nothing of a well of {self.well_volume_nl:g} nL"
            )


@dataclass(frozen=True)
class Destination:
    """The assay plate. ``assay_nl`` is in a well before anything is dispensed.

    ``max_total_nl``: the most that may be dispensed into a well; ``vehicle_limit``: the largest
    fraction of the filled well that may be vehicle.
    """

    name: str
    wells: int
    assay_nl: float
    max_total_nl: float
    vehicle_limit: float = 0.005

    def __post_init__(self) -> None:
        _named(self.name, "a destination plate")
        plate_format(self.wells)
        _above_zero(self, "assay_nl", "max_total_nl", "vehicle_limit")
        if self.vehicle_limit >= 1:
            raise PlateError(
                f"destination plate {self.name}: the vehicle limit is {self.vehicle_limit:g}; "
                "write a fraction below 1, like 0.005 for 0.5 %"
            )

    @property
    def room_nl(self) -> float:
        """The most vehicle a well takes under both limits."""
        return min(self.max_total_nl, self.volume_for(self.vehicle_limit))

    def fraction(self, total_nl: float) -> float:
        """The vehicle's fraction of a well that got ``total_nl``."""
        return total_nl / (self.assay_nl + total_nl)

    def volume_for(self, fraction: float) -> float:
        """What must be dispensed so that the vehicle is that fraction of the filled well."""
        return self.assay_nl * fraction / (1 - fraction)


@dataclass(frozen=True)
class Stock:
    """What lies ready for the dispenser: a compound at ``mm`` mM, or vehicle (``mm`` 0).

    One source well each; an intermediate dilution plate is simply more stocks of less mM. A stock
    of a cassette dispenser has no plate and no well.
    """

    compound: str
    mm: float
    volume_nl: float
    plate: str | None = None
    plate_type: str | None = None
    well: WellAt | None = None

    def __post_init__(self) -> None:
        _named(self.compound, "a stock's compound")
        _from_zero(self, "mm")
        _from_zero(self, "volume_nl")
        placed = [part is not None for part in (self.plate, self.plate_type, self.well)]
        if any(placed) and not all(placed):
            raise PlateError(
                f"the stock of {self.compound} needs plate, plate type and well, or none of them"
            )

    @property
    def where(self) -> str:
        """The source well in words."""
        if self.well is None:
            return "a cassette"
        return f"well {well_name(*self.well)} of {self.plate}"


@dataclass(frozen=True)
class Labware:
    """The whole table. Names are unique within each kind."""

    dispensers: tuple[Dispenser, ...]
    source_types: tuple[SourceType, ...]
    destinations: tuple[Destination, ...]

    def __post_init__(self) -> None:
        _unique(self.dispensers, "dispensers")
        _unique(self.source_types, "source plate types")
        _unique(self.destinations, "destination plates")

    def dispenser(self, name: str) -> Dispenser:
        """The dispenser of that name."""
        return _find(self.dispensers, name, "dispenser")

    def source_type(self, name: str) -> SourceType:
        """The source plate type of that name."""
        return _find(self.source_types, name, "source plate type")

    def destination(self, name: str) -> Destination:
        """The destination plate of that name."""
        return _find(self.destinations, name, "destination plate")

    def usable_nl(self, stock: Stock) -> float:
        """What the dispenser can take out of a stock; refused where the stock cannot be."""
        if stock.plate_type is None or stock.well is None:
            return stock.volume_nl
        kind = self.source_type(stock.plate_type)
        if kind.wells in (96, 384, 1536):
            plate_format(kind.wells).check(stock.well)
        if stock.volume_nl > kind.well_volume_nl:
            raise PlateError(
                f"{stock.where} is said to hold {stock.volume_nl:g} nL of {stock.compound}, but "
                f"{kind.name} works with {kind.well_volume_nl:g} nL at most; correct the volume"
            )
        return max(0.0, stock.volume_nl - kind.dead_volume_nl)

    def to_dict(self) -> dict[str, Any]:
        """Only JSON; :meth:`from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The table from JSON. Refuses what is unknown, missing or cannot be."""
        known = {"dispensers", "source_types", "destinations"}
        if set(plain) != known:
            odd = ", ".join(sorted(set(plain) ^ known))
            raise PlateError(f"the labware table needs {', '.join(sorted(known))}; look at {odd}")
        return cls(
            tuple(from_plain(Dispenser, each) for each in plain["dispensers"]),
            tuple(from_plain(SourceType, each) for each in plain["source_types"]),
            tuple(from_plain(Destination, each) for each in plain["destinations"]),
        )


_Row = TypeVar("_Row", Dispenser, SourceType, Destination)


def from_plain(kind: type[_Row], plain: Mapping[str, Any]) -> _Row:
    """One row of the table from JSON."""
    known = {each.name for each in fields(kind)}
    words = {Dispenser: "dispenser", SourceType: "source plate type"}.get(kind, "destination plate")
    if odd := sorted(set(plain) - known):
        raise PlateError(f"a {words} has no {', '.join(odd)}; it has {', '.join(sorted(known))}")
    try:
        return kind(**plain)
    except TypeError as error:
        raise PlateError(f"a {words} needs {', '.join(sorted(known))}: {error}") from None


def stock_to_dict(stock: Stock) -> dict[str, Any]:
    """A stock as JSON, its well by name."""
    plain = asdict(stock)
    plain["well"] = None if stock.well is None else well_name(*stock.well)
    return plain


def stock_from_dict(plain: Mapping[str, Any]) -> Stock:
    """Inverse of :func:`stock_to_dict`."""
    known = {each.name for each in fields(Stock)}
    if odd := sorted(set(plain) - known):
        raise PlateError(f"a stock has no {', '.join(odd)}; it has {', '.join(sorted(known))}")
    well = plain.get("well")
    try:
        return Stock(**{**plain, "well": None if well is None else parse_well(well)})
    except TypeError as error:
        raise PlateError(f"a stock needs a compound, mm and volume_nl: {error}") from None


def _find(rows: Iterable[_Row], name: str, words: str) -> _Row:
    for row in rows:
        if row.name == name:
            return row
    known = ", ".join(repr(row.name) for row in rows)
    raise PlateError(f"the labware table has no {words} {name!r}; add it, or take one of {known}")


def _unique(rows: Iterable[_Row], words: str) -> None:
    names = [row.name for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PlateError(f"the labware table names {words} twice: {', '.join(twice)}")


def _named(name: object, words: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise PlateError(f"{words} needs a name, not {name!r}")


def _number(owner: object, name: str) -> float:
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PlateError(f"{_whose(owner)}: {name} is {value!r}, expected a number")
    return value


def _above_zero(owner: object, *names: str) -> None:
    for name in names:
        if (value := _number(owner, name)) <= 0:
            raise PlateError(f"{_whose(owner)}: {name} is {value:g}, expected more than 0")


def _from_zero(owner: object, name: str) -> None:
    if (value := _number(owner, name)) < 0:
        raise PlateError(f"{_whose(owner)}: {name} is {value:g}, expected 0 or more")


def _whose(owner: object) -> str:
    return f"{getattr(owner, 'name', None) or getattr(owner, 'compound', '')}"


# Drops: 2.5 nL on the Echo 550, 555 and 650 (Labcyte, Echo user manuals), 25 nL on the 525. The
# D300e's smallest dispense is quoted as 11 to 13 pL by cassette; the smallest of two real
# protocols is 14 pL. The largest transfers are cautious bounds of our own, not the machines'.
_DISPENSERS = (
    Dispenser("Echo 550", 2.5, 10_000),
    Dispenser("Echo 555", 2.5, 10_000),
    Dispenser("Echo 650", 2.5, 10_000),
    Dispenser("Echo 525", 25.0, 10_000),
    Dispenser("D300e T8+", 0.011, 10_000, cassettes=True),
    Dispenser("D300e D4+", 0.013, 100_000, cassettes=True),
)

# Working ranges (dead volume to largest volume) by fluid class, as the vendor's labware tables are
# quoted in public; the calibration of one's own Echo is what counts.
_SOURCE_TYPES = (
    SourceType("384PP_DMSO2", 384, 65_000, 15_000),
    SourceType("384PP_AQ_BP", 384, 65_000, 20_000),
    SourceType("384PP_AQ_CP", 384, 50_000, 20_000),
    SourceType("384PP_AQ_SP2", 384, 65_000, 15_000),
    SourceType("384LDV_DMSO", 384, 12_000, 2_500),
    SourceType("384LDV_AQ_B2", 384, 12_000, 3_000),
    SourceType("1536LDV_DMSO", 1536, 5_500, 1_000),
)

# Ordinary working volumes of tissue-culture plates (Corning, Greiner); at most 1 % is added.
_DESTINATIONS = (
    Destination("96-well 100 uL", 96, 100_000, 1_000),
    Destination("384-well 50 uL", 384, 50_000, 500),
    Destination("1536-well 6 uL", 1536, 6_000, 60),
)

DEFAULT_LABWARE = Labware(_DISPENSERS, _SOURCE_TYPES, _DESTINATIONS)
