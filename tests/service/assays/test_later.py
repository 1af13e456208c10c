"""POST .../submissions?async=true: the same rules, by a worker, with progress and a way back."""

import pytest

from service.kit.devices import Device
from service.kit.jobs import JobContext, WorkerLease
from service.kit.jobs.context import Runtime
from service.kit.jobs.execution import execute
from service.kit.jobs.leases import acquire
from tests.lab import PAIR_HEADER, column

N_ROWS = 4_500


@pytest.fixture
def campaign(lab):
    return lab.campaign()


def table(n_rows=N_ROWS, bad=()):
    rows = [f"X,A,0.1,B,1,{'oops' if row in bad else 0.5},{row}" for row in range(n_rows)]
    return "\n".join([f"{PAIR_HEADER},replicate", *rows]) + "\n"


def ask(lab, campaign, csv, **query):
    return lab.submit(campaign["id"], csv, **{"async": "true", **query})


def test_it_is_stored_as_it_would_be_at_once(lab, other_lab, campaign):
    asked = ask(lab, campaign, table(), note="the past", quantity="viability")
    assert asked.status_code == 202
    job = asked.json()
    assert asked.headers["location"] == f"/v1/jobs/{job['id']}"
    assert lab.wells(campaign["id"]) == []
    done = lab.run(asked)
    assert done["status"] == "succeeded", done["problem"]
    assert done["result"]["outcome"] == "stored"
    assert done["result"]["n_measurements"] == N_ROWS
    submission = lab.ok(lab.get(done["result"]["submission"]))
    theirs = other_lab.campaign()
    at_once = other_lab.ok(other_lab.submit(theirs["id"], table(), note="the past"))
    for name in ("sha256", "n_bytes", "n_measurements", "quantity", "unit", "media_type", "note",
                 "ignored_columns"):  # fmt: skip
        assert submission[name] == at_once[name], name
    assert submission["created_by"] == done_by(lab)
    mine, other = lab.wells(campaign["id"]), other_lab.wells(theirs["id"])
    for name in ("row", "viability", "raw_value", "replicate"):
        assert column(mine, name) == column(other, name)
    (event,) = lab.events("submission.created")
    assert event["actor"] == submission["created_by"]


def done_by(lab):
    return lab.every("/v1/api-keys")[0]["id"]


def test_progress_counts_rows(lab, campaign):
    job = lab.run(ask(lab, campaign, table()))
    assert (job["progress"]["stage"], job["progress"]["total"]) == ("storing rows", N_ROWS)
    stream = lab.get(f"/v1/jobs/{job['id']}/events").text
    assert "checking rows" in stream


def test_prefer_is_the_same(lab, campaign, subtests):
    path = f"/v1/campaigns/{campaign['id']}/submissions"
    for prefer, status in [("respond-async, wait=5", 202), ("Respond-Async", 202), ("wait=5", 201)]:
        with subtests.test(prefer):
            headers = {"Content-Type": "text/csv", "Prefer": prefer}
            csv = table(1 + len(prefer))
            assert lab.request("POST", path, content=csv, headers=headers).status_code == status


def test_asking_twice_gives_one_job_and_later_one_submission(lab, campaign):
    first, second = ask(lab, campaign, table()), ask(lab, campaign, table())
    assert first.json()["id"] == second.json()["id"]
    done = lab.run(first)
    again = ask(lab, campaign, table())
    assert again.status_code == 200
    assert again.json()["outcome"] == "existing"
    assert done["result"]["submission"].endswith(again.json()["id"])


def test_the_same_table_meanwhile_at_once(lab, campaign):
    asked = ask(lab, campaign, table())
    known = lab.ok(lab.submit(campaign["id"], table()))
    done = lab.run(asked)
    assert done["result"]["outcome"] == "existing"
    assert done["result"]["submission"] == f"/v1/submissions/{known['id']}"
    assert len(lab.wells(campaign["id"])) == N_ROWS


def test_all_or_nothing_with_every_row_that_is_wrong(lab, campaign):
    failed = lab.run(ask(lab, campaign, table(bad=(3, 4_400))))
    assert failed["status"] == "failed"
    problem = failed["problem"]
    assert (problem["status"], problem["error_count"]) == (422, 2)
    assert column(problem["errors"], "row") == [5, 4_402]
    assert lab.every(f"/v1/campaigns/{campaign['id']}/submissions") == []
    assert lab.wells(campaign["id"]) == []


def test_what_is_wrong_with_the_header_is_said_at_once(lab, campaign):
    with lab.untouched():
        lab.refused(ask(lab, campaign, "cell_line,compound_1\nX,A\n"), 422)
        lab.refused(ask(lab, campaign, table(), dry_run="true"), 422)
        lab.refused(lab.submit("cam_00000000000000000000000000", table(), **{"async": "true"}), 404)


def test_cancelled_while_it_is_read(lab, campaign, monkeypatch):
    """Nothing of it is stored, and it can be asked for again."""
    asked = ask(lab, campaign, table())
    job_id = asked.json()["id"]

    with monkeypatch.context() as patch:
        patch.setattr("service.kit.jobs.context._POLL_S", 0.0)
        patch.setattr(JobContext, "progress", lambda *_: lab.delete(f"/v1/jobs/{job_id}"))
        assert lab.run(asked)["status"] == "cancelled"
    assert lab.wells(campaign["id"]) == []
    assert lab.run(ask(lab, campaign, table()))["result"]["outcome"] == "stored"


def test_json_as_well(lab, campaign):
    wells = [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}], "value": 50.0}]
    body = {"quantity": "inhibition", "unit": "percent", "measurements": wells}
    path = f"/v1/campaigns/{campaign['id']}/submissions"
    done = lab.run(lab.post(path, body, params={"async": "true"}))
    assert done["status"] == "succeeded", done["problem"]
    assert column(lab.wells(campaign["id"]), "viability") == [0.5]


def test_a_long_transaction_renews_the_lease_that_it_kept_from_being_renewed(lab, campaign):
    """SQLite has one write lock, so the worker could not say that it lives; it must not be
    taken for dead as soon as the lock is free."""
    job = ask(lab, campaign, table(10)).json()
    lab.parts.settings.lease_s = 0.003
    device = Device("cpu", "test")
    lease = acquire(lab.parts.database, "w", device, ["cpu"], "1", lease_s=600.0)
    runtime = Runtime(
        lab.parts.settings, lab.parts.database, lab.parts.artifacts, worker="w",
        lease_token=lease.token,
    )  # fmt: skip
    execute(runtime, job["id"], lab.stored_job(job["id"]).ticket)
    with lab.parts.database.reading() as session:
        row = session.get(WorkerLease, "w")
        assert row.current_job == job["id"]
