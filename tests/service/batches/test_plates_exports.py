"""Pick lists, protocols, maps and pages of a batch's plates: the same plates in every form."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from service.plates.dispensing import real_dose
from service.plates.exports.d300 import read_d300
from service.plates.geometry import parse_well, well_name
from tests.lab import Lab
from tests.service.batches.plates_bench import (
    a_batch,
    cassettes,
    give_stocks,
    lay_out,
    put,
    stocks,
    table,
    text,
)
from tests.service.learning.bench import COMPOUNDS

Contents = dict[tuple[str, str], dict[str, float]]
"""(barcode, well) -> compound by name -> dose in uM."""


@pytest.fixture
def batch(lab: Lab) -> dict[str, Any]:
    made = a_batch(lab)
    give_stocks(lab)
    return made


def doses_on_maps(lab: Lab, batch: dict[str, Any]) -> Contents:
    found: Contents = {}
    for row in table(text(lab, f"/v1/batches/{batch['id']}/plates.csv")):
        at = (row["barcode"], well_name(*parse_well(row["well"])))
        pairs = ((row[f"compound_{i}"], row[f"real_um_{i}"]) for i in (1, 2))
        found[at] = {name: float(dose) for name, dose in pairs if name}
    return found


def test_the_pick_list_adds_up_to_the_doses_of_the_map(lab: Lab, batch: dict[str, Any]) -> None:
    lab.ok(lay_out(lab, batch, positive_control={"compound": "E", "dose_um": 20.0}, replicates=2))
    strength = {"1": 10.0, "2": 0.5}
    volumes: dict[tuple[str, str], list[tuple[str, float, float]]] = defaultdict(list)
    for row in table(text(lab, f"/v1/batches/{batch['id']}/picklist")):
        assert row["Destination Plate Type"] == "384-well 50 uL"
        assert float(row["Transfer Volume"]) % 2.5 == 0
        mm = 0.0 if row["Sample Name"] == "DMSO" else strength[row["Source Well"][1:]]
        at = (row["Destination Plate Barcode"], row["Destination Well"])
        volumes[at].append((row["Sample Name"], mm, float(row["Transfer Volume"])))
    maps = doses_on_maps(lab, batch)
    assert set(volumes) == set(maps)
    for at, got in volumes.items():
        total = sum(volume for _, _, volume in got)
        made = {name: real_dose(mm, v, 50_000, total) for name, mm, v in got if name != "DMSO"}
        assert made == pytest.approx(maps[at], rel=1e-9)


def test_a_worklist_moves_the_same_volumes(lab: Lab, batch: dict[str, Any]) -> None:
    lab.ok(lay_out(lab, batch))
    path = f"/v1/batches/{batch['id']}/picklist"
    echo, robot = table(text(lab, path)), table(text(lab, path, format="worklist"))
    assert len(echo) == len(robot)
    for one, other in zip(echo, robot, strict=True):
        assert float(one["Transfer Volume"]) == pytest.approx(1000 * float(other["volume_uL"]))
        assert one["Sample Name"] == other["compound_name"]
    nl = table(text(lab, path, format="worklist", volume_unit="nL"))
    assert [row["volume_nL"] for row in nl] == [row["Transfer Volume"] for row in echo]


def test_a_protocol_of_the_d300_reads_back_to_the_same_plate(lab: Lab) -> None:
    made = a_batch(lab)
    give_stocks(lab, cassettes(2e6))
    layout = lab.ok(lay_out(lab, made, dispenser="D300e T8+"))
    protocol = read_d300(text(lab, f"/v1/batches/{made['id']}/d300").encode())
    assert [plate.name for plate in protocol.plates] == [layout["plates"][0]["barcode"]]
    read = protocol.doses(0, {name: name for name in COMPOUNDS})
    maps = doses_on_maps(lab, made)
    filled = {well_name(*at): dict(doses) for at, doses in read.items()}
    for (_, well), doses in maps.items():
        if doses:
            assert filled[well] == doses
    problem = lab.refused(lab.get(f"/v1/batches/{made['id']}/picklist"), 409)
    assert "cassettes" in problem["detail"]


def test_cassettes_that_hold_too_little(lab: Lab) -> None:
    made = a_batch(lab)
    give_stocks(lab, cassettes(20.0))
    problem = lab.refused(lay_out(lab, made, dispenser="D300e T8+"), 422)
    assert {error["code"] for error in problem["errors"]} == {"stock"}
    assert re.match(r"A at 10 mM: the plates need [\d.]+ nL, and its stocks hold 20 nL",
                    problem["detail"])  # fmt: skip


def test_a_dispenser_sees_only_the_stocks_that_it_can_reach(
    lab: Lab, batch: dict[str, Any]
) -> None:
    problem = lab.refused(lay_out(lab, batch, dispenser="D300e T8+"), 422)
    assert problem["errors"][0]["message"] == (
        "A has no stock in cassettes for D300e T8+. Add one with PUT /v1/stocks."
    )


def test_a_page_and_grids_say_names(lab: Lab, batch: dict[str, Any]) -> None:
    (plate,) = lab.ok(lay_out(lab, batch))["plates"]
    for path in (f"/v1/batches/{batch['id']}/page", f"/v1/plates/{plate['id']}/page"):
        response = lab.get(path)
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert plate["barcode"] in response.text
        assert "cmp_" not in response.text
        assert "cel_" not in response.text
    grid = text(lab, f"/v1/plates/{plate['id']}/grid.csv")
    assert grid.startswith(plate["barcode"])
    assert "A 0.3 uM + B 3 uM" in grid
    lines = text(lab, f"/v1/plates/{plate['id']}/grid.csv", show="cell_line")
    assert set(lines.split("\r\n")[5].split(",")[1:]) <= {"X", ""}
    rows = table(text(lab, f"/v1/plates/{plate['id']}/map.csv"))
    assert rows == table(text(lab, f"/v1/batches/{batch['id']}/plates.csv"))
    assert {row["cell_line"] for row in rows} == {"X"}


def test_plates_keep_the_labware_they_were_made_with(lab: Lab, batch: dict[str, Any]) -> None:
    lab.ok(lay_out(lab, batch))
    path = f"/v1/batches/{batch['id']}/picklist"
    before = text(lab, path)
    labware = lab.ok(lab.get("/v1/labware"))
    del labware["version"]
    labware["dispensers"] = [{"name": "Pin tool", "drop_nl": 100.0, "max_transfer_nl": 100.0}]
    lab.ok(put(lab, "/v1/labware", labware, 0))
    give_stocks(lab, stocks()[:2])
    assert text(lab, path) == before


@pytest.mark.parametrize("path", ["picklist", "d300", "plates.csv", "page"])
def test_of_a_batch_that_is_on_no_plates(lab: Lab, batch: dict[str, Any], path: str) -> None:
    problem = lab.refused(lab.get(f"/v1/batches/{batch['id']}/{path}"), 404)
    assert f"POST /v1/batches/{batch['id']}/plates" in problem["detail"]
