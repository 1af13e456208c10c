"""The data sets of a campaign, and what was learned of them, travel with it."""

import json

import pytest

from service.archive.packing import MANIFEST
from service.kit.ids import new_id
from service.retention import tidy
from tests.contract.seeds import dataset_fit
from tests.lab import column
from tests.service.archive.world import bring_in, export, finish, parts_of, rows_of, tampered
from tests.service.datasets import files

KINDS = ["sqlite", "postgresql"]


def learned(lab, dataset, content):
    """A fit as a worker would have stored it; returns its id."""
    results, weights = (lab.parts.artifacts.put(content, kind) for kind in ("json", "safetensors"))
    with lab.parts.database.writing() as session:
        fit = dataset_fit(lab.workspace_id, dataset["id"], new_id("job"), results)
        fit.weights = weights
        session.add(fit)
        return fit.id


@pytest.fixture
def world(lab):
    """A campaign that learns from one data set of two."""
    campaign = lab.campaign()
    mine, other = (files.read(lab, files.send(lab, files.RESPONSES, joined_by=by)) for by in "+|")
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/datasets", {"dataset_id": mine["id"]}))
    fit = learned(lab, mine, b'{"pairs": []}')
    learned(lab, other, b'{"pairs": [1]}')
    return campaign["id"], mine, fit


@pytest.mark.parametrize("kind", KINDS)
def test_they_come_back_the_same(lab, elsewhere, world, kind):
    campaign, dataset, fit = world
    content = export(lab, campaign, weights=True)
    assert column(rows_of(content, "dataset"), "id") == [dataset["id"]]
    assert column(rows_of(content, "dataset_fit"), "id") == [fit]
    there = elsewhere(kind)
    brought = bring_in(there, content)
    assert brought["status"] == "succeeded", brought["problem"]
    assert parts_of(export(there, campaign, weights=True)) == parts_of(content)
    attached = there.every(f"/v1/campaigns/{campaign}/datasets")
    assert attached == lab.every(f"/v1/campaigns/{campaign}/datasets")
    for path in (f"/v1/datasets/{dataset['id']}/original", f"/v1/dataset-fits/{fit}",
                 f"/v1/dataset-fits/{fit}/results"):  # fmt: skip
        assert there.get(path).content == lab.get(path).content
    # The arrays of what was read came along, too, and stay.
    tidy(there.parts, unreferenced_s=0)
    job = there.run(there.post(f"/v1/datasets/{dataset['id']}/fits", {"seed": 1}))
    assert "at least 4 treated conditions" in job["problem"]["detail"]


def test_without_weights_all_but_those_travel(lab, elsewhere, world):
    campaign, dataset, fit = world
    content = export(lab, campaign)
    assert column(rows_of(content, "dataset_fit"), "weights") == ["withheld"]
    there = elsewhere("sqlite")
    assert bring_in(there, content)["status"] == "succeeded"
    original = there.get(f"/v1/datasets/{dataset['id']}/original").content
    assert original == files.RESPONSES.encode()
    assert there.get(f"/v1/dataset-fits/{fit}/results").json() == {"pairs": []}


def test_what_is_here_already_is_not_doubled(lab, world):
    """A copy in the same workspace learns from the data set that is there."""
    campaign, dataset, _ = world
    before = lab.rows()
    brought = bring_in(lab, export(lab, campaign))
    assert brought["status"] == "succeeded", brought["problem"]
    after = lab.rows()
    assert (after["dataset"], after["dataset_fit"]) == (before["dataset"], before["dataset_fit"])
    attached = lab.every(f"/v1/campaigns/{brought['campaign_id']}/datasets")
    assert column(attached, "id") == [dataset["id"]]


def test_the_same_file_sent_there_is_the_same_data_set(lab, elsewhere, world):
    """Its fit comes in as one of the data set that is there, under the id of there."""
    campaign, _, fit = world
    there = elsewhere("sqlite")
    known = files.read(there, files.send(there, files.RESPONSES, joined_by="+"))
    brought = bring_in(there, export(lab, campaign))
    assert brought["status"] == "succeeded", brought["problem"]
    attached = there.every(f"/v1/campaigns/{brought['campaign_id']}/datasets")
    assert column(attached, "id") == [known["id"]]
    fits = there.every(f"/v1/datasets/{known['id']}/fits")
    assert column(fits, "id") == [fit]


def test_an_older_archive_has_none(lab, other_lab):
    """It lacks the tables, and the column of submissions that names a fit."""

    def age(parts):
        manifest = json.loads(parts[MANIFEST])
        for name in ("campaign_dataset", "dataset", "dataset_fit"):
            del parts[f"tables/{name}.ndjson"], manifest["rows"][name]
            del manifest["files"][f"tables/{name}.ndjson"]
        rows = [json.loads(line) for line in parts["tables/submission.ndjson"].splitlines()]
        for row in rows:
            del row["dataset_fit_id"]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        parts["tables/submission.ndjson"] = lines.encode()
        parts[MANIFEST] = json.dumps(manifest).encode()

    campaign = lab.campaign()["id"]
    lab.measure(campaign, "X,A,1,,,0.5")
    brought = bring_in(other_lab, tampered(export(lab, campaign), age, honest=True))
    assert brought["status"] == "succeeded", brought["problem"]
    assert other_lab.every(f"/v1/campaigns/{brought['campaign_id']}/datasets") == []


def test_one_that_nobody_read_yet_is_not_exported(lab):
    campaign = lab.campaign()["id"]
    dataset = files.send(lab, files.RESPONSES)
    lab.ok(lab.post(f"/v1/campaigns/{campaign}/datasets", {"dataset_id": dataset["id"]}))
    asked = lab.ok(lab.post(f"/v1/campaigns/{campaign}/archives", {}))
    made = finish(lab, asked)
    assert made["status"] == "failed"
    assert f"{dataset['id']} was not read yet" in made["problem"]["detail"]
