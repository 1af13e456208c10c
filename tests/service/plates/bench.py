"""A small lab: stocks, blocks and plates for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence

from service.plates.dispensing import SnapRules, snap_doses
from service.plates.labware import DEFAULT_LABWARE, Stock
from service.plates.layout import lay_out
from service.plates.layout_rules import Block, Controls, LayoutRules
from service.plates.plate_map import PlateMap
from service.plates.transfers import TransferPlan, plan_transfers

ECHO = DEFAULT_LABWARE.dispenser("Echo 650")
D300 = DEFAULT_LABWARE.dispenser("D300e T8+")
PLATE_96 = DEFAULT_LABWARE.destination("96-well 100 uL")
PLATE_384 = DEFAULT_LABWARE.destination("384-well 50 uL")
NAMES = ("Alisertib", "Bortezomib", "Cisplatin", "Dasatinib", "Erlotinib")
LEVELS = (10.0, 0.5, 0.02)


def stocks(compound: str, levels: Sequence[float] = LEVELS, start: int = 0) -> list[Stock]:
    """A row of stocks on a 384-well source plate."""
    row = NAMES.index(compound) if compound in NAMES else 15
    return [
        Stock(compound, mm, 60_000, "SRC1", "384PP_DMSO2", (row, start + place))
        for place, mm in enumerate(levels)
    ]


ALL_STOCKS = [each for name in NAMES for each in stocks(name)] + stocks("DMSO", (0.0,) * 6)


def snapped(compound: str, doses: Sequence[float], dispenser=ECHO, destination=PLATE_384):
    """Doses as they can be dispensed."""
    rules = SnapRules(tolerance=0.2)
    return snap_doses(doses, stocks(compound), destination, dispenser, rules)


def block(
    name: str = "b1",
    first: str = NAMES[0],
    second: str = NAMES[1],
    doses: Sequence[float] = (0.1, 1.0, 10.0),
    shape: str = "matrix",
    line: str = "A375",
    replicates: int = 1,
    plate: int | None = None,
    dispenser=ECHO,
    destination=PLATE_384,
) -> Block:
    """A block of two compounds."""
    return Block(
        name,
        line,
        snapped(first, doses, dispenser, destination),
        snapped(second, doses, dispenser, destination),
        shape,
        replicates,
        plate,
    )


def controls(dispenser=ECHO, destination=PLATE_384) -> Controls:
    """A positive control and a reference pair."""
    return Controls(
        snapped(NAMES[4], (20.0,), dispenser, destination),
        (
            *snapped(NAMES[2], (1.0,), dispenser, destination),
            *snapped(NAMES[3], (1.0,), dispenser, destination),
        ),
    )


def plates(*blocks: Block, rules: LayoutRules = LayoutRules(), **options) -> tuple[PlateMap, ...]:
    """Plates of 384 wells for these blocks."""
    return lay_out(blocks or (block(),), rules, PLATE_384, options.pop("controls", controls()))


def plan(*blocks: Block, rules: LayoutRules = LayoutRules()) -> TransferPlan:
    """Those plates with everything that the Echo has to do."""
    made = plates(*blocks, rules=rules)
    return plan_transfers(made, ALL_STOCKS, DEFAULT_LABWARE, PLATE_384, ECHO)
