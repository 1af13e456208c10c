"""Plates as a lab would check them: nothing lost, nothing twice, controls where they may be."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.plates.barcodes import plate_barcode
from service.plates.geometry import PLATE_384
from service.plates.labware import DEFAULT_LABWARE
from service.plates.layout import lay_out, wells_needed
from service.plates.layout_rules import Block, Controls, LayoutRules
from service.plates.plate_map import PlateMap, Role
from service.plates.problems import PlateError
from tests.service.plates.bench import NAMES, PLATE_96, block, controls, plates, snapped
from tests.service.plates.bench import PLATE_384 as WELLS_384

CONTROLS = (Role.VEHICLE, Role.POSITIVE, Role.BLANK, Role.REFERENCE)
DOSES = {name: snapped(name, (0.1, 1.0, 10.0)) for name in NAMES}


def doses_of(well) -> tuple[tuple[str, float], ...]:
    return tuple((each.compound, each.nominal_um) for each in well.contents)


def asked(blocks) -> Counter:
    """What a batch asks for, written down independently."""
    return Counter(
        (each.id, each.cell_line, replicate, *sorted((d.compound, d.nominal_um) for d in pair))
        for each in blocks
        for replicate in range(1, each.replicates + 1)
        for pair in each.pairs()
    )


def given_by(maps) -> Counter:
    return Counter(
        (well.block, well.cell_line, well.replicate, *doses_of(well))
        for plate in maps
        for well in plate.of(Role.SAMPLE)
    )


@st.composite
def batches(draw):
    """A handful of blocks and rules for them."""
    pairs = st.sampled_from([(a, b) for a in NAMES[:4] for b in NAMES[:4] if a != b])
    count = draw(st.integers(1, 6))
    assigned = draw(st.booleans())
    blocks = []
    for number in range(count):
        first, second = draw(pairs)
        shape = draw(st.sampled_from(["single", "matrix", "diagonal", "informed"]))
        size = 1 if shape == "single" else draw(st.integers(1, 3))
        places = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
        wells = draw(st.lists(places, min_size=1, unique=True)) if shape == "informed" else []
        line = draw(st.sampled_from(["A375", "MCF7"]))
        # A plate of the batch holds one line, so that either policy can be asked for.
        plate = draw(st.sampled_from([1, 3])) + (line == "MCF7") if assigned else None
        blocks.append(
            Block(
                f"b{number}",
                line,
                DOSES[first][:size],
                DOSES[second][:size],
                shape,
                draw(st.integers(1, 3)),
                plate,
                tuple(wells),
            )
        )
    rules = LayoutRules(
        edge=draw(st.sampled_from(["use", "buffer"])),
        order=draw(st.sampled_from(["random", "row_blocks"])),
        seed=draw(st.integers(0, 10**6)),
        blank=draw(st.integers(0, 3)),
        single_agents=draw(st.sampled_from(["per_plate", "per_block", "elsewhere"])),
        single_replicates=draw(st.integers(1, 2)),
        replicates_apart=draw(st.booleans()),
        one_line_per_plate=draw(st.booleans()),
    )
    return tuple(blocks), rules


@settings(max_examples=40, deadline=None)
@given(batches())
def test_what_every_layout_keeps(batch) -> None:
    blocks, rules = batch
    kept = controls()
    maps = lay_out(blocks, rules, WELLS_384, kept)
    assert given_by(maps) == asked(blocks)  # every asked well exactly once
    assert maps == lay_out(blocks, rules, WELLS_384, kept)  # the same seed, the same map
    assert len({plate.barcode for plate in maps}) == len(maps)
    for plate in maps:
        check_controls(plate, rules)
        check_singles(plate, rules)
        if rules.one_line_per_plate:
            assert len(plate.cell_lines) == 1
        if rules.edge == "buffer":
            assert not any(PLATE_384.is_edge(well.at) for well in plate.used)
    if rules.replicates_apart:
        check_apart(maps)


def check_controls(plate: PlateMap, rules: LayoutRules) -> None:
    for line in plate.cell_lines:
        count = Counter(well.role for well in plate.wells if well.cell_line == line)
        share = len(plate.cell_lines)
        assert count[Role.VEHICLE] == -(-16 // share)
        assert count[Role.POSITIVE] == -(-8 // share)
        assert count[Role.REFERENCE] == 2
    assert len(plate.of(Role.BLANK)) == rules.blank
    for well in plate.of(*CONTROLS):
        assert well.at[1] not in (0, 23)
    assert all(not well.contents for well in plate.of(Role.VEHICLE, Role.BLANK))


def check_singles(plate: PlateMap, rules: LayoutRules) -> None:
    """Each dose of a pair also stands alone on its plate, as often as asked."""
    if rules.single_agents == "elsewhere":
        assert plate.of(Role.SINGLE) == ()
        return
    alone = Counter(
        (well.cell_line, well.replicate, well.block, doses_of(well))
        for well in plate.of(Role.SINGLE)
    )
    own = rules.single_agents == "per_block"
    wanted = {
        (well.cell_line, well.replicate, well.block if own else None, (dose,))
        for well in plate.of(Role.SAMPLE)
        for dose in doses_of(well)
    }
    assert set(alone) == wanted
    assert set(alone.values()) == {rules.single_replicates}


def check_apart(maps) -> None:
    for plate in maps:
        numbers = Counter((well.block, doses_of(well)) for well in plate.of(Role.SAMPLE))
        assert set(numbers.values()) == {1}
        assert len({well.replicate for well in plate.of(Role.SAMPLE, Role.SINGLE)}) == 1


def test_another_seed_is_another_plate() -> None:
    first, second = (plates(rules=LayoutRules(seed=seed))[0] for seed in (1, 2))
    assert first != second
    assert given_by([first]) == given_by([second])


def test_controls_shift_from_plate_to_plate() -> None:
    maps = plates(block(replicates=6))
    places = [frozenset(well.at for well in plate.of(*CONTROLS)) for plate in maps]
    assert len(places) == len(set(places)) == 6
    often = Counter(well for each in places for well in each)
    assert max(often.values()) <= 3  # none of them stays


@pytest.mark.parametrize("seed", range(5))
def test_controls_are_spread_over_the_plate(seed: int) -> None:
    """A gradient over the plate shifts the mean control hardly at all: five times less than it
    would shift the mean of controls in one outer column."""
    for plate in plates(block(replicates=3), rules=LayoutRules(seed=seed)):
        for role, most in ((Role.VEHICLE, 0.1), (Role.POSITIVE, 0.15)):
            wells = plate.of(role)
            for axis, length in enumerate((16, 24)):
                places = [well.at[axis] for well in wells]
                assert len(set(places)) > 0.6 * len(wells)
                assert abs(sum(places) / len(wells) / (length - 1) - 0.5) < most


def test_random_order_scatters_a_block_and_rows_keep_it_together() -> None:
    def touching(order: str) -> int:
        maps = plates(
            *(block(f"b{i}", NAMES[i], NAMES[i + 1]) for i in range(4)),
            rules=LayoutRules(order=order, seed=3),
        )
        wells = [well for well in maps[0].wells if well.role is Role.SAMPLE]
        return sum(a.block == b.block for a, b in pairwise(wells))

    assert touching("row_blocks") >= 4 * 8 - 4
    assert touching("random") < 20


def test_defaults_scale_with_the_format() -> None:
    counts = {n: (LayoutRules(n).n_vehicle, LayoutRules(n).n_positive) for n in (96, 384, 1536)}
    assert counts == {96: (8, 4), 384: (16, 8), 1536: (64, 32)}
    assert LayoutRules(vehicle=3, positive=0).n_vehicle == 3
    assert LayoutRules(vehicle=3, positive=0).n_positive == 0


@pytest.mark.parametrize("wells", [96, 384, 1536])
def test_every_format(wells: int) -> None:
    destination = next(each for each in DEFAULT_LABWARE.destinations if each.wells == wells)
    (plate,) = lay_out([block()], LayoutRules(wells, vehicle=8), destination, controls())
    assert len(plate.wells) == wells
    assert plate.assay_nl == destination.assay_nl
    assert len(plate.of(Role.SAMPLE)) == 9
    assert len(plate.of(Role.SINGLE)) == 6


def test_no_reference_pair_and_a_positive_by_hand() -> None:
    (plate,) = plates(controls=Controls())
    assert plate.of(Role.REFERENCE) == ()
    assert len(plate.of(Role.POSITIVE)) == 8
    assert not any(well.contents for well in plate.of(Role.POSITIVE))


def test_a_full_plate_is_filled_to_the_last_well() -> None:
    doses = snapped(NAMES[0], [0.5 * n for n in range(1, 19)])
    others = snapped(NAMES[1], [0.5 * n for n in range(1, 18)])
    big = Block("big", "A375", doses, others, "matrix")
    needed = 18 * 17 + 35 + 26
    assert wells_needed([big], LayoutRules(), controls()) == needed
    (plate,) = plates(big)
    assert len(plate.used) == needed
    exact = LayoutRules(vehicle=16 + 384 - needed)
    (plate,) = plates(big, rules=exact)
    assert len(plate.used) == 384


def test_too_much_for_a_plate_says_how_many_wells_are_missing() -> None:
    doses = snapped(NAMES[0], [0.5 * n for n in range(1, 19)])
    others = snapped(NAMES[1], [0.5 * n for n in range(1, 19)])
    big = Block("big", "A375", doses, others, "matrix")
    with pytest.raises(
        PlateError, match=r"block big needs 386 wells \(26 of them controls\).*: 2 wells are miss"
    ):
        plates(big)
    with pytest.raises(PlateError, match=r"plate 7 needs 386 wells"):
        plates(Block("big", "A375", doses, others, "matrix", plate=7))
    with pytest.raises(PlateError, match=r"352 wells that may hold them; 58 wells are missing"):
        plates(rules=LayoutRules(vehicle=400))


def test_blocks_are_packed_in_order_and_plates_are_counted() -> None:
    blocks = [block(f"b{i}", NAMES[i % 4], NAMES[i % 4 + 1], replicates=2) for i in range(12)]
    rules = LayoutRules(96, vehicle=8, positive=4)
    maps = lay_out(blocks, rules, PLATE_96, controls(destination=PLATE_96))
    assert len(maps) == 4
    assert [plate.number for plate in maps] == [1, 2, 3, 4]
    assert {well.block for well in maps[0].of(Role.SAMPLE)} == {
        well.block for well in maps[1].of(Role.SAMPLE)
    }
    with pytest.raises(PlateError, match="12 blocks fill 4 plates, of 3 allowed"):
        lay_out(blocks, LayoutRules(96, max_plates=3), PLATE_96, controls(destination=PLATE_96))


@pytest.mark.parametrize(("single_agents", "alone"), [("per_plate", 9), ("per_block", 12)])
def test_blocks_that_share_a_compound_share_its_single_agents(single_agents, alone) -> None:
    rules = LayoutRules(single_agents=single_agents)
    blocks = [block(), block("b2", NAMES[0], NAMES[2])]
    (plate,) = plates(*blocks, rules=rules)
    assert len(plate.of(Role.SINGLE)) == alone
    assert len(plate.used) == wells_needed(blocks, rules, controls()) == 18 + alone + 26


def test_the_vehicle_and_the_prefix_are_the_callers() -> None:
    (plate,) = lay_out([block()], LayoutRules(), WELLS_384, prefix="NR7B2", vehicle="water")
    assert plate.vehicle == "water"
    assert plate.barcode == plate_barcode("NR7B2", 1)


def test_what_cannot_be_laid_out() -> None:
    with pytest.raises(PlateError, match="no block"):
        lay_out([], LayoutRules(), WELLS_384)
    with pytest.raises(PlateError, match="block b1 is in the batch twice"):
        plates(block(), block())
    with pytest.raises(PlateError, match="name all or none"):
        plates(block(), block("b2", plate=1))
    with pytest.raises(PlateError, match="choose one format"):
        lay_out([block()], LayoutRules(96), WELLS_384)
    with pytest.raises(PlateError, match="plate 1 mixes the cell lines A375, MCF7"):
        plates(block(plate=1), block("b2", line="MCF7", plate=1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edge": "skip"}, "edge 'skip' is none of use, buffer"),
        ({"order": "spiral"}, "order"),
        ({"single_agents": "nowhere"}, "single agents"),
        ({"wells": 24}, "no plate of 24"),
        ({"seed": -1}, "seed is -1"),
        ({"vehicle": 1.5}, "vehicle is 1.5"),
        ({"max_plates": 0}, "max plates is 0, expected a whole number from 1 up"),
        ({"single_replicates": True}, "single replicates is True"),
        ({"replicates_apart": 1}, "true or false"),
        ({"colour": 1}, "no layout rule colour"),
    ],
)
def test_rules_that_cannot_be(changes, words) -> None:
    with pytest.raises(PlateError, match=words):
        LayoutRules.from_dict({**LayoutRules().to_dict(), **changes})


def test_rules_survive_json() -> None:
    rules = LayoutRules(96, "buffer", "row_blocks", 7, 10, 5, 2)
    assert LayoutRules.from_dict(rules.to_dict()) == rules


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": "star"}, "shape 'star'"),
        ({"replicates": 0}, "replicates is 0"),
        ({"plate": 0}, "plate is 0"),
        ({"first": ()}, "needs a dose"),
        ({"first": DOSES[NAMES[1]]}, "pairs Bortezomib with itself"),
        ({"first": (*DOSES[NAMES[0]], *DOSES[NAMES[2]])}, "mixes compounds"),
        ({"first": DOSES[NAMES[0]][:1] * 2}, "names a dose of Alisertib twice"),
        ({"shape": "diagonal", "first": DOSES[NAMES[0]][:2]}, "as many doses"),
        ({"shape": "single"}, "one dose of either"),
        ({"shape": "informed"}, "names its wells"),
        ({"wells": ((0, 0),)}, "names its wells"),
        ({"shape": "informed", "wells": ((0, 0), (0, 0))}, "names a well twice"),
        ({"shape": "informed", "wells": ((0, 9),)}, "that its doses do not have"),
    ],
)
def test_blocks_that_cannot_be(changes, words) -> None:
    good = {
        "id": "b",
        "cell_line": "A",
        "first": DOSES[NAMES[0]],
        "second": DOSES[NAMES[1]],
        "shape": "matrix",
    }
    with pytest.raises(PlateError, match=words):
        Block(**{**good, **changes})


def test_a_reference_pair_of_one_compound_is_refused() -> None:
    with pytest.raises(PlateError, match="reference pair"):
        Controls(reference=DOSES[NAMES[0]][:2])


def test_maps_survive_json() -> None:
    (plate,) = plates()
    assert PlateMap.from_dict(plate.to_dict()) == plate
    twice = plate.to_dict()
    twice["wells"].append(twice["wells"][0])
    with pytest.raises(PlateError, match="names a well twice"):
        PlateMap.from_dict(twice)
    with pytest.raises(PlateError, match="each of its 384 wells once"):
        PlateMap("x", 1, plate.format, 50_000, plate.wells[1:])
