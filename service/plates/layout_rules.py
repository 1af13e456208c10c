"""What a lab asks of its plates, and the blocks that go on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from service.plates.dispensing import Dispense
from service.plates.geometry import PlateFormat, WellAt, plate_format
from service.plates.problems import PlateError

EDGES = ("use", "buffer")
ORDERS = ("random", "row_blocks")
SINGLES = ("per_plate", "per_block", "elsewhere")
SHAPES = ("single", "matrix", "diagonal", "informed")

# At least 16 vehicle and 8 positive wells to a plate of 384; a quarter of that says nothing about
# the spread on a plate of 96, so that it keeps half.
_VEHICLE, _POSITIVE = 16, 8
_FEWEST_VEHICLE, _FEWEST_POSITIVE = 8, 4


@dataclass(frozen=True)
class LayoutRules:
    """Every setting of a layout. The same rules and blocks give the same plates.

    ``wells``: 96, 384 or 1536. ``edge``: "use" the outer ring, or fill it with "buffer" (its wells
    are empty in the map). ``order``: "random" over the whole plate, or "row_blocks" for tip-based
    labs. ``vehicle``, ``positive``: controls a plate, scaled to the format when not given;
    ``blank``: wells without cells; ``reference``: wells of the reference pair, when there is one.
    Controls stay out of the outer columns and shift from plate to plate.

    ``single_agents``: "per_plate" once for all blocks of a plate, "per_block" for each, or
    "elsewhere"; each in ``single_replicates`` wells. ``replicates_apart``: the replicates of a
    block lie on different plates. ``one_line_per_plate``: no two cell lines meet.
    ``max_plates``: refuse more.
    """

    wells: int = 384
    edge: str = "use"
    order: str = "random"
    seed: int = 0
    vehicle: int | None = None
    positive: int | None = None
    blank: int = 0
    reference: int = 2
    single_agents: str = "per_plate"
    single_replicates: int = 1
    replicates_apart: bool = True
    one_line_per_plate: bool = True
    max_plates: int | None = None

    def __post_init__(self) -> None:
        plate_format(self.wells)
        _one_of("edge", self.edge, EDGES)
        _one_of("order", self.order, ORDERS)
        _one_of("single agents", self.single_agents, SINGLES)
        for name in ("seed", "blank", "reference"):
            _whole(name, getattr(self, name), 0)
        for name in ("vehicle", "positive", "max_plates"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1 if name == "max_plates" else 0)
        _whole("single_replicates", self.single_replicates, 1)
        for name in ("replicates_apart", "one_line_per_plate"):
            if not isinstance(getattr(self, name), bool):
                raise PlateError(f"{name.replace('_', ' ')} is true or false")

    @property
    def format(self) -> PlateFormat:
        """The plate."""
        return plate_format(self.wells)

    @property
    def n_vehicle(self) -> int:
        """Vehicle controls on a plate."""
        return _scaled(self.vehicle, _VEHICLE, _FEWEST_VEHICLE, self.wells)

    @property
    def n_positive(self) -> int:
        """Positive controls on a plate."""
        return _scaled(self.positive, _POSITIVE, _FEWEST_POSITIVE, self.wells)

    def usable(self) -> tuple[WellAt, ...]:
        """Wells that may hold anything."""
        return tuple(self.format.wells()) if self.edge == "use" else self.format.inner()

    def for_controls(self) -> tuple[WellAt, ...]:
        """Wells that may hold a control: all usable ones that are not in an outer column."""
        last = self.format.columns - 1
        return tuple(well for well in self.usable() if well[1] not in (0, last))

    def to_dict(self) -> dict[str, Any]:
        """Only JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; refuses a rule that nobody knows."""
        if odd := sorted(set(plain) - {each.name for each in fields(cls)}):
            raise PlateError(f"there is no layout rule {', '.join(odd)}")
        return cls(**plain)


@dataclass(frozen=True)
class Block:
    """One candidate: a pair in a cell line, its snapped doses and how they meet.

    ``first`` and ``second``: the doses of either compound. ``shape``: "single" (one pair of
    doses), "matrix" (each with each), "diagonal" (first with first, second with second) or
    "informed" (those at ``wells``, positions in ``first`` and ``second``).
    ``plate``: the plate that the batch chose, counted from 1, or nothing.
    """

    id: str
    cell_line: str
    first: tuple[Dispense, ...]
    second: tuple[Dispense, ...]
    shape: str = "single"
    replicates: int = 1
    plate: int | None = None
    wells: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        _one_of(f"block {self.id}: shape", self.shape, SHAPES)
        _whole(f"block {self.id}: replicates", self.replicates, 1)
        if self.plate is not None:
            _whole(f"block {self.id}: plate", self.plate, 1)
        if not self.first or not self.second:
            raise PlateError(f"block {self.id} needs a dose of either compound")
        for doses in (self.first, self.second):
            if len({each.compound for each in doses}) > 1:
                raise PlateError(f"block {self.id} mixes compounds in one list of doses")
            if len(set(doses)) < len(doses):
                raise PlateError(f"block {self.id} names a dose of {doses[0].compound} twice")
        if self.first[0].compound == self.second[0].compound:
            raise PlateError(f"block {self.id} pairs {self.first[0].compound} with itself")
        if self.shape == "diagonal" and len(self.first) != len(self.second):
            raise PlateError(f"block {self.id}: a diagonal needs as many doses of either compound")
        if self.shape == "single" and (len(self.first), len(self.second)) != (1, 1):
            raise PlateError(f"block {self.id}: a single pair has one dose of either compound")
        self._check_wells()

    def _check_wells(self) -> None:
        if (self.shape == "informed") != bool(self.wells):
            raise PlateError(f"block {self.id}: an informed block, and only that, names its wells")
        if len(set(self.wells)) < len(self.wells):
            raise PlateError(f"block {self.id} names a well twice")
        inside = (len(self.first), len(self.second))
        if any(not (0 <= i < inside[0] and 0 <= j < inside[1]) for i, j in self.wells):
            raise PlateError(f"block {self.id} names a well that its doses do not have")

    def pairs(self) -> Iterator[tuple[Dispense, Dispense]]:
        """The pairs of doses that are measured together, each in a well of its own."""
        if self.shape == "informed":
            return ((self.first[i], self.second[j]) for i, j in self.wells)
        if self.shape == "matrix":
            return ((a, b) for a in self.first for b in self.second)
        return zip(self.first, self.second, strict=True)

    def singles(self) -> tuple[Dispense, ...]:
        """The doses that are measured alone: those that some well of the block has."""
        used = {dose for pair in self.pairs() for dose in pair}
        return tuple(dose for dose in (*self.first, *self.second) if dose in used)


@dataclass(frozen=True)
class Controls:
    """What goes into the controls: a positive that kills (nothing when it is added by hand), and
    the pair that is repeated on every plate to see drift (nothing for no such wells)."""

    positive: tuple[Dispense, ...] = ()
    reference: tuple[Dispense, ...] = ()

    def __post_init__(self) -> None:
        if len({each.compound for each in self.reference}) != len(self.reference):
            raise PlateError("the reference pair names a compound twice")


def _scaled(asked: int | None, standard: int, fewest: int, wells: int) -> int:
    return max(fewest, math.ceil(standard * wells / 384)) if asked is None else asked


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise PlateError(f"{name} {value!r} is none of {', '.join(known)}")


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        words = name.replace("_", " ")
        raise PlateError(f"{words} is {value!r}, expected a whole number from {least} up")
