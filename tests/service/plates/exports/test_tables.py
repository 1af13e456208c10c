"""Pick list, worklist, plate tables, SynergyFinder: read back by csv alone, and never a formula."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace

import pytest

from service.plates.exports.echo import COLUMNS, echo_pick_list
from service.plates.exports.plate_csv import grid_csv, long_csv
from service.plates.exports.synergyfinder import FinishedBlock, Reading, synergyfinder_csv
from service.plates.exports.worklist import worklist_csv
from service.plates.geometry import parse_well, well_name
from service.plates.labware import DEFAULT_LABWARE
from service.plates.plate_map import Role
from service.plates.problems import PlateError
from tests.service.plates.bench import ECHO, NAMES, PLATE_384, block, plan

MADE = plan(block(replicates=2))
EVIL = '=HYPERLINK("http://x")'


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_pick_list_is_the_plan() -> None:
    text = echo_pick_list(MADE.transfers, PLATE_384, ECHO, {NAMES[0]: "MLN-8237, the drug"})
    rows = table(text)
    assert tuple(rows[0]) == COLUMNS
    assert text.splitlines()[0] == (
        "Source Plate Name,Source Plate Barcode,Source Plate Type,Source Well,Sample ID,"
        "Sample Name,Destination Plate Name,Destination Plate Barcode,Destination Plate Type,"
        "Destination Well,Transfer Volume"
    )
    assert len(rows) == len(MADE.transfers)
    for row, each in zip(rows, MADE.transfers, strict=True):
        assert float(row["Transfer Volume"]) == each.volume_nl
        assert float(row["Transfer Volume"]) % 2.5 == 0
        assert parse_well(row["Source Well"]) == each.source_well
        assert row["Destination Well"] == well_name(*each.destination_well)
        assert row["Destination Well"][1] != "0"  # A1, never A01
        assert row["Source Plate Type"] == "384PP_DMSO2"
        assert (row["Sample ID"], row["Destination Plate Barcode"]) == (
            each.compound,
            each.destination,
        )
    assert {row["Sample Name"] for row in rows if row["Sample ID"] == NAMES[0]} == {
        "MLN-8237, the drug"
    }
    assert ",100\r\n" in text  # never 100.0


def test_the_pick_list_refuses_what_the_echo_cannot_do() -> None:
    with pytest.raises(PlateError, match=r"no whole number of drops of 25 nL"):
        echo_pick_list(MADE.transfers, PLATE_384, DEFAULT_LABWARE.dispenser("Echo 525"))
    big = replace(MADE.transfers[0], volume_nl=20_000)
    with pytest.raises(PlateError, match=r"20000 nL in one transfer; Echo 650 gives up to 10000"):
        echo_pick_list([big], PLATE_384, ECHO)


@pytest.mark.parametrize(("unit", "scale"), [("uL", 1000), ("nL", 1)])
def test_the_worklist_is_the_plan(unit: str, scale: int) -> None:
    rows = table(worklist_csv(MADE.transfers, unit, padded=True))
    assert [int(row["step"]) for row in rows] == list(range(1, len(MADE.transfers) + 1))
    for row, each in zip(rows, MADE.transfers, strict=True):
        assert float(row[f"volume_{unit}"]) * scale == pytest.approx(each.volume_nl)
        assert row["destination_well"] == well_name(*each.destination_well, padded=True)
        assert (row["source_labware"], row["compound"]) == (each.source_plate, each.compound)
    with pytest.raises(PlateError, match="none of uL, nL"):
        worklist_csv(MADE.transfers, "mL")


def test_the_long_table_has_both_doses() -> None:
    rows = table(long_csv(MADE.plates))
    wells = {(p.barcode, w.at): w for p in MADE.plates for w in p.used}
    assert len(rows) == len(wells)
    for row in rows:
        well = wells.pop((row["barcode"], parse_well(row["well"])))
        assert (row["role"], row["block"]) == (str(well.role), well.block or "")
        for place, each in enumerate(well.contents, start=1):
            assert row[f"compound_{place}"] == each.compound
            assert float(row[f"nominal_um_{place}"]) == each.nominal_um
            assert float(row[f"real_um_{place}"]) == each.real_um
        assert float(row["vehicle_nl"]) == well.vehicle_nl
    assert len(table(long_csv(MADE.plates, with_empty=True))) == 2 * 384
    assert rows[0]["well"] == f"{rows[0]['row']}{int(rows[0]['column']):02d}"


def test_the_grid_looks_like_the_plate() -> None:
    (plate, _) = MADE.plates
    for show, of in (("role", lambda w: str(w.role)), ("block", lambda w: w.block or "")):
        lines = list(csv.reader(io.StringIO(grid_csv(plate, show))))
        assert lines[0] == [plate.barcode, *map(str, range(1, 25))]
        assert [line[0] for line in lines[1:]] == list("ABCDEFGHIJKLMNOP")
        for well in plate.wells:
            row, column = well.at
            shown = "" if well.role is Role.EMPTY else of(well)
            assert lines[row + 1][column + 1] == shown
    assert "Alisertib 10 uM + Bortezomib 10 uM" in grid_csv(plate)
    with pytest.raises(PlateError, match="a grid shows one of"):
        grid_csv(plate, "smell")


def test_no_cell_is_a_formula() -> None:
    names = {NAMES[0]: EVIL}
    for text in (
        echo_pick_list(MADE.transfers, PLATE_384, ECHO, names),
        worklist_csv(MADE.transfers, names=names),
        long_csv(MADE.plates, names),
        grid_csv(MADE.plates[0], "contents", names),
    ):
        cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
        assert any("HYPERLINK" in cell for cell in cells)
        assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells)


def finished(missing: tuple[float, float] | None = None) -> FinishedBlock:
    readings = [
        Reading(row, column, 100 - row - 2 * column)
        for row in (0.0, 1.0, 10.0)
        for column in (0.0, 0.5)
        for _ in range(2)
        if (row, column) != missing
    ]
    return FinishedBlock("b1", "Alisertib", "=1+1", "A375", tuple(readings))


def test_the_synergyfinder_table() -> None:
    rows = table(synergyfinder_csv([finished(), finished()]))
    assert len(rows) == 24
    assert Counter(row["block_id"] for row in rows) == {"1": 12, "2": 12}
    first = rows[0]
    assert (first["conc_r"], first["conc_c"], first["response"]) == ("0.0", "0.0", "100.0")
    assert (first["drug_row"], first["drug_col"]) == ("Alisertib", "'=1+1")
    assert (first["conc_r_unit"], first["cell_line_name"]) == ("uM", "A375")


@pytest.mark.parametrize("missing", [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5), (10.0, 0.5)])
def test_an_unfinished_block_is_refused(missing: tuple[float, float]) -> None:
    words = f"lacks 1 of its wells, the first at {missing[0]:g} uM Alisertib"
    with pytest.raises(PlateError, match=words):
        finished(missing)


@pytest.mark.parametrize("reading", [(-1, 0, 50), (0, float("nan"), 50), (0, 0, float("nan"))])
def test_readings_that_cannot_be(reading) -> None:
    with pytest.raises(PlateError, match="block b"):
        FinishedBlock("b", "x", "y", "l", (Reading(*reading),))
