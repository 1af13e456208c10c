"""Rules of plates that go out: a batch is laid out once, and no barcode is ever used twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from service.batches.plates_out.drafting import (
    Bench,
    Draft,
    blocks_of,
    controls_of,
    draft,
    limits_when,
    rules_of,
)
from service.batches.plates_out.held import Held
from service.batches.plates_out.sampling import Sample, informed, miscounted, sample_of
from service.batches.plates_out.schemas import (
    CancellationIn,
    IssuedPlateOut,
    LayoutOut,
    PlatesIn,
    StockNeedOut,
    TransferReportOut,
)
from service.batches.repository import (
    BatchItemRepository,
    BatchRepository,
    RecommendationRepository,
)
from service.batches.tables import Batch, BatchItem
from service.campaigns.service import CampaignService
from service.kit.audit.recorder import give_reason
from service.kit.database import dump_json, utcnow
from service.kit.ids import new_id
from service.kit.names import NameDirectory
from service.kit.outbox import emit
from service.kit.problems import Conflict, FieldError, Invalid, NotFound
from service.kit.unit import Unit
from service.learning.service import draw_seed
from service.plates.lab_tables import LabTables
from service.plates.labware import Destination, Dispenser, Labware
from service.plates.layout_rules import Controls, LayoutRules
from service.plates.naming import compound_directory, compound_names, line_names, resolve_compound
from service.plates.plate_map import PlateMap
from service.plates.refusing import refuse, refusing
from service.plates.repository import (
    DispensingRepository,
    PlateLayoutRepository,
    PlateRepository,
    TransferReportRepository,
)
from service.plates.schemas import ControlIn, DispensingIn
from service.plates.service import map_of, plate_row
from service.plates.snapping import Snapper, nominal_doses, usable_stocks
from service.plates.tables import Plate, PlateLayout
from service.plates.transfers import TransferPlan

_GONE = ("replaced", "released")


class PlatesOutService:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.session = unit.session
        self.campaigns = CampaignService(unit)
        self.batches = BatchRepository(unit.session, unit.principal)
        self.items = BatchItemRepository(unit.session, unit.principal)
        self.recommendations = RecommendationRepository(unit.session, unit.principal)
        self.dispensing = DispensingRepository(unit.session, unit.principal)
        self.plates = PlateRepository(unit.session, unit.principal)
        self.layouts = PlateLayoutRepository(unit.session, unit.principal)
        self.reports = TransferReportRepository(unit.session, unit.principal)
        self.tables = LabTables(unit)

    def lay_out(self, batch: Batch, body: PlatesIn, *, dry_run: bool) -> LayoutOut:
        """Put the batch on plates, or say what that would take and what is in the way."""
        self._require_free(batch, dry_run)
        items = [item for item in self.items.of_batch(batch.id) if item.status not in _GONE]
        asked, directory = self._asked(batch, body), compound_directory(self.unit)
        controls = _Controls.read(body, directory)
        bench = self._bench(asked, items, controls.compounds, dry_run=dry_run)
        seed, identifier = draw_seed(body.seed), new_id("lay")
        prefix = body.barcode_prefix or f"P{identifier[-7:].upper()}"
        limits = limits_when(self.recommendations.get(batch.recommendation_id).rules)
        sample = sample_of(body, limits, items)
        with refusing("format", "/format"):
            wells = _format(body, bench)
        with refusing("layout", "/layout"):
            rules = rules_of(body, limits, wells, seed, items)
        nominal = nominal_doses(self.dispensing.of_campaign(batch.campaign_id))
        errors = miscounted(body, limits, items, bench.names)
        sample = informed(self.unit, sample, items, body, bench.names, errors)
        blocks = blocks_of(items, sample, bench, nominal, errors)
        with refusing("reference_pair", "/reference_pair", bench.names):
            made_of = controls_of(controls.positive, controls.reference, bench, errors)
        made = Draft(errors=errors)
        if not errors:
            made = draft(blocks, made_of, rules, bench, asked.fraction, prefix, body.vehicle)
        errors = made.errors + self._taken(made.plates, prefix)
        settings = _settings(asked, rules, made_of, sample, bench, made)
        layout = PlateLayout(
            id=identifier,
            campaign_id=batch.campaign_id,
            batch_id=batch.id,
            prefix=prefix,
            seed=seed,
            settings=settings,
        )
        if dry_run:
            return self._describe(layout, made.plates, [], errors)
        refuse(errors)
        rows = self._store(layout, made)
        emit(self.session, "batch.changed", batch, status=batch.status)
        return self._describe(layout, made.plates, rows, [])

    def cancel(self, batch: Batch, body: CancellationIn) -> LayoutOut:
        """Call the plates of a batch off. Their barcodes are never used again."""
        campaign = self.campaigns.campaigns.hold(batch.campaign_id)
        self.campaigns.require_not_closed(campaign)
        layout = self.issued(batch)
        rows = self.plates.of_layout(layout.id)
        measured = [row.barcode for row in rows if row.status == "measured"]
        if measured:
            raise Conflict(f"Plate {measured[0]} was measured; plates with results stay.")
        give_reason(self.session, body.reason)
        layout.status = "cancelled"
        for row in rows:
            row.status, row.changed_at = "cancelled", utcnow()
        self.session.flush()
        emit(self.session, "batch.changed", batch, status=batch.status)
        return self._describe(layout, [map_of(row) for row in rows], rows, [])

    def issued(self, batch: Batch) -> PlateLayout:
        """The layout of a batch that is not cancelled."""
        layout = self.layouts.issued(batch.id)
        if layout is None:
            raise NotFound(
                "This batch is on no plates yet. Lay it out with "
                f"POST /v1/batches/{batch.id}/plates."
            )
        return layout

    def describe(self, layout: PlateLayout) -> LayoutOut:
        """A layout with its plates as they are now."""
        rows = self.plates.of_layout(layout.id)
        return self._describe(layout, [map_of(row) for row in rows], rows, [])

    def plan(self, layout: PlateLayout) -> TransferPlan:
        """Plates and transfers as they were issued."""
        return TransferPlan.from_dict(json.loads(self.unit.parts.artifacts.get(layout.plan)))

    def _require_free(self, batch: Batch, dry_run: bool) -> None:
        campaign = self.campaigns.campaigns.get(batch.campaign_id)
        if not dry_run:
            campaign = self.campaigns.campaigns.hold(batch.campaign_id)
            self.session.refresh(batch)
        self.campaigns.require_not_closed(campaign)
        if batch.status not in ("accepted", "running"):
            raise Conflict(f"The batch is {batch.status}; only one that goes on is put on plates.")
        layout = self.layouts.issued(batch.id)
        if layout is not None:
            raise Conflict(
                "This batch is on plates already. Cancel them first with "
                f"POST /v1/batches/{batch.id}/plates/cancellation; their barcodes are not used "
                "again."
            )

    def _asked(self, batch: Batch, body: PlatesIn) -> DispensingIn:
        """How doses are made: as the campaign's doses were snapped, but for what is said now."""
        row = self.dispensing.of_campaign(batch.campaign_id)
        known: dict[str, Any] = {} if row is None else dict(row.settings)
        for name in ("destination", "dispenser", "tolerance", "fraction"):
            if getattr(body, name) is not None:
                known[name] = getattr(body, name)
        missing = [name for name in ("destination", "dispenser") if name not in known]
        if missing:
            message = (
                f"Name the {missing[0]}, one of GET /v1/labware; the campaign's doses were never "
                "snapped, so that it is not known from there."
            )
            error = FieldError(code="missing", message=message, pointer=f"/{missing[0]}")
            raise Invalid(message, errors=[error])
        return DispensingIn.model_validate(known)

    def _bench(
        self,
        asked: DispensingIn,
        items: Sequence[BatchItem],
        others: Sequence[str],
        *,
        dry_run: bool,
    ) -> Bench:
        if not dry_run:
            self.tables.hold_stocks()
        labware, stocks = self.tables.labware(), self.tables.stocks()
        pairs = [(item.compound_a_id, item.compound_b_id) for item in items]
        names = compound_names(self.unit, [*others, *(name for pair in pairs for name in pair)])
        names |= line_names(self.unit, (item.cell_line_id for item in items))
        for item in items:
            a, b = names[item.compound_a_id], names[item.compound_b_id]
            names[item.id] = f"{item.position} ({a} + {b} in {names[item.cell_line_id]})"
        snapper = Snapper.of(labware, asked, {}, names)
        reachable = usable_stocks(stocks, snapper.dispenser)
        snapper = Snapper.of(labware, asked, reachable, names)
        return Bench(labware, stocks, snapper, names, self._held())

    def _held(self) -> Held:
        """What the plates of the workspace hold of its stocks."""
        held, given = Held(), self.tables.stocks_given_at()
        if given is None:
            return held
        reported = self.reports.last_by_layout()
        open_: dict[str, set[str]] = {}
        for layout_id, barcode, status, changed_at in self.plates.on_layouts():
            done = reported.get(layout_id) or (changed_at if status == "measured" else None)
            if done is None or done > given:
                open_.setdefault(layout_id, set()).add(barcode)
        for layout_id, barcodes in open_.items():
            plan = self.plan(self.layouts.get(layout_id))
            if plan.transfers:
                held.add_transfers(plan.transfers, barcodes)
            else:
                held.add_plates(plan.plates, barcodes)
        return held

    def _taken(self, plates: Sequence[PlateMap], prefix: str) -> list[FieldError]:
        taken = self.plates.taken(plate.barcode for plate in plates)
        if not taken:
            return []
        message = (
            f"There is a plate {min(taken)} already, so that the prefix {prefix!r} is used up. "
            "Take another one, or none."
        )
        return [FieldError(code="barcode_prefix", message=message, pointer="/barcode_prefix")]

    def _store(self, layout: PlateLayout, made: Draft) -> list[Plate]:
        actor = self.unit.principal.actor
        plan = dump_json(made.plan.to_dict()).encode()
        layout.plan, layout.created_by = self.unit.parts.artifacts.put(plan, "json"), actor
        self.layouts.add(layout)
        self.session.flush()
        rows = []
        for plate in made.plates:
            row = plate_row(plate, layout.campaign_id, actor)
            row.origin, row.layout_id, row.batch_id = "issued", layout.id, layout.batch_id
            rows.append(self.plates.add(row))
        self.session.flush()
        return rows

    def _describe(
        self,
        layout: PlateLayout,
        maps: Sequence[PlateMap],
        rows: Sequence[Plate],
        errors: list[FieldError],
    ) -> LayoutOut:
        settings, stored = layout.settings, bool(rows)
        reports = self.reports.of_layout(layout.id) if stored else []
        return LayoutOut(
            id=layout.id if stored else None,
            batch_id=layout.batch_id,
            status=layout.status if stored else None,
            barcode_prefix=layout.prefix if stored else None,
            seed=layout.seed,
            format=settings["rules"]["wells"],
            destination=settings["dispensing"]["destination"],
            dispenser=settings["dispensing"]["dispenser"],
            block_shape=settings["block_shape"],
            block_wells=settings.get("block_wells"),
            surface_fit_id=settings.get("surface_fit_id"),
            replicates=settings["replicates"],
            settings=DispensingIn.model_validate(settings["dispensing"]),
            plates=[_plate_out(each, row) for each, row in _paired(maps, rows)],
            stocks=[StockNeedOut.model_validate(each) for each in settings["needs"]],
            conflicts=errors,
            reports=[TransferReportOut.model_validate(each) for each in reports],
        )


class _Controls:
    """The controls of a request, compounds by id."""

    def __init__(
        self, positive: tuple[str, float] | None, reference: list[tuple[str, float]]
    ) -> None:
        self.positive, self.reference = positive, reference

    @property
    def compounds(self) -> list[str]:
        return [name for name, _ in ([self.positive] if self.positive else []) + self.reference]

    @classmethod
    def read(cls, body: PlatesIn, directory: NameDirectory) -> _Controls:
        errors: list[FieldError] = []

        def known(control: ControlIn, pointer: str) -> tuple[str, float]:
            pointer = f"{pointer}/compound"
            found = resolve_compound(directory, control.compound, pointer, errors, None)
            return found or "", control.dose_um

        positive = None
        if body.positive_control is not None:
            positive = known(body.positive_control, "/positive_control")
        reference = [
            known(each, f"/reference_pair/{row}")
            for row, each in enumerate(body.reference_pair or ())
        ]
        refuse(errors)
        return cls(positive, reference)


def machines_of(layout: PlateLayout) -> tuple[Dispenser, Destination]:
    """The dispenser and the plate as the labware table had them when the plates were issued."""
    labware = Labware.from_dict(layout.settings["labware"])
    named = layout.settings["dispensing"]
    return labware.dispenser(named["dispenser"]), labware.destination(named["destination"])


def _format(body: PlatesIn, bench: Bench) -> int:
    wells = bench.snapper.destination.wells
    if body.format is not None and body.format != wells:
        message = (
            f"{bench.snapper.destination.name!r} has {wells} wells, not {body.format}. Leave the "
            "format out, or name another destination."
        )
        error = FieldError(code="format", message=message, pointer="/format")
        raise Invalid(message, errors=[error])
    return wells


def _settings(
    asked: DispensingIn,
    rules: LayoutRules,
    controls: Controls,
    sample: Sample,
    bench: Bench,
    made: Draft,
) -> dict[str, Any]:
    """Everything that the plates follow from, as it was."""
    return {
        "dispensing": asked.model_dump(),
        "rules": rules.to_dict(),
        "controls": asdict(controls),
        "block_shape": sample.shape,
        "block_wells": sample.block_wells,
        "surface_fit_id": sample.surface_fit_id,
        "replicates": sample.replicates,
        "labware": bench.labware.to_dict(),
        "needs": [each.model_dump() for each in made.needs],
    }


def _paired(maps: Sequence[PlateMap], rows: Sequence[Plate]) -> list[tuple[PlateMap, Plate | None]]:
    by_barcode: Mapping[str, Plate] = {row.barcode: row for row in rows}
    return [(each, by_barcode.get(each.barcode)) for each in maps]


def _plate_out(plate: PlateMap, row: Plate | None) -> IssuedPlateOut:
    roles: dict[str, int] = {}
    for well in plate.used:
        roles[well.role.value] = roles.get(well.role.value, 0) + 1
    replicates = {well.replicate for well in plate.wells} - {None}
    return IssuedPlateOut.model_validate(
        {
            "id": row.id if row else None,
            "number": plate.number,
            "barcode": plate.barcode if row else None,
            "replicate": replicates.pop() if len(replicates) == 1 else None,
            "status": row.status if row else None,
            "cell_lines": list(plate.cell_lines),
            "n_wells": len(plate.used),
            "n_excluded": sum(well.excluded is not None for well in plate.wells),
            "roles": roles,
        }
    )
