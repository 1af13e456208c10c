"""Informed blocks: surfaces say which wells of a block are dispensed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from service.kit.database import dump_json
from service.kit.ids import new_id
from tests.contract.learned_seeds import surface_fit
from tests.lab import Lab, codes
from tests.service.batches.plates_bench import a_batch, give_stocks, lay_out
from tests.service.learning.bench import DOSES, measure, open_campaign, singles
from tests.service.surfaces.test_surfaces import fitted

FIRST = [(0.3, 3.0), (3.0, 3.0), (0.3, 0.3)]
"""Dose pairs that teach most of A with B, in this order."""


def surfaces(lab: Lab, batch: dict[str, Any], wells: Any, *, turned: bool = False) -> str:
    """A fit that knows these wells of every block of the batch; returns its id."""
    store = lab.parts.artifacts
    lines: dict[str, list[dict[str, Any]]] = {}
    for item in batch["items"]:
        pair = item["compounds"][:: -1 if turned else 1]
        named = [{"id": one["id"], "name": one["name"]} for one in pair]
        both = [{"doses_um": list(at[:: -1 if turned else 1])} for at in wells]
        block = {"compounds": named, "doses_um": [list(DOSES)] * 2, "next_wells": both}
        lines.setdefault(item["cell_line"]["id"], []).append(block)

    def kept(document: Any) -> str:
        return store.put(dump_json(document).encode(), "json")

    listed = [{"id": i, "name": i, "blocks": kept(lines[i])} for i in lines]
    owned = {"workspace_id": lab.workspace_id, "campaign_id": batch["campaign_id"]}
    with lab.parts.database.writing() as session:
        fit = surface_fit(owned, new_id("job"), store, [], {"id": "cel_1", "name": "X"})
        fit.surfaces = kept(listed)
        session.add(fit)
        return fit.id


def dispensed(lab: Lab, layout: dict[str, Any]) -> dict[str, set[tuple[float, ...]]]:
    """By block, the nominal doses of its wells, compounds in the order of their names."""
    found: dict[str, set[tuple[float, ...]]] = {}
    for plate in layout["plates"]:
        for well in lab.ok(lab.get(f"/v1/plates/{plate['id']}"))["wells"]:
            if well["role"] == "sample":
                doses = {c["compound"]: c["nominal_um"] for c in well["contents"]}
                at = tuple(doses[name] for name in sorted(doses))
                found.setdefault(well["block"], set()).add(at)
    return found


@pytest.fixture
def batch(lab: Lab) -> dict[str, Any]:
    made = a_batch(lab)
    give_stocks(lab)
    return made


@pytest.mark.parametrize("turned", [False, True])
def test_the_wells_that_teach_most_are_dispensed(
    lab: Lab, batch: dict[str, Any], turned: bool
) -> None:
    """Whichever compound the surfaces name first."""
    surfaces(lab, batch, [(3.0, 0.3)])
    fit = surfaces(lab, batch, FIRST, turned=turned)
    layout = lab.ok(lay_out(lab, batch, block_shape="informed", block_wells=2))
    shape = (layout["block_shape"], layout["block_wells"], layout["surface_fit_id"])
    assert shape == ("informed", 2, fit), "the newest fit informs"
    assert dispensed(lab, layout) == {item["id"]: set(FIRST[:2]) for item in batch["items"]}
    assert lab.ok(lab.get(f"/v1/batches/{batch['id']}/plates")) == layout


def test_an_older_fit_and_fewer_wells_than_asked(lab: Lab, batch: dict[str, Any]) -> None:
    fit = surfaces(lab, batch, FIRST[:1])
    surfaces(lab, batch, FIRST)
    asked = {"block_shape": "informed", "block_wells": 4, "surface_fit_id": fit}
    layout = lab.ok(lay_out(lab, batch, **asked))
    assert layout["surface_fit_id"] == fit
    assert all(found == {FIRST[0]} for found in dispensed(lab, layout).values())


def test_limits_of_the_campaign_ask_for_it(lab: Lab) -> None:
    """Its plates are counted with so many wells a block."""
    limits = {"batch_size": 3, "block_shape": "informed", "block_doses": 2, "block_wells": 3}
    campaign = open_campaign(lab, limits={**limits, "wells_per_plate": 96})
    assert campaign["limits"]["block_wells"] == 3
    batch = a_batch(lab, limits=limits, opened=campaign)
    give_stocks(lab)
    surfaces(lab, batch, FIRST)
    layout = lab.ok(lay_out(lab, batch, replicates=2))
    assert Counter(map(len, dispensed(lab, layout).values())) == {3: 3}
    assert [plate["roles"]["sample"] for plate in layout["plates"]] == [9, 9]


class TestRefusals:
    def test_without_surfaces(self, lab: Lab, batch: dict[str, Any]) -> None:
        problem = lab.refused(lay_out(lab, batch, block_shape="informed", block_wells=2), 422)
        assert f"POST /v1/campaigns/{batch['campaign_id']}/surfaces" in problem["detail"]
        assert codes(problem) == [("surface", "/block_shape")]

    def test_blocks_that_it_does_not_know_are_named(self, lab: Lab, batch: dict[str, Any]) -> None:
        some = {**batch, "items": batch["items"][:1]}
        surfaces(lab, some, FIRST)
        response = lay_out(lab, batch, block_shape="informed", block_wells=2, dry_run=True)
        conflicts = lab.ok(response)["conflicts"]
        assert len(conflicts) == 2
        assert "no surface of block 2 (A + C in X) at these doses" in conflicts[0]["message"]
        lab.refused(lay_out(lab, batch, block_shape="informed", block_wells=2), 422)

    def test_a_block_that_is_measured(self, lab: Lab, batch: dict[str, Any]) -> None:
        surfaces(lab, batch, [])
        problem = lab.refused(lay_out(lab, batch, block_shape="informed", block_wells=2), 422)
        assert "Every well of block 1 (A + B in X)" in problem["detail"]

    @pytest.mark.parametrize(
        ("asked", "pointer", "words"),
        [
            ({"block_shape": "informed"}, "/block_wells", "Say how many wells"),
            ({"block_shape": "matrix", "block_wells": 2}, "/block_wells", "these are matrix ones"),
            ({"surface_fit_id": "sfc_" + "0" * 26}, "/surface_fit_id", "of informed blocks"),
            (
                {
                    "block_shape": "informed",
                    "block_wells": 2,
                    "surface_fit_id": "sfc_" + "0" * 26,
                },
                "/surface_fit_id",
                "no surface fit of this campaign",
            ),
        ],
    )
    def test_what_does_not_fit_together(
        self, lab: Lab, batch: dict[str, Any], asked: dict[str, Any], pointer: str, words: str
    ) -> None:
        problem = lab.refused(lay_out(lab, batch, **asked), 422)
        assert problem["errors"][0]["pointer"] == pointer
        assert words in problem["detail"]


def test_from_measured_blocks_to_the_plate(lab: Lab) -> None:
    """What a fit of this campaign says is what the plate holds."""
    campaign = open_campaign(lab)
    lab.measure(campaign["id"], *singles())
    pairs = ["AB", "AC", "AD", "BC", "BD", "CD", "AE"]
    measure(lab, campaign, [(tuple(pair), line) for pair in pairs for line in "XY"])
    fit = fitted(lab, campaign)
    batch = a_batch(lab, [("D", "E", "X"), ("B", "E", "Y")], opened=campaign)
    give_stocks(lab)
    layout = lab.ok(lay_out(lab, batch, block_shape="informed", block_wells=2))
    assert layout["surface_fit_id"] == fit["id"]
    found = dispensed(lab, layout)
    for item in batch["items"]:
        named = "&".join(
            f"{key}={one['name']}"
            for key, one in zip(("compound", "partner"), item["compounds"], strict=True)
        )
        line = item["cell_line"]["name"]
        path = f"/v1/surface-fits/{fit['id']}/next-wells?cell_line={line}&{named}"
        said = lab.ok(lab.get(f"{path}&block_shape=informed&count=2"))
        assert found[item["id"]] == {tuple(well["doses_um"]) for well in said["wells"]}
