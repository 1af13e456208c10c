"""Through files only: our pick list to a model Echo that fails at times, its report back to us."""

from __future__ import annotations

import csv
import io
from collections import defaultdict

import pytest

from service.plates.echo_report import read_echo_report
from service.plates.exports.echo import echo_pick_list
from service.plates.geometry import parse_well
from service.plates.layout_rules import LayoutRules
from service.plates.placing import fraction
from service.plates.reconcile import apply_report
from service.plates.transfers import TransferPlan
from tests.service.plates.bench import ECHO, NAMES, PLATE_384, block, plan

COLUMNS = "Actual Volume", "Current Fluid Volume", "Transfer Status"


def model_echo(pick_list: str, seed: int) -> tuple[bytes, dict]:
    """Dispenses whole drops; 3 % of transfers fail, 3 % stop half-way. Gives its report, and by
    plate, well and sample the volume that is really there."""
    rows = list(csv.reader(io.StringIO(pick_list, newline="")))
    header, there = rows[0], defaultdict(float)
    tables: dict[str, list[list[str]]] = {"[EXCEPTIONS]": [], "[DETAILS]": []}
    for number, row in enumerate(rows[1:]):
        cells = dict(zip(header, row, strict=True))
        luck, asked = fraction(seed, number), float(cells["Transfer Volume"])
        actual = 0.0 if luck < 0.03 else 2.5 * (asked // 5) if luck < 0.06 else asked
        status = "" if actual == asked else "MM0202001: fluid height below minimum"
        table = "[EXCEPTIONS]" if actual == 0 else "[DETAILS]"
        tables[table].append([*row, f"{actual:g}", "40.1", status])
        place = cells["Destination Plate Barcode"], parse_well(cells["Destination Well"])
        there[place, cells["Sample ID"]] += actual
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([["Run ID", "42"], ["Application Name", "Echo Cherry Pick"], []])
    for name, lines in tables.items():
        writer.writerows([[name], [*header, *COLUMNS], *lines, []])
    writer.writerows([["Instrument Model", "Echo 650"]])
    return out.getvalue().encode(), there


@pytest.fixture(scope="module")
def made() -> TransferPlan:
    blocks = [block(replicates=2), block("b2", NAMES[2], NAMES[3], replicates=2)]
    return plan(*blocks, rules=LayoutRules(blank=2))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_plates_come_back_as_the_echo_made_them(made: TransferPlan, seed: int) -> None:
    report, there = model_echo(echo_pick_list(made.transfers, PLATE_384, ECHO), seed)
    applied = apply_report(made, read_echo_report(report))
    noted = {(note.barcode, note.well) for note in applied.notes}
    assert noted
    for plan_plate, plate in zip(made.plates, applied.plates, strict=True):
        for before, after in zip(plan_plate.wells, plate.wells, strict=True):
            if (plate.barcode, before.name) not in noted:
                assert after == before
            real = {each.compound: each.volume_nl for each in after.contents}
            planned = [each.compound for each in before.contents]
            planned += ["DMSO"] if before.vehicle_nl else []
            truth = {name: there[(plate.barcode, before.at), name] for name in planned}
            assert real | ({"DMSO": after.vehicle_nl} if before.vehicle_nl else {}) == truth
            assert (after.excluded is not None) == any(each == 0 for each in truth.values())
            total = sum(truth.values())
            for each in after.contents:
                dose = each.stock_mm * 1000 * truth[each.compound] / (50_000 + total)
                assert each.real_um == pytest.approx(dose, rel=1e-12)
