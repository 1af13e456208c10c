"""From plate maps to what the dispenser does: vehicle filled up, source wells chosen.

Every well that holds cells gets vehicle until it received the same volume in all, so that the
vehicle's fraction is one number for the whole batch. What cannot be done is refused with numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from service.plates.dispensing import real_dose
from service.plates.geometry import WellAt, parse_well, well_name
from service.plates.labware import Destination, Dispenser, Labware, Stock
from service.plates.plate_map import FILLED, Content, PlateMap, Well
from service.plates.problems import PlateError


@dataclass(frozen=True)
class Transfer:
    """One movement of liquid; of vehicle where ``stock_mm`` is 0."""

    compound: str
    stock_mm: float
    source_plate: str
    source_type: str
    source_well: WellAt
    destination: str
    destination_well: WellAt
    volume_nl: float

    def to_dict(self) -> dict[str, Any]:
        """Only JSON, wells by name."""
        wells = {
            "source_well": well_name(*self.source_well),
            "destination_well": well_name(*self.destination_well),
        }
        return {**vars(self), **wells}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        wells = {name: parse_well(plain[name]) for name in ("source_well", "destination_well")}
        return cls(**{**plain, **wells})


@dataclass(frozen=True)
class TransferPlan:
    """Plates as they will be, and every transfer that makes them."""

    plates: tuple[PlateMap, ...]
    transfers: tuple[Transfer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Only JSON."""
        return {
            "plates": [plate.to_dict() for plate in self.plates],
            "transfers": [each.to_dict() for each in self.transfers],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`."""
        return cls(
            tuple(PlateMap.from_dict(each) for each in plain["plates"]),
            tuple(Transfer.from_dict(each) for each in plain["transfers"]),
        )


def plan_transfers(
    plates: Sequence[PlateMap],
    stocks: Sequence[Stock],
    labware: Labware,
    destination: Destination,
    dispenser: Dispenser,
    fraction: float | None = None,
) -> TransferPlan:
    """Everything that a dispenser with source plates has to do for these plates.

    ``fraction``: the vehicle's share of every filled well; that of the fullest well when not given.
    """
    filled = fill_vehicle(plates, destination, dispenser, fraction)
    return TransferPlan(filled, allocate(filled, stocks, labware, dispenser))


def fill_vehicle(
    plates: Sequence[PlateMap],
    destination: Destination,
    dispenser: Dispenser,
    fraction: float | None = None,
) -> tuple[PlateMap, ...]:
    """The plates with vehicle filled up to a constant, and real doses in the volume that makes.

    Refuses a well that would exceed the largest transfer, the vehicle limit or the constant.
    """
    for plate in plates:
        for well in plate.wells:
            _check_well(plate, well, destination, dispenser)
    filled = [well for plate in plates for well in plate.wells if well.role in FILLED]
    fullest = max((well.compound_nl for well in filled), default=0.0)
    total = fullest if fraction is None else _total_for(fraction, destination, dispenser)
    if total < fullest:
        raise PlateError(
            f"vehicle at {fraction:.3%} of a well is {total:g} nL, but the compounds of one well "
            f"already bring {fullest:g} nL ({destination.fraction(fullest):.3%}); raise it, or "
            "take stronger stocks"
        )
    return tuple(plate.changed(_topped_up(plate, total)) for plate in plates)


def _nothing_held(key: tuple[str, float]) -> str:
    return ""


def allocate(
    plates: Sequence[PlateMap],
    stocks: Sequence[Stock],
    labware: Labware,
    dispenser: Dispenser,
    held: Callable[[tuple[str, float]], str] = _nothing_held,
) -> tuple[Transfer, ...]:
    """Source wells for everything that the plates need, each within what it can give.

    ``held``: words on who else has taken of a (compound, mM). Refuses with all that is missing, in
    nL, and never draws on a dead volume.
    """
    _check_stocks(stocks)
    demands: dict[tuple[str, float], list[tuple[PlateMap, Well, float]]] = {}
    for plate in plates:
        for well in plate.wells:
            for key, volume in needs(plate, well):
                demands.setdefault(key, []).append((plate, well, volume))
    found: list[Transfer] = []
    missing: list[str] = []
    for key in sorted(demands):
        sources = [each for each in stocks if (each.compound, each.mm) == key]
        try:
            found += _drawn(key, demands[key], sources, labware, dispenser)
        except PlateError as problem:
            missing.append(f"{problem}{held(key)}")
    if missing:
        raise PlateError("; ".join(missing), missing)
    return tuple(found)


def needs(plate: PlateMap, well: Well) -> list[tuple[tuple[str, float], float]]:
    """What goes into a well: (compound, mM of the stock; 0 for vehicle) and nL."""
    wanted = [((each.compound, each.stock_mm), each.volume_nl) for each in well.contents]
    if well.vehicle_nl:
        wanted.append(((plate.vehicle, 0.0), well.vehicle_nl))
    return wanted


def with_volumes(
    well: Well, contents: Sequence[Content], vehicle_nl: float, assay_nl: float
) -> Well:
    """The well with other volumes in it and the real doses that follow."""
    total = sum(each.volume_nl for each in contents) + vehicle_nl
    return replace(
        well,
        vehicle_nl=round(vehicle_nl, 6),
        contents=tuple(
            replace(each, real_um=real_dose(each.stock_mm, each.volume_nl, assay_nl, total))
            for each in contents
        ),
    )


def _topped_up(plate: PlateMap, total: float) -> list[Well]:
    return [
        with_volumes(well, well.contents, total - well.compound_nl, plate.assay_nl)
        for well in plate.wells
        if well.role in FILLED
    ]


def _total_for(fraction: float, destination: Destination, dispenser: Dispenser) -> float:
    if not 0 <= fraction <= destination.vehicle_limit:
        raise PlateError(
            f"vehicle at {fraction:.3%} of a well is over the limit of "
            f"{destination.vehicle_limit:.3%} of {destination.name}"
        )
    total = dispenser.whole(destination.volume_for(fraction))
    if total > destination.max_total_nl:
        raise PlateError(
            f"vehicle at {fraction:.3%} of a well is {total:g} nL, over the largest transfer of "
            f"{destination.max_total_nl:g} nL of {destination.name}"
        )
    return total


def _check_well(
    plate: PlateMap, well: Well, destination: Destination, dispenser: Dispenser
) -> None:
    where = f"plate {plate.barcode}, well {well.name}"
    if (plate.format.size, plate.assay_nl) != (destination.wells, destination.assay_nl):
        raise PlateError(f"plate {plate.barcode} was not laid out for {destination.name}")
    for each in well.contents:
        try:
            dispenser.drops(each.volume_nl)
        except PlateError as problem:
            raise PlateError(f"{where}: {each.compound}: {problem}") from None
    volume = well.compound_nl
    if volume > destination.max_total_nl:
        raise PlateError(
            f"{where}: {_names(well)} bring {volume:g} nL, and {destination.name} takes "
            f"{destination.max_total_nl:g} nL at most; take stronger stocks"
        )
    if destination.fraction(volume) > destination.vehicle_limit * (1 + 1e-9):
        raise PlateError(
            f"{where}: {_names(well)} bring {volume:g} nL of vehicle, "
            f"{destination.fraction(volume):.3%} of the well, over the limit of "
            f"{destination.vehicle_limit:.3%}; take stronger stocks or raise the limit"
        )


def _names(well: Well) -> str:
    return " and ".join(f"{each.compound} ({each.nominal_um:g} uM)" for each in well.contents)


def _check_stocks(stocks: Sequence[Stock]) -> None:
    seen: dict[tuple[str, WellAt], Stock] = {}
    for stock in stocks:
        if stock.plate is None or stock.well is None:
            raise PlateError(
                f"the stock of {stock.compound} at {stock.mm:g} mM has no source well; a "
                "dispenser with source plates needs one"
            )
        other = seen.setdefault((stock.plate, stock.well), stock)
        if other is not stock:
            raise PlateError(f"{stock.where} holds both {other.compound} and {stock.compound}")


def _drawn(
    key: tuple[str, float],
    demand: Sequence[tuple[PlateMap, Well, float]],
    sources: Sequence[Stock],
    labware: Labware,
    dispenser: Dispenser,
) -> list[Transfer]:
    """One stock's transfers: each from the first source well that still has enough."""
    label = key[0] if key[1] == 0 else f"{key[0]} at {key[1]:g} mM"
    if not sources:
        raise PlateError(f"there is no stock of {label}; add its source well")
    usable = [labware.usable_nl(stock) for stock in sources]
    left, found = list(usable), []
    for plate, well, volume in demand:
        for piece in _pieces(volume, dispenser):
            index = next((i for i, rest in enumerate(left) if rest >= piece - 1e-6), None)
            if index is None:
                raise PlateError(_short(label, demand, sources, usable))
            left[index] = round(left[index] - piece, 6)
            found.append(_transfer(key, sources[index], plate, well, piece))
    return found


def _pieces(volume: float, dispenser: Dispenser) -> list[float]:
    """A volume in transfers that the dispenser can make in one go."""
    most, pieces = dispenser.whole(dispenser.max_transfer_nl), []
    while volume > most:
        pieces.append(most)
        volume = round(volume - most, 6)
    return [*pieces, volume]


def _transfer(
    key: tuple[str, float], source: Stock, plate: PlateMap, well: Well, volume: float
) -> Transfer:
    # _check_stocks has seen to it that plate, type and well are there.
    assert source.plate is not None  # noqa: S101
    assert source.plate_type is not None  # noqa: S101
    assert source.well is not None  # noqa: S101
    return Transfer(
        *key, source.plate, source.plate_type, source.well, plate.barcode, well.at, volume
    )


def _short(
    label: str,
    demand: Sequence[tuple[PlateMap, Well, float]],
    sources: Sequence[Stock],
    usable: Sequence[float],
) -> str:
    asked, given = sum(volume for _, _, volume in demand), sum(usable)
    dead = sum(stock.volume_nl for stock in sources) - given
    lack = f"{asked - given:g} nL are missing" if asked > given else "the rests are too small"
    wells = "well gives" if len(sources) == 1 else "wells give"
    return (
        f"{label}: the plates need {asked:g} nL, and {len(sources)} source {wells} {given:g} nL "
        f"({dead:g} nL stay behind): {lack}. Add a source well or fill up"
    )
