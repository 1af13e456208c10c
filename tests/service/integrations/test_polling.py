"""Whoever polls gets 304 while nothing has changed, and never when something has."""

from __future__ import annotations

import pytest

from service.kit.jobs import run_inline
from tests.lab import Lab
from tests.service.learning.bench import short_training, start_campaign


def poll(lab: Lab, path: str, tag: str) -> int:
    """The status of asking again with ``tag``."""
    response = lab.get(path, headers={"If-None-Match": tag})
    assert response.status_code != 304 or (response.content, bool(tag)) == (b"", True)
    return int(response.status_code)


def tag_of(lab: Lab, path: str) -> str:
    response = lab.get(path)
    assert response.status_code == 200
    return str(response.headers["etag"])


def test_lists_change_when_something_is_added(lab: Lab) -> None:
    campaign = lab.campaign()
    for noun in ("recommendations", "batches", "submissions", "measurements", "models"):
        path = f"/v1/campaigns/{campaign['id']}/{noun}"
        assert poll(lab, path, tag_of(lab, path)) == 304
    path = f"/v1/campaigns/{campaign['id']}/submissions"
    tag = tag_of(lab, path)
    lab.measure(campaign["id"], "X,A,1,B,1,0.5")
    assert poll(lab, path, tag) == 200
    assert poll(lab, "/v1/events", tag_of(lab, "/v1/events")) == 304


def test_a_job(lab: Lab) -> None:
    campaign = lab.campaign()
    job = lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/recommendations", {"seed": 1}))
    path = f"/v1/jobs/{job['id']}"
    tag = tag_of(lab, path)
    assert [poll(lab, path, text) for text in (tag, f"W/{tag}", f'"x", {tag}')] == [304] * 3
    run_inline(lab.parts.database, lab.parts.artifacts, lab.parts.settings, job["id"])
    assert poll(lab, path, tag) == 200


def test_a_batch_changes_with_its_results(lab: Lab) -> None:
    """Results come with submissions, which do not touch the batch: its version stays."""
    with short_training():
        campaign = start_campaign(lab)
        recommendation = lab.recommend(campaign["id"])
    batch = lab.ok(lab.accept(recommendation, ranks=[1, 2]))
    path = f"/v1/batches/{batch['id']}"
    tag = tag_of(lab, path)
    assert poll(lab, path, tag) == 304
    first = batch["items"][0]
    names = [compound["name"] for compound in first["compounds"]]
    lab.measure(campaign["id"], f"{first['cell_line']['name']},{names[0]},1,{names[1]},1,0.5")
    assert poll(lab, path, tag) == 200
    after = lab.ok(lab.get(path))
    assert (after["n_with_results"], after["version"]) == (1, batch["version"])
    # Either form of the tag names the version to change.
    changed = lab.request(
        "PATCH", path, json={"status": "running"}, headers={"If-Match": tag_of(lab, path)}
    )
    assert lab.ok(changed)["status"] == "running"
    assert poll(lab, path, tag) == 200


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/compounds?limit=1", "/v1/workspace"])
def test_headers_stay_with_a_304(lab: Lab, path: str) -> None:
    lab.compounds("A", "B")
    full = lab.get(path)
    short = lab.get(path, headers={"If-None-Match": full.headers["etag"]})
    assert (short.status_code, short.headers["etag"]) == (304, full.headers["etag"])
    assert short.headers.get("link") == full.headers.get("link")


def test_another_workspace_has_other_tags(lab: Lab, other_lab: Lab) -> None:
    lab.compounds("A")
    assert poll(other_lab, "/v1/compounds", tag_of(lab, "/v1/compounds")) == 200


def test_problems_and_files_are_as_before(lab: Lab) -> None:
    campaign = lab.campaign()
    assert "etag" not in lab.get("/v1/jobs/job_0").headers
    assert "etag" not in lab.get(f"/v1/campaigns/{campaign['id']}/measurements.csv").headers
