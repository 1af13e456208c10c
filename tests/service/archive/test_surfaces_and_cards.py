"""Surfaces and scorecards of a campaign travel with it, and what they name."""

import json

import pytest

from service.kit.ids import new_id
from service.retention import tidy
from tests.contract.learned_seeds import surface_fit, triage_card, written_card
from tests.lab import column
from tests.service.archive.world import bring_in, export, parts_of, rows_of, small_world, tampered

KINDS = ["sqlite", "postgresql"]


@pytest.fixture
def world(lab):
    """A campaign with surfaces of one block and a card of one line."""
    campaign = small_world(lab)
    pair, line = campaign["compounds"][:2], campaign["cell_lines"][0]
    pair, line = [named(one) for one in pair], named(line)
    owned = {"workspace_id": lab.workspace_id, "campaign_id": campaign["id"]}
    card, scores = (
        lab.parts.artifacts.put(json.dumps(each).encode(), "json")
        for each in written_card(pair, line)
    )
    arrays = lab.parts.artifacts.put(b"of the wells", "safetensors")
    snapshot = lab.parts.artifacts.put(json.dumps({"arrays": arrays}).encode(), "json")
    with lab.parts.database.writing() as session:
        fit = surface_fit(owned, new_id("job"), lab.parts.artifacts, pair, line)
        made = triage_card(owned, new_id("job"), card, scores)
        fit.snapshot = made.snapshot = snapshot
        session.add_all([fit, made])
        session.flush()
        return campaign, fit.id, made.id


def named(row):
    return {"id": row["id"], "name": row["name"]}


def shown(lab, fit, card):
    """What a lab reads of them."""
    blocks = lab.ok(lab.get(f"/v1/surface-fits/{fit}/blocks?cell_line=X"))
    wells = lab.ok(lab.get(f"/v1/surface-fits/{fit}/next-wells?cell_line=X&compound=A&partner=B"))
    return blocks, wells, lab.ok(lab.get(f"/v1/triage-cards/{card}"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [True, False])
def test_they_come_back_the_same(lab, elsewhere, world, kind, weights):
    campaign, fit, card = world
    content = export(lab, campaign["id"], weights=weights)
    there = elsewhere(kind)
    brought = bring_in(there, content)
    assert brought["status"] == "succeeded", brought["problem"]
    assert parts_of(export(there, campaign["id"], weights=weights)) == parts_of(content)
    tidy(there.parts, unreferenced_s=0)
    assert shown(there, fit, card) == shown(lab, fit, card)
    withheld = {row["snapshot"] for row in rows_of(content, "surface_fit")} == {"withheld"}
    assert withheld is not weights


def test_a_copy_names_the_compounds_of_there(lab, other_lab, world):
    """The surfaces of a copy, which an index names, have the ids of the copy."""
    campaign, fit, card = world
    brought = bring_in(other_lab, export(lab, campaign["id"]))
    assert brought["status"] == "succeeded", brought["problem"]
    (copied,) = other_lab.every(f"/v1/campaigns/{brought['campaign_id']}/surfaces")
    (again,) = other_lab.every(f"/v1/campaigns/{brought['campaign_id']}/triage")
    assert copied["id"] != fit
    theirs, wells, _ = shown(other_lab, copied["id"], again["id"])
    ours, _, _ = shown(lab, fit, card)
    their_pair, our_pair = (found["items"][0]["compounds"] for found in (theirs, ours))
    assert column(their_pair, "name") == column(our_pair, "name")
    known = other_lab.ok(other_lab.get(f"/v1/campaigns/{brought['campaign_id']}"))["compounds"]
    assert column(their_pair, "id") == column(known, "id")[:2] != column(our_pair, "id")
    assert wells["surface_fit_id"] == copied["id"]


def test_surfaces_that_are_not_in_it_are_missed(lab, elsewhere, world):
    content = export(lab, world[0]["id"])
    (row,) = rows_of(content, "surface_fit")

    def lose(files):
        (line,) = json.loads(files[f"files/{row['surfaces']}"])
        del files[f"files/{line['blocks']}"]
        manifest = json.loads(files["manifest.json"])
        del manifest["files"][f"files/{line['blocks']}"]
        files["manifest.json"] = json.dumps(manifest).encode()

    failed = bring_in(elsewhere("sqlite"), tampered(content, lose, honest=True))
    assert failed["status"] == "failed"
    assert "files that are not in the archive" in failed["problem"]["detail"]


def test_archives_from_before_have_none(lab, elsewhere, world):
    content = export(lab, world[0]["id"])

    def age(files):
        manifest = json.loads(files["manifest.json"])
        for name in ("surface_fit", "triage_card"):
            del files[f"tables/{name}.ndjson"]
            del manifest["files"][f"tables/{name}.ndjson"]
            del manifest["rows"][name], manifest["columns"][name]
        files["manifest.json"] = json.dumps(manifest).encode()

    there = elsewhere("sqlite")
    brought = bring_in(there, tampered(content, age, honest=True))
    assert brought["status"] == "succeeded", brought["problem"]
    assert there.every(f"/v1/campaigns/{brought['campaign_id']}/surfaces") == []
