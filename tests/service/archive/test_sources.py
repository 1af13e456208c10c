"""Archives of campaigns that learn from others: the link holds where the other campaign is here."""

import json

import pytest

from service.archive.packing import MANIFEST
from tests.service.archive.world import bring_in, export, rows_of, small_world, tampered
from tests.service.learning.bench import open_campaign, short_training


@pytest.fixture
def spring(lab):
    return small_world(lab)


@pytest.fixture
def campaign(lab, spring):
    """Learns from another one, and has a model that did."""
    campaign = open_campaign(lab, learn_from=[spring["id"]], repeat_earlier=True)
    with short_training():
        lab.recommend(campaign["id"])
    return campaign


def read(lab, identifier):
    return lab.ok(lab.get(f"/v1/campaigns/{identifier}"))


def result_of(lab, archive):
    return lab.ok(lab.get(f"/v1/jobs/{archive['job_id']}"))["result"]


def test_a_copy_beside_the_original_learns_from_the_same(lab, spring, campaign):
    content = export(lab, campaign["id"])
    assert rows_of(content, "campaign_source") == [
        {"campaign_id": campaign["id"], "source_id": spring["id"]}
    ]
    brought = bring_in(lab, content)
    copy = read(lab, brought["campaign_id"])
    assert copy["id"] != campaign["id"]
    assert (copy["learn_from"], copy["repeat_earlier"]) == ([spring["id"]], True)
    assert "note" not in result_of(lab, brought)
    (model,) = lab.every(f"/v1/campaigns/{copy['id']}/models")
    assert model["earlier"]["campaigns"][1]["campaign_id"] == spring["id"]


def test_elsewhere_it_is_left_out_with_a_note_until_the_other_is_there(
    lab, other_lab, spring, campaign
):
    content = export(lab, campaign["id"], weights=True)
    brought = bring_in(other_lab, content)
    assert brought["status"] == "succeeded", brought["problem"]
    found = result_of(other_lab, brought)
    assert found["learn_from_left_out"] == [spring["id"]]
    assert "no longer does" in found["note"]
    there = read(other_lab, brought["campaign_id"])
    assert (there["learn_from"], there["repeat_earlier"]) == ([], True)
    (event,) = other_lab.events("campaign.imported")
    assert event["new"]["sources_left_out"] == [spring["id"]]
    other = bring_in(other_lab, export(lab, spring["id"]))["campaign_id"]
    change = {"learn_from": [other]}
    again = other_lab.ok(other_lab.patch(f"/v1/campaigns/{there['id']}", change, there["version"]))
    assert again["learn_from"] == [other]


def test_an_archive_from_before_there_were_sources(lab, other_lab, spring):
    """It lacks the table, and the columns of other tables."""

    def age(files):
        manifest = json.loads(files[MANIFEST])
        del files["tables/campaign_source.ndjson"], manifest["rows"]["campaign_source"]
        del manifest["files"]["tables/campaign_source.ndjson"]
        row = json.loads(files["tables/campaign.ndjson"])
        del row["repeat_earlier"]
        files["tables/campaign.ndjson"] = json.dumps(row).encode() + b"\n"
        files[MANIFEST] = json.dumps(manifest).encode()

    brought = bring_in(other_lab, tampered(export(lab, spring["id"]), age, honest=True))
    assert brought["status"] == "succeeded", brought["problem"]
    found = read(other_lab, brought["campaign_id"])
    assert (found["learn_from"], found["repeat_earlier"]) == ([], False)
