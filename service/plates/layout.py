"""From blocks to plates: who shares a plate, and what goes into which well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from service.plates.barcodes import plate_barcode
from service.plates.dispensing import Dispense
from service.plates.geometry import WellAt
from service.plates.labware import VEHICLE, Destination
from service.plates.layout_rules import Block, Controls, LayoutRules
from service.plates.placing import shuffled, spread
from service.plates.plate_map import Content, PlateMap, Role, Well, empty_plate
from service.plates.problems import PlateError

_NOWHERE = (-1, -1)


_Key = tuple[str, Dispense, int]


@dataclass
class _Group:
    """Blocks that share a plate and its copies, and the wells that each copy fills."""

    blocks: list[Block] = field(default_factory=list)
    filled: dict[int, int] = field(default_factory=dict)
    singles: set[_Key] = field(default_factory=set)

    @property
    def lines(self) -> list[str]:
        return sorted({block.cell_line for block in self.blocks})

    def with_block(self, block: Block, rules: LayoutRules) -> _Group:
        """The group with one block more."""
        filled, singles = dict(self.filled), set(self.singles)
        for replicate in range(1, block.replicates + 1):
            copy = replicate if rules.replicates_apart else 1
            keys = {(block.cell_line, dose, replicate) for dose in block.singles()}
            new = len(keys - singles if rules.single_agents == "per_plate" else keys)
            alone = 0 if rules.single_agents == "elsewhere" else new * rules.single_replicates
            filled[copy] = filled.get(copy, 0) + len(list(block.pairs())) + alone
            singles |= keys
        return _Group([*self.blocks, block], filled, singles)

    def needed(self, rules: LayoutRules, controls: Controls) -> int:
        """Wells of its fullest copy, controls included."""
        kept = len(_controls(self.lines, rules, controls))
        return max(self.filled.values(), default=0) + kept


def lay_out(
    blocks: Sequence[Block],
    rules: LayoutRules,
    destination: Destination,
    controls: Controls = Controls(),
    prefix: str = "P",
    vehicle: str = VEHICLE,
) -> tuple[PlateMap, ...]:
    """The plates of a batch. ``prefix`` begins their barcodes.

    Blocks that the batch put on a plate stay together; others are packed in their order. With
    ``replicates_apart`` each plate is made once for every replicate, shuffled anew.
    """
    _check(blocks, rules, destination)
    groups = _groups(blocks, rules, controls)
    plates = [(group, copy) for group in groups for copy in sorted(group.filled)]
    if rules.max_plates is not None and len(plates) > rules.max_plates:
        raise PlateError(
            f"{len(blocks)} blocks fill {len(plates)} plates, of {rules.max_plates} allowed. "
            "Ask for fewer blocks or replicates, or allow more plates"
        )
    return tuple(
        _plate(
            number,
            _asked(group.blocks, copy, rules),
            rules,
            controls,
            empty_plate(
                plate_barcode(prefix, number), number, rules.format, destination.assay_nl, vehicle
            ),
        )
        for number, (group, copy) in enumerate(plates, start=1)
    )


def wells_needed(
    blocks: Sequence[Block], rules: LayoutRules, controls: Controls = Controls()
) -> int:
    """Wells that a plate of these blocks fills, controls included."""
    return _group(blocks, rules).needed(rules, controls)


def _check(blocks: Sequence[Block], rules: LayoutRules, destination: Destination) -> None:
    if not blocks:
        raise PlateError("there is no block to put on a plate")
    if destination.wells != rules.wells:
        raise PlateError(
            f"the layout is for {rules.wells} wells, but {destination.name} has "
            f"{destination.wells}; choose one format"
        )
    ids = [block.id for block in blocks]
    if twice := sorted(name for name, times in Counter(ids).items() if times > 1):
        raise PlateError(f"block {twice[0]} is in the batch twice")
    placed = {block.plate is not None for block in blocks}
    if len(placed) > 1:
        raise PlateError("some blocks name their plate and others do not; name all or none")


def _group(blocks: Sequence[Block], rules: LayoutRules) -> _Group:
    group = _Group()
    for block in blocks:
        group = group.with_block(block, rules)
    return group


def _groups(blocks: Sequence[Block], rules: LayoutRules, controls: Controls) -> list[_Group]:
    if blocks[0].plate is None:
        return _packed(blocks, rules, controls)
    by_plate: dict[int, list[Block]] = {}
    for block in blocks:
        by_plate.setdefault(block.plate or 0, []).append(block)
    groups = []
    for number in sorted(by_plate):
        groups.append(_group(by_plate[number], rules))
        _check_group(f"plate {number}", groups[-1], rules, controls)
    return groups


def _packed(blocks: Sequence[Block], rules: LayoutRules, controls: Controls) -> list[_Group]:
    """First fit, in the order of the blocks."""
    groups: list[_Group] = []
    room = len(rules.usable())
    for block in blocks:
        for index, group in enumerate(groups):
            together = group.with_block(block, rules)
            alike = not rules.one_line_per_plate or len(together.lines) == 1
            if alike and together.needed(rules, controls) <= room:
                groups[index] = together
                break
        else:
            groups.append(_Group().with_block(block, rules))
            _check_group(f"block {block.id}", groups[-1], rules, controls)
    return groups


def _check_group(name: str, group: _Group, rules: LayoutRules, controls: Controls) -> None:
    lines = group.lines
    if rules.one_line_per_plate and len(lines) > 1:
        raise PlateError(
            f"{name} mixes the cell lines {', '.join(lines)}, and each plate may hold one"
        )
    kept, allowed = len(_controls(lines, rules, controls)), len(rules.for_controls())
    if kept > allowed:
        raise PlateError(
            f"{name}: {kept} controls do not fit in the {allowed} wells that may hold them; "
            f"{kept - allowed} wells are missing. Ask for fewer controls"
        )
    needed, room = group.needed(rules, controls), len(rules.usable())
    if needed > room:
        raise PlateError(
            f"{name} needs {needed} wells ({kept} of them controls) and has {room}: "
            f"{needed - room} wells are missing. Take a larger plate, fewer doses or fewer controls"
        )


def _asked(blocks: Sequence[Block], copy: int, rules: LayoutRules) -> list[Well]:
    """The wells that blocks ask of one copy of their plate, without places."""
    wells: list[Well] = []
    seen: set[_Key] = set()
    for block in blocks:
        for replicate in range(1, block.replicates + 1):
            if replicate == copy or not rules.replicates_apart:
                wells += _singles(block, replicate, rules, seen)
                wells += [
                    _well(Role.SAMPLE, pair, block.cell_line, block.id, replicate)
                    for pair in block.pairs()
                ]
    return wells


def _singles(block: Block, replicate: int, rules: LayoutRules, seen: set[_Key]) -> list[Well]:
    """Single agents of a block; once for the whole plate where the rules say so."""
    if rules.single_agents == "elsewhere":
        return []
    per_plate, wells = rules.single_agents == "per_plate", []
    for dose in block.singles():
        key = (block.cell_line, dose, replicate)
        if per_plate and key in seen:
            continue
        seen.add(key)
        name = None if per_plate else block.id
        wells += [
            _well(Role.SINGLE, (dose,), block.cell_line, name, replicate)
        ] * rules.single_replicates
    return wells


def _controls(lines: Sequence[str], rules: LayoutRules, controls: Controls) -> list[Well]:
    """The controls of a plate, kind by kind; each cell line has its own."""
    reference = rules.reference if controls.reference else 0
    kept: list[Well] = []
    for line in lines:
        kept += [_well(Role.VEHICLE, (), line)] * -(-rules.n_vehicle // len(lines))
        kept += [_well(Role.POSITIVE, controls.positive, line)] * -(-rules.n_positive // len(lines))
        kept += [_well(Role.REFERENCE, controls.reference, line)] * reference
    return [*kept, *[Well(_NOWHERE, Role.BLANK)] * rules.blank]


def _well(
    role: Role,
    doses: Sequence[Dispense],
    line: str | None,
    block: str | None = None,
    replicate: int | None = None,
) -> Well:
    contents = sorted(map(Content.of, doses), key=lambda each: each.compound)
    return Well(_NOWHERE, role, tuple(contents), line, block, replicate)


def _plate(
    number: int, asked: list[Well], rules: LayoutRules, controls: Controls, plate: PlateMap
) -> PlateMap:
    lines = sorted({well.cell_line for well in asked if well.cell_line is not None})
    kept = _controls(lines, rules, controls)
    places = _control_places(kept, number, rules)
    taken = set(places)
    free = [well for well in rules.usable() if well not in taken]
    order = _order(asked, free, number, rules)
    filled = [*zip(kept, places, strict=True), *order]
    return plate.changed(replace(well, at=place) for well, place in filled)


def _control_places(kept: Sequence[Well], number: int, rules: LayoutRules) -> list[WellAt]:
    """A place for each control: every kind is spread over the whole plate."""
    places: list[WellAt] = []
    for (role, line), kind in groupby(kept, key=lambda well: (well.role, well.cell_line)):
        taken = set(places)
        free = [well for well in rules.for_controls() if well not in taken]
        count = len(list(kind))
        places += spread(free, count, number, rules.seed, role, line)
    return places


def _order(
    asked: list[Well], free: list[WellAt], number: int, rules: LayoutRules
) -> list[tuple[Well, WellAt]]:
    """A place for every well: anywhere, or row by row with the blocks in an order of their own."""
    if rules.order == "random":
        return list(zip(asked, shuffled(free, rules.seed, number, "wells"), strict=False))
    runs: dict[tuple[str, str, int], list[Well]] = {}
    for well in asked:
        key = (well.cell_line or "", well.block or "", well.replicate or 0)
        runs.setdefault(key, []).append(well)
    order = shuffled(list(runs), rules.seed, number, "blocks")
    return list(zip((well for key in order for well in runs[key]), free, strict=False))
