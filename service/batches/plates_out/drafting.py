"""From the items of a batch to plates, transfers and volumes: a draft that nobody has stored yet.

Everything is worked out as far as it goes, so that a dry run can say all that is in the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.batches.plates_out.held import Held
from service.batches.plates_out.sampling import Sample
from service.batches.plates_out.schemas import PlatesIn, StockNeedOut
from service.batches.tables import BatchItem
from service.campaigns.schemas import Limits
from service.kit.problems import FieldError
from service.plates.dispensing import Dispense
from service.plates.labware import Labware, Stock
from service.plates.layout import lay_out
from service.plates.layout_rules import Block, Controls, LayoutRules
from service.plates.plate_map import PlateMap
from service.plates.problems import PlateError
from service.plates.refusing import faults
from service.plates.snapping import Snapper
from service.plates.transfers import Transfer, TransferPlan, allocate, fill_vehicle, needs

Nominal = Mapping[tuple[str, float], float]
_Key = tuple[str, float]


@dataclass
class Draft:
    """What a layout would be, and what is in its way."""

    plates: tuple[PlateMap, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    needs: list[StockNeedOut] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)

    @property
    def plan(self) -> TransferPlan:
        return TransferPlan(self.plates, self.transfers)


@dataclass(frozen=True)
class Bench:
    """The lab as it is: labware, every stock, the snapper over both, names by id, and what other
    plates hold of the stocks."""

    labware: Labware
    stocks: Sequence[Stock]
    snapper: Snapper
    names: Mapping[str, str]
    held: Held = field(default_factory=Held)

    def reachable(self, vehicle: str) -> list[Stock]:
        """The stocks that the dispenser can reach; vehicle under the name that plates use."""
        cassettes = self.snapper.dispenser.cassettes
        found = []
        for stock in self.stocks:
            if (stock.well is None) == cassettes:
                is_vehicle = stock.mm == 0 and stock.compound.lower() == vehicle.lower()
                found.append(replace(stock, compound=vehicle) if is_vehicle else stock)
        return found


def rules_of(
    asked: PlatesIn, limits: Limits, wells: int, seed: int, items: Sequence[BatchItem]
) -> LayoutRules:
    """The rules of a layout; raises :class:`PlateError` where they cannot be."""
    layout = asked.layout
    singles = layout.single_agents
    if singles is None:
        singles = "per_plate" if limits.single_agents == "elsewhere" else limits.single_agents
    apart = layout.one_line_per_plate
    if apart is None:
        lines: dict[int | None, set[str]] = {}
        for item in items:
            lines.setdefault(item.plate, set()).add(item.cell_line_id)
        apart = None in lines or all(len(found) == 1 for found in lines.values())
    positive = layout.positive
    if positive is None and asked.positive_control is None:
        positive = 0
    return LayoutRules(
        wells=wells,
        edge=layout.edge,
        order=layout.order,
        seed=seed,
        vehicle=layout.vehicle,
        positive=positive,
        blank=layout.blank,
        reference=layout.reference,
        single_agents=singles,
        single_replicates=layout.single_replicates,
        replicates_apart=layout.replicates_apart,
        one_line_per_plate=apart,
        max_plates=layout.max_plates,
    )


def blocks_of(
    items: Sequence[BatchItem],
    sample: Sample,
    bench: Bench,
    nominal: Nominal,
    errors: list[FieldError],
) -> list[Block]:
    """The items as blocks of doses that can be made; ``errors`` says which cannot. Items that
    ``sample`` has no wells for are left out: it has said so."""
    known: dict[tuple[str, tuple[float, ...]], tuple[Dispense, ...]] = {}

    def snapped(compound: str, doses: Sequence[float]) -> tuple[Dispense, ...]:
        key = (compound, tuple(doses))
        if key not in known:
            wanted = [nominal.get((compound, dose), dose) for dose in doses]
            known[key] = bench.snapper.all(compound, wanted, errors, None)
        return known[key]

    found = []
    for item in items:
        first = snapped(item.compound_a_id, item.doses_a_um)
        second = snapped(item.compound_b_id, item.doses_b_um)
        wells = sample.wells.get(item.id, ())
        if not first or not second or (sample.informed and not wells):
            continue
        try:
            found.append(
                Block(
                    item.id, item.cell_line_id, first, second, sample.shape, sample.replicates,
                    item.plate, wells,
                )
            )  # fmt: skip
        except PlateError as problem:
            errors += faults(problem, "block_shape", "/block_shape", bench.names)
    return found


def controls_of(
    positive: tuple[str, float] | None,
    reference: Sequence[tuple[str, float]],
    bench: Bench,
    errors: list[FieldError],
) -> Controls:
    """The controls' doses as they can be made; compounds by id."""
    asked = [("/positive_control", 1, [positive] if positive else [])]
    asked.append(("/reference_pair", 2, list(reference)))
    found: list[tuple[Dispense, ...]] = []
    for pointer, share, listed in asked:
        doses = []
        for compound, dose in listed:
            try:
                doses.append(bench.snapper.one(compound, dose, share))
            except PlateError as problem:
                errors += faults(problem, "dose", pointer, bench.names)
        found.append(tuple(doses))
    return Controls(found[0], found[1])


def draft(
    blocks: Sequence[Block],
    controls: Controls,
    rules: LayoutRules,
    bench: Bench,
    fraction: float | None,
    prefix: str,
    vehicle: str,
) -> Draft:
    """Plates, transfers and volumes, up to the first stage that fails."""
    made = Draft()
    snapper = bench.snapper
    code, pointer = "layout", "/layout"
    try:
        made.plates = lay_out(blocks, rules, snapper.destination, controls, prefix, vehicle)
        code, pointer = "vehicle", "/fraction"
        made.plates = fill_vehicle(made.plates, snapper.destination, snapper.dispenser, fraction)
    except PlateError as problem:
        made.errors += faults(problem, code, pointer, bench.names)
        return made
    stocks = bench.held.left(bench.reachable(vehicle))
    wanted = _wanted(made.plates)
    try:
        made.needs = _needs(wanted, stocks, bench)
        if snapper.dispenser.cassettes:
            _require_enough(made.needs, vehicle, bench.held)
        else:
            used = [stock for stock in stocks if (stock.compound, stock.mm) in wanted]
            made.transfers = allocate(
                made.plates, used, bench.labware, snapper.dispenser, bench.held.words
            )
    except PlateError as problem:
        made.errors += faults(problem, "stock", None, bench.names)
    return made


def _wanted(plates: Sequence[PlateMap]) -> dict[_Key, tuple[float, int]]:
    """Volume and wells of every stock."""
    found: dict[_Key, tuple[float, int]] = {}
    for plate in plates:
        for well in plate.wells:
            for key, volume in needs(plate, well):
                total, wells = found.get(key, (0.0, 0))
                found[key] = (total + volume, wells + 1)
    return found


def _needs(
    wanted: Mapping[_Key, tuple[float, int]], stocks: Sequence[Stock], bench: Bench
) -> list[StockNeedOut]:
    usable: dict[_Key, float] = {}
    for stock in stocks:
        key = (stock.compound, stock.mm)
        if key in wanted:
            usable[key] = usable.get(key, 0.0) + bench.labware.usable_nl(stock)
    return [
        StockNeedOut(
            compound=compound,
            name=bench.names.get(compound, compound),
            stock_mm=mm,
            needed_nl=round(volume, 6),
            usable_nl=round(usable.get((compound, mm), 0.0), 6),
            planned_nl=bench.held.planned_nl((compound, mm)),
            transfers=wells,
        )
        for (compound, mm), (volume, wells) in sorted(wanted.items())
    ]


def _require_enough(listed: Sequence[StockNeedOut], vehicle: str, held: Held) -> None:
    """A cassette dispenser gets vehicle from its own back-fill, compounds from what there is."""
    short = [
        f"{each.compound} at {each.stock_mm:g} mM: the plates need {each.needed_nl:g} nL, and its "
        f"stocks hold {each.usable_nl:g} nL{held.words((each.compound, each.stock_mm))}. Add a "
        "stock or fill up"
        for each in listed
        if each.needed_nl > each.usable_nl and each.compound != vehicle
    ]
    if short:
        raise PlateError("; ".join(short), short)


def limits_when(rules: Mapping[str, Any]) -> Limits:
    """The limits that a recommendation was made under."""
    lab = dict(rules.get("lab") or {})
    lab.pop("batch_size", None)
    return Limits(**lab)
