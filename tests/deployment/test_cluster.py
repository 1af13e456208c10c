"""Several machines in small: what one process starts, any other may end or finish."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from tests.deployment.cluster import Cluster
from tests.deployment.commands import nextround

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def cluster(postgres_server: Callable[[str], str], tmp_path: Path) -> Iterator[Cluster]:
    name = f"cluster_{uuid.uuid4().hex}"
    admin = create_engine(
        make_url(postgres_server("postgres")).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    cluster = Cluster(tmp_path, postgres_server(name))
    try:
        cluster.start_api("api-1")
        cluster.start_api("api-2")
        yield cluster
    finally:
        cluster.stop()
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    admin.dispose()


def test_a_killed_worker_costs_nothing_but_time(cluster: Cluster, tmp_path: Path) -> None:
    """SIGKILL in the middle of a training: the other worker resumes, and there is one result."""
    for name in ("one", "two"):
        cluster.start_worker(name)
    campaign = cluster.measured_campaign()
    path = f"/v1/campaigns/{campaign}"
    job = cluster.ok(0, "POST", f"{path}/recommendations", json={"seed": 7})["id"]
    running = cluster.until_job(job, _is_training, "the training to begin")
    victim = cluster.worker(running["worker"])
    victim.kill()
    ended = cluster.until_job(job, lambda seen: seen["status"] == "succeeded", "the other worker")

    assert ended["worker"] in {"one", "two"} - {victim.name}
    assert ended["attempt"] == 2
    for api in (0, 1):
        assert cluster.ok(api, "GET", f"/v1/jobs/{job}") == ended
        (listed,) = cluster.ok(api, "GET", f"{path}/recommendations")["items"]
        assert ended["result"]["recommendation"].endswith(listed["id"])
        assert len(cluster.ok(api, "GET", f"{path}/models")["items"]) == 1
    _assert_an_undisturbed_run_gives_the_same(cluster, path, ended)
    workers = nextround(tmp_path, "doctor", **cluster.settings)
    assert workers.returncode == 0, workers.stdout
    assert victim.name not in _line(workers.stdout, "workers")


def test_a_job_is_cancelled_through_the_other_api(cluster: Cluster) -> None:
    cluster.start_worker("one")
    campaign = cluster.measured_campaign()
    path = f"/v1/campaigns/{campaign}/recommendations"
    job = cluster.ok(0, "POST", path, json={"seed": 7})["id"]
    cluster.until_job(job, _is_training, "the training to begin")
    asked = cluster.ok(1, "DELETE", f"/v1/jobs/{job}")
    assert asked["cancel_requested_at"] is not None
    cluster.until_job(job, lambda seen: seen["status"] == "cancelled", "the job to stop")
    assert cluster.ok(0, "GET", f"/v1/jobs/{job}")["status"] == "cancelled"
    assert cluster.ok(0, "GET", path)["items"] == []

    # The worker has survived it and takes the next job.
    again = cluster.ok(1, "POST", path, json={"seed": 7})["id"]
    cluster.until_job(again, lambda seen: seen["status"] == "succeeded", "the next job")


def test_a_name_belongs_to_one_living_worker(cluster: Cluster) -> None:
    cluster.start_worker("one")
    rival = nextround(cluster.folder, "worker", "--name", "one", **cluster.settings)
    assert rival.returncode == 75  # try again later
    assert "one" in rival.stderr
    assert "Traceback" not in rival.stderr


def _is_training(job: Any) -> bool:
    assert job["status"] in ("queued", "running"), "the job was faster than this test"
    return job["progress"]["stage"] in ("evidence", "training")


def _assert_an_undisturbed_run_gives_the_same(cluster: Cluster, path: str, job: Any) -> None:
    """House rule 7: same data, seed and code, same batch; a crash in between changes nothing."""
    again = cluster.ok(1, "POST", f"{path}/recommendations", json={"seed": 7})["id"]
    second = cluster.until_job(again, lambda seen: seen["status"] == "succeeded", "the second run")
    results = [
        cluster.ok(api, "GET", ended["result"]["recommendation"])["candidates"]
        for api, ended in enumerate((job, second))
    ]
    assert results[0] == results[1] != []


def _line(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.split()[1] == name)
