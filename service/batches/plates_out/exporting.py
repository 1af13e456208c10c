"""What people and dispensers get of a batch's plates."""

from __future__ import annotations

from service.batches.plates_out.service import PlatesOutService, machines_of
from service.kit.problems import Conflict
from service.kit.unit import Unit
from service.plates.exports.d300 import write_d300
from service.plates.exports.echo import echo_pick_list
from service.plates.exports.worklist import worklist_csv
from service.plates.naming import names_on
from service.plates.problems import PlateError
from service.plates.refusing import sentence
from service.plates.service import PlateService


class BatchExports:
    """Exports of the plates of one batch that are not cancelled."""

    def __init__(self, unit: Unit, batch_id: str) -> None:
        self.unit = unit
        self.out = PlatesOutService(unit)
        self.layout = self.out.issued(self.out.batches.get(batch_id))
        self.dispenser, self.destination = machines_of(self.layout)

    def pick_list(self, format: str, volume_unit: str) -> str:
        """Every transfer, as it was planned."""
        if self.dispenser.cassettes:
            raise Conflict(
                f"{self.dispenser.name} takes its stocks from cassettes, not from source plates; "
                f"get /v1/batches/{self.layout.batch_id}/d300 instead."
            )
        plan = self.out.plan(self.layout)
        names = names_on(self.unit, plan.plates)
        if format == "worklist":
            return worklist_csv(plan.transfers, volume_unit, names=names)
        return echo_pick_list(plan.transfers, self.destination, self.dispenser, names)

    def d300(self) -> bytes:
        """The protocol of the plates as they were issued."""
        plan = self.out.plan(self.layout)
        names = names_on(self.unit, plan.plates)
        try:
            return write_d300(plan.plates, self.destination, self.dispenser, names)
        except PlateError as problem:
            raise Conflict(sentence(str(problem), names)) from None

    def maps(self) -> str:
        """A line a well of all plates, as they are now."""
        return PlateService(self.unit).map_csv(self.out.plates.of_layout(self.layout.id))

    def page(self) -> str:
        """A page a plate, as they are now."""
        return PlateService(self.unit).page(self.out.plates.of_layout(self.layout.id))
