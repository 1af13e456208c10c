"""GET /v1/campaigns/{id}/export/synergyfinder: measured blocks as SynergyFinder reads them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.lab import Lab
from tests.service.batches.plates_bench import table, text
from tests.service.learning.bench import FIRST, open_campaign, start_campaign


def path(campaign: dict[str, Any]) -> str:
    return f"/v1/campaigns/{campaign['id']}/export/synergyfinder"


def test_whole_blocks_with_their_single_agents_and_vehicle(lab: Lab) -> None:
    campaign = start_campaign(lab)
    rows = table(text(lab, path(campaign)))
    blocks: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        blocks.setdefault(row["block_id"], []).append(row)
    assert len(blocks) == len(FIRST)
    found = {(b[0]["drug_row"], b[0]["drug_col"], b[0]["cell_line_name"]) for b in blocks.values()}
    assert found == {(*pair, line) for pair, line in FIRST}
    measured = {
        tuple(sorted((each["compound"], each["dose_um"]) for each in well["doses"])): well
        for well in lab.wells(campaign["id"])
        if well["cell_line"] == campaign["cell_lines"][0]["id"]
    }
    ids = {row["name"]: row["id"] for row in campaign["compounds"]}
    for wells in blocks.values():
        doses = {(float(row["conc_r"]), float(row["conc_c"])) for row in wells}
        assert doses == set(product((0.0, 0.3, 3.0), repeat=2))
        for row in wells:
            if row["cell_line_name"] != "X":
                continue
            pair = (("drug_row", "conc_r"), ("drug_col", "conc_c"))
            asked = [(ids[row[drug]], float(row[dose])) for drug, dose in pair]
            key = tuple(sorted((drug, dose) for drug, dose in asked if dose > 0))
            viability = measured[key]["viability"] if key else 1.0
            assert float(row["response"]) == pytest.approx(100 * viability)


def test_blocks_that_lack_wells(lab: Lab) -> None:
    campaign = open_campaign(lab)
    single = [f"X,{name},{dose},,,0.9" for name in "AB" for dose in (0.3, 3.0)]
    pairs = [f"X,A,{a},B,{b},0.5" for a in (0.3, 3.0) for b in (0.3, 3.0)]
    lab.measure(campaign["id"], *single, *pairs, "X,A,0.3,C,3.0,0.4")
    problem = lab.refused(lab.get(path(campaign)), 409)
    assert "1 of 2 measured blocks lack wells" in problem["detail"]
    assert "Block A + C in X lacks" in problem["detail"]
    assert "leave_out" in problem["detail"]
    rows = table(text(lab, path(campaign), incomplete="leave_out"))
    assert {row["drug_col"] for row in rows} == {"B"}
    assert len(rows) == 9


def test_where_no_pair_was_measured_or_none_is_whole(lab: Lab) -> None:
    campaign = open_campaign(lab)
    assert "No pair was measured" in lab.refused(lab.get(path(campaign)), 409)["detail"]
    lab.measure(campaign["id"], "X,A,0.3,C,3.0,0.4")
    problem = lab.refused(lab.get(path(campaign), params={"incomplete": "leave_out"}), 409)
    assert "No block is complete" in problem["detail"]
