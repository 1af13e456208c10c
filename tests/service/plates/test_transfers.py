"""Volumes add up, source wells are never overdrawn, and what is impossible says why."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.plates.labware import DEFAULT_LABWARE, Dispenser, Stock
from service.plates.layout_rules import LayoutRules
from service.plates.plate_map import FILLED, Content, Role, Well
from service.plates.problems import PlateError
from service.plates.transfers import (
    TransferPlan,
    allocate,
    fill_vehicle,
    plan_transfers,
)
from tests.service.plates.bench import ALL_STOCKS, ECHO, NAMES, PLATE_384, block, plan, plates


def test_every_well_gets_the_same_volume() -> None:
    made = plan(block(), block("b2", NAMES[2], NAMES[3], replicates=2), rules=LayoutRules(blank=2))
    totals = {
        round(well.compound_nl + well.vehicle_nl, 6)
        for plate in made.plates
        for well in plate.of(*FILLED)
    }
    assert totals == {100.0}  # 20 uM of 10 mM, and 10 uM of two: the fullest wells
    for plate in made.plates:
        assert all(well.vehicle_nl == 0 for well in plate.of(Role.BLANK, Role.EMPTY))
        for well in plate.of(*FILLED):
            for each in well.contents:
                real = each.stock_mm * 1000 * each.volume_nl / (50_000 + 100)
                assert each.real_um == pytest.approx(real, rel=1e-12)


def test_transfers_make_the_plates() -> None:
    """Replayed on empty plates by a dispenser that knows the stocks only."""
    made = plan(block(replicates=2))
    inside = {(each.plate, each.well): (each.compound, each.mm) for each in ALL_STOCKS}
    got = defaultdict(Counter)
    for each in made.transfers:
        assert each.volume_nl % 2.5 == 0
        key = inside[each.source_plate, each.source_well]
        assert key == (each.compound, each.stock_mm)
        got[each.destination, each.destination_well][key] += each.volume_nl
    for plate in made.plates:
        for well in plate.wells:
            want = Counter({(c.compound, c.stock_mm): c.volume_nl for c in well.contents})
            if well.vehicle_nl:
                want["DMSO", 0.0] = well.vehicle_nl
            assert got.pop((plate.barcode, well.at), Counter()) == want
    assert not got


def test_a_fraction_that_is_asked_for() -> None:
    made = plates()
    filled = fill_vehicle(made, PLATE_384, ECHO, 0.0045)
    total = filled[0].of(Role.VEHICLE)[0].vehicle_nl
    assert total == 225.0
    with pytest.raises(PlateError, match=r"0.150% of a well is 75 nL.*already bring 100 nL"):
        fill_vehicle(made, PLATE_384, ECHO, 0.0015)
    with pytest.raises(PlateError, match=r"0.600% of a well is over the limit of 0.500%"):
        fill_vehicle(made, PLATE_384, ECHO, 0.006)
    with pytest.raises(PlateError, match=r"over the largest transfer of 210 nL"):
        fill_vehicle(made, replace(PLATE_384, max_total_nl=210), ECHO, 0.0045)


def test_a_well_over_the_limits_says_which_and_why() -> None:
    made = plates()
    with pytest.raises(PlateError, match=r"well \w+: .*bring 100 nL of vehicle, 0.200% of the w"):
        fill_vehicle(made, replace(PLATE_384, vehicle_limit=0.0015), ECHO)
    with pytest.raises(PlateError, match=r"bring 100 nL, and .* takes 75 nL at most"):
        fill_vehicle(made, replace(PLATE_384, max_total_nl=75), ECHO)
    with pytest.raises(PlateError, match=r"no whole number of drops of 25 nL"):
        fill_vehicle(made, PLATE_384, DEFAULT_LABWARE.dispenser("Echo 525"))
    with pytest.raises(PlateError, match="not laid out for"):
        fill_vehicle(made, replace(PLATE_384, assay_nl=40_000), ECHO)


def needed(stock: str, mm: float) -> float:
    return sum(t.volume_nl for t in plan().transfers if (t.compound, t.stock_mm) == (stock, mm))


def test_a_missing_stock_is_named() -> None:
    short = [each for each in ALL_STOCKS if each.compound not in ("DMSO", "Bortezomib")]
    with pytest.raises(PlateError, match=r"no stock of Bortezomib at 0.5 mM.*; .*no stock of DM"):
        allocate(fill_vehicle(plates(), PLATE_384, ECHO), short, DEFAULT_LABWARE, ECHO)


@pytest.mark.parametrize("spare", [0.0, 2.5, -2.5])
def test_dead_volume_stays_behind(spare: float) -> None:
    """The last drop above the dead volume is given, and not one more."""
    vehicle = needed("DMSO", 0.0)
    others = [each for each in ALL_STOCKS if each.compound != "DMSO"]
    exact = Stock("DMSO", 0.0, 15_000 + vehicle + spare, "V", "384PP_DMSO2", (0, 0))
    filled = fill_vehicle(plates(), PLATE_384, ECHO)
    if spare >= 0:
        assert allocate(filled, [*others, exact], DEFAULT_LABWARE, ECHO)
        return
    words = rf"DMSO: the plates need {vehicle:g} nL, and 1 source well gives {vehicle - 2.5:g} nL"
    with pytest.raises(PlateError, match=words + r" \(15000 nL stay behind\): 2.5 nL are missing"):
        allocate(filled, [*others, exact], DEFAULT_LABWARE, ECHO)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(15_000, 17_000), min_size=3, max_size=12))
def test_no_source_well_is_overdrawn(volumes: list[int]) -> None:
    sources = [
        Stock("DMSO", 0.0, volume, "V", "384PP_DMSO2", (0, place))
        for place, volume in enumerate(volumes)
    ]
    others = [each for each in ALL_STOCKS if each.compound != "DMSO"]
    filled = fill_vehicle(plates(), PLATE_384, ECHO)
    try:
        made = allocate(filled, [*others, *sources], DEFAULT_LABWARE, ECHO)
    except PlateError:
        made = ()
    taken = Counter()
    for each in made:
        taken[each.source_plate, each.source_well] += each.volume_nl
    for source in sources:
        assert taken[source.plate, source.well] <= source.volume_nl - 15_000


def test_large_volumes_go_in_several_transfers() -> None:
    slow = Dispenser("slow", 2.5, 60)
    made = plan_transfers(plates(), ALL_STOCKS, DEFAULT_LABWARE, PLATE_384, slow)
    assert max(each.volume_nl for each in made.transfers) == 60
    fast = plan()
    assert sum(t.volume_nl for t in made.transfers) == sum(t.volume_nl for t in fast.transfers)


def test_stocks_that_cannot_be_used() -> None:
    filled = fill_vehicle(plates(), PLATE_384, ECHO)
    with pytest.raises(PlateError, match="stock of x at 1 mM has no source well"):
        allocate(filled, [Stock("x", 1, 1)], DEFAULT_LABWARE, ECHO)
    clash = replace(ALL_STOCKS[0], compound="x")
    with pytest.raises(PlateError, match="well A1 of SRC1 holds both Alisertib and x"):
        allocate(filled, [*ALL_STOCKS, clash], DEFAULT_LABWARE, ECHO)


def test_a_plan_survives_json() -> None:
    made = plan()
    assert TransferPlan.from_dict(made.to_dict()) == made


def test_an_empty_plate_needs_nothing() -> None:
    (plate,) = plates()
    bare = plate.changed(Well(well.at) for well in plate.wells)
    assert fill_vehicle([bare], PLATE_384, ECHO) == (bare,)


def test_a_dose_off_the_grid_is_refused() -> None:
    (plate,) = plates()
    odd = Well((3, 3), Role.SINGLE, (Content("x", 1, 1, 10, 4.0),), "A375")
    with pytest.raises(PlateError, match=rf"plate {plate.barcode}, well D4: x: 4 nL is no whole"):
        fill_vehicle([plate.changed([odd])], PLATE_384, ECHO)
