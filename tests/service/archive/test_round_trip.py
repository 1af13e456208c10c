"""A campaign that went out and came back is the same campaign."""

import hashlib
import json
import os
import time

import pytest

from service.archive.content import PARTS
from service.retention import tidy
from tests.lab import column
from tests.service.archive.world import (
    bring_in,
    export,
    finish,
    full_world,
    parts_of,
    rows_of,
    send,
    small_world,
)
from tests.service.learning.bench import short_training

KINDS = ["sqlite", "postgresql"]


@pytest.fixture
def world(lab):
    return small_world(lab)


def recommended(lab, campaign_id):
    """What is recommended with one seed, by name and by number."""
    with short_training():
        found = lab.recommend(campaign_id, seed=7)
    return [
        (
            *(row[name] for name in ("rank", "in_batch", "mean")),
            row["cell_line"]["name"],
            *(compound["name"] for compound in row["compounds"]),
        )
        for row in found["candidates"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back_the_same(lab, elsewhere, kind):
    """From either database to either, and out again: equal to the last byte."""
    campaign = full_world(lab)
    content = export(lab, campaign["id"], weights=True)
    there = elsewhere(kind)
    brought = bring_in(there, content)
    assert brought["status"] == "succeeded", brought["problem"]
    assert brought["campaign_id"] == campaign["id"]
    again = export(there, campaign["id"], weights=True)
    assert parts_of(again) == parts_of(content)
    empty = {part.name for part in PARTS if not rows_of(content, part.name)}
    assert empty == {
        "campaign_pair",
        "campaign_dispensing",
        "campaign_source",
        "field_map",
        "replayed_campaign",
        "campaign_dataset",
        "dataset",
        "dataset_fit",
        "surface_fit",
        "triage_card",
    }
    for path in ("", "/measurements?versions=all", "/batches", "/marks"):
        url = f"/v1/campaigns/{campaign['id']}{path}"
        assert there.get(url).json() == lab.get(url).json()
    assert recommended(there, campaign["id"]) == recommended(lab, campaign["id"])


def test_two_exports_of_one_state_are_equal(lab, world):
    first, second = (export(lab, world["id"]) for _ in range(2))
    assert parts_of(first) == parts_of(second)
    made = lab.every("/v1/archives")
    assert len(made) == 2
    assert len(set(column(made, "content_sha256"))) == 1
    assert made[0]["sha256"] == hashlib.sha256(first).hexdigest()
    assert made[0]["n_bytes"] == len(first)


def test_what_is_in_it(lab, world):
    content = export(lab, world["id"])
    files = parts_of(content)
    for row in rows_of(content, "submission"):
        original = lab.get(f"/v1/submissions/{row['id']}/original").content
        assert files[f"files/{row['original']}"] == original
        assert hashlib.sha256(original).hexdigest() == row["sha256"]
    versions = lab.wells(world["id"], versions="all")
    written = rows_of(content, "measurement")
    assert sorted(column(versions, "id")) == sorted(column(written, "id"))
    assert {row["reason"] for row in written} == {None, "the edge dried"}
    assert column(rows_of(content, "cell_line_features"), "values") == [
        {"TP53": 0.1}, {"TP53": 1.1}]  # fmt: skip
    assert len(rows_of(content, "substance")) == 2
    actions = [json.loads(line)["action"] for line in files["audit.ndjson"].splitlines()]
    assert {"campaign.created", "compound.created", "measurement.corrected",
            "candidate_mark.created"} <= set(actions)  # fmt: skip
    manifest = json.loads(files["manifest.json"])
    assert manifest["rows"]["measurement"] == len(written)
    assert manifest["rows"]["audit_event"] == len(actions)


def test_a_copy_beside_the_original_gets_ids_of_its_own(lab, other_lab, world):
    """In the same installation every id is taken, so all of them change and nothing else does."""
    content = export(lab, world["id"])
    brought = bring_in(other_lab, content)
    assert brought["status"] == "succeeded", brought["problem"]
    copy = brought["campaign_id"]
    assert copy != world["id"]
    assert lab.get(f"/v1/campaigns/{copy}").status_code == 404
    theirs, ours = other_lab.wells(copy, versions="all"), lab.wells(world["id"], versions="all")
    for name in ("viability", "raw_value", "version", "withdrawn", "reason", "row"):
        assert column(theirs, name) == column(ours, name)
    assert not set(column(theirs, "id")) & set(column(ours, "id"))
    assert recommended(other_lab, copy) == recommended(lab, world["id"])


def test_beside_its_own_compounds_it_joins_them(lab, world):
    """A copy in the same workspace uses the compounds and cell lines that are there."""
    before = lab.rows()
    brought = bring_in(lab, export(lab, world["id"]))
    assert brought["status"] == "succeeded", brought["problem"]
    after = lab.rows()
    for table in ("compound", "compound_alias", "substance", "cell_line", "cell_line_features"):
        assert after[table] == before[table], table
    assert after["measurement"] == 2 * before["measurement"]
    copy = lab.ok(lab.get(f"/v1/campaigns/{brought['campaign_id']}"))
    assert column(copy["compounds"], "id") == column(world["compounds"], "id")


def test_an_import_is_one_event_that_names_the_file(lab, elsewhere, world):
    content = export(lab, world["id"])
    there = elsewhere("sqlite")
    brought = bring_in(there, content)
    (event,) = there.events("campaign.imported")
    assert event["subject_id"] == world["id"]
    assert event["new"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert event["new"]["archive"] == brought["id"]
    assert {e["action"].split(".")[0] for e in there.events()} <= {
        "campaign", "archive", "api_key", "workspace"}  # fmt: skip


def test_retention_keeps_what_an_archive_brought(lab, elsewhere, world):
    """The originals, the trail that came along, and the file itself."""
    content = export(lab, world["id"])
    there = elsewhere("sqlite")
    brought = bring_in(there, content)
    orphan = there.parts.artifacts.put(b"[1]", "json")
    for path in there.parts.artifacts.root.glob("??/*"):
        os.utime(path, (time.time() - 100, time.time() - 100))
    assert tidy(there.parts, unreferenced_s=50)[1] == 1
    assert not there.parts.artifacts.exists(orphan)
    assert there.get(f"/v1/archives/{brought['id']}/content").content == content
    assert parts_of(export(there, world["id"])) == parts_of(content)


def test_the_same_file_twice_is_one_import(lab, elsewhere, world):
    content = export(lab, world["id"])
    there = elsewhere("sqlite")
    first = there.ok(send(there, content))
    assert there.ok(send(there, content))["id"] == first["id"]
    finish(there, first)
    with there.untouched():
        assert there.ok(send(there, content))["id"] == first["id"]


@pytest.mark.slow
def test_a_model_without_weights_shows_its_evidence(lab, elsewhere):
    campaign = full_world(lab)
    content = export(lab, campaign["id"])
    names = [name for name in parts_of(content) if name.endswith(".safetensors")]
    assert names == []
    there = elsewhere("sqlite")
    assert bring_in(there, content)["status"] == "succeeded"
    assert parts_of(export(there, campaign["id"])) == parts_of(content)
    (model,) = there.every(f"/v1/campaigns/{campaign['id']}/models")
    assert model["evidence"] == lab.ok(lab.get(f"/v1/models/{model['id']}"))["evidence"]
    assert there.get(f"/v1/models/{model['id']}/blocks").status_code == 200
    question = {"items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}]}
    asked = there.post(f"/v1/campaigns/{campaign['id']}/predictions", question)
    assert "left out its weights" in there.refused(asked, 409)["detail"]
    assert recommended(there, campaign["id"]) == recommended(lab, campaign["id"])


def test_progress_while_it_is_made(lab, world):
    asked = lab.ok(lab.post(f"/v1/campaigns/{world['id']}/archives", {}))
    assert asked["status"] == "queued"
    problem = lab.refused(lab.get(f"/v1/archives/{asked['id']}/content"), 409)
    assert "is being made" in problem["detail"]
    same = lab.ok(lab.post(f"/v1/campaigns/{world['id']}/archives", {}))
    assert same["id"] == asked["id"]
    made = finish(lab, asked)
    assert made["progress"]["stage"]
    part = lab.get(f"/v1/archives/{asked['id']}/content", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"PK\x03\x04")


def test_contradictions_are_refused_in_words(lab, elsewhere, world):
    """A compound of that name and another structure: refused in words, nothing stored."""
    content = export(lab, world["id"])
    there = elsewhere("sqlite")
    there.ok(there.post("/v1/compounds", {"compounds": [{"name": "B", "smiles": "CCCO"}]}))
    there.ok(there.post("/v1/cell-lines", {"cell_lines": [{"name": "X", "features": {"K": 2.0}}]}))
    before = there.rows()
    failed = bring_in(there, content)
    assert failed["status"] == "failed"
    detail = failed["problem"]["detail"]
    assert "Compound 'B' has the structure" in detail
    assert "Cell line 'X' has other features here" in detail
    after = there.rows()
    for table in ("campaign", "compound", "measurement", "submission", "cell_line"):
        assert after[table] == before[table]
