"""A laboratory that knows only files: pick lists and plate maps out, reports and readings in."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.quality.simulate import ReaderModel
from service.client import Nextround
from tests.service.loop.dispenser import ModelDispenser, Place, Stock
from tests.service.loop.reader import GOOD, PlateFile, PlateWell, read_plate, viability

ASSAY_NL = 50_000.0
DESTINATION = {"destination": "384-well 50 uL", "dispenser": "Echo 650", "fraction": 0.004}
KILLER = "Killer"
COUNTED = frozenset({"sample", "single", "vehicle"})
_TOP_NL = 80.0
_MM = 1000.0  # uM


@dataclass(frozen=True)
class World:
    """The truth, and the stocks that stand in the lab's freezer."""

    truth: SimulatedScreen
    stocks: dict[Place, Stock]

    @classmethod
    def of(cls, seed: int) -> World:
        """Eight compounds, two cell lines, four doses."""
        truth = simulate_screen(8, 2, 4, 0.05, seed)
        stocks: dict[Place, Stock] = {}
        for row, name in enumerate(truth.compounds.ids):
            top = truth.doses_um[row, -1] * (ASSAY_NL + 200) / _TOP_NL / _MM
            for level, share in enumerate((1.0, 0.1), start=1):
                well = f"{'ABCDEFGH'[row]}{level}"
                stocks["SRC1", well] = Stock(name, float(f"{top * share:.4g}"))
        stocks["SRC1", "I1"] = Stock(KILLER, 10.0)
        for place in range(1, 25):
            stocks["SRC1", f"P{place}"] = Stock("DMSO", 0.0)
        return cls(truth, stocks)

    def enter(self, lab: Nextround) -> dict[str, Any]:
        """Everything that a person types in once; returns the campaign."""
        truth = self.truth
        pairs = zip(truth.compounds.ids, truth.smiles, strict=True)
        compounds = [{"name": name, "smiles": smiles} for name, smiles in pairs]
        lab.register_compounds([*compounds, {"name": KILLER}])
        lab.register_cell_lines([{"name": name} for name in truth.cell_lines.ids])
        labware = lab.get_labware()
        version = labware.pop("version")
        lab.edit_labware(labware, version)
        lab.edit_stocks(
            [
                {"compound": each.compound, "mm": each.mm, "volume_nl": 60_000.0,
                 "plate": plate, "plate_type": "384PP_DMSO2", "well": well}
                for (plate, well), each in self.stocks.items()
            ],
            0,
        )  # fmt: skip
        doses = zip(truth.compounds.ids, truth.doses_um.tolist(), strict=True)
        campaign = lab.create_campaign(
            {
                "name": "By files",
                "compounds": [{"compound": name, "doses_um": listed} for name, listed in doses],
                "cell_lines": list(truth.cell_lines.ids),
                "limits": LIMITS,
                "learning": {"model": "gp_pairs"},
            }
        )
        lab.snap_doses_of_campaign(campaign["id"], DESTINATION, campaign["version"])
        return lab.get_campaign(campaign["id"])

    def snapped(self, campaign: dict[str, Any]) -> SimulatedScreen:
        """The truth at the doses that the campaign really has."""
        doses = {row["name"]: row["doses_um"] for row in campaign["compounds"]}
        table = np.array([doses[name] for name in self.truth.compounds.ids])
        return replace(self.truth, doses_um=table)


LIMITS = {
    "plates": 2, "blocks_per_plate": 4, "compounds_per_plate": 6, "lines_per_plate": 1,
    "controls_per_plate": 30, "wells_per_plate": 384, "block_shape": "matrix", "block_doses": 4,
    "replicates": 2, "single_agents": "per_plate",
}  # fmt: skip


class Bench:
    """Dispenser and reader, and the lab's own books of what they did."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.dispenser = ModelDispenser(world.stocks, seed)
        self.wells: dict[str, list[PlateWell]] = {}
        """Every issued plate, by barcode, as its map said."""
        self.read: dict[str, PlateFile] = {}
        """The last reading of every plate."""
        self._runs = 0

    def layout(self, campaign: dict[str, Any], number: int) -> dict[str, Any]:
        """What a person asks for when a batch is put on plates."""
        doses = {row["name"]: row["doses_um"] for row in campaign["compounds"]}
        first, second = sorted(doses)[:2]
        return {
            "seed": 100 * self.seed + number,
            "positive_control": {"compound": KILLER, "dose_um": 20.0},
            "reference_pair": [
                {"compound": first, "dose_um": doses[first][2]},
                {"compound": second, "dose_um": doses[second][2]},
            ],
            "layout": {"vehicle": 16, "positive": 8, "blank": 4, "reference": 2},
        }

    def take_maps(self, table: bytes) -> list[str]:
        """Note what the issued plates are; returns their barcodes."""
        rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"), newline="")))
        fresh: dict[str, list[PlateWell]] = {}
        for row in rows:
            name = f"{row['row']}{row['column']}"
            well = PlateWell(row["barcode"], name, row["role"], row["cell_line"] or None)
            fresh.setdefault(row["barcode"], []).append(well)
        assert not set(fresh) & set(self.wells)
        self.wells |= fresh
        return list(fresh)

    def dispense(self, pick_list: bytes) -> bytes:
        """Make the plates of a pick list; returns the machine's report."""
        self._runs += 1
        return self.dispenser.run(pick_list, str(self._runs))

    def measure(self, barcode: str, model: ReaderModel = GOOD) -> PlateFile:
        """Read a plate and keep what was written."""
        wells = self.wells[barcode]
        truths = {well.name: self.true_viability(well) for well in wells}
        found = read_plate(wells, truths, model, self.seed + len(self.read) + 1)
        self.read[barcode] = found
        return found

    def true_viability(self, well: PlateWell) -> float:
        """By what really fell; a well without cells shows nothing."""
        if well.line is None or well.role == "blank":
            return 0.0
        place = well.barcode, well.name
        doses = self.dispenser.concentrations(place, ASSAY_NL, real=True)
        return viability(self.world.truth, well.line, doses)

    def to_be_counted(self, barcodes: Sequence[str] | None = None) -> dict[Place, PlateWell]:
        """Every issued well that must be a measurement: nothing meant for it failed."""
        wells = [w for code in barcodes or self.wells for w in self.wells[code]]
        return {
            (well.barcode, well.name): well
            for well in wells
            if well.role in COUNTED and not self.dispenser.failed((well.barcode, well.name))
        }

    def doses(self, place: Place) -> dict[str, float]:
        """What a well holds by the drops that the machine counted, in uM."""
        return self.dispenser.concentrations(place, ASSAY_NL, real=False)
