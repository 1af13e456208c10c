"""Traps of the job engine that were met once (stack report, 1.5). Run again on every upgrade."""

from __future__ import annotations

import base64
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import job_handlers
import pytest
from job_handlers import WORKSPACE
from job_worker import ROOT, until
from sqlalchemy import create_engine, inspect, text

from service.kit.database import Base
from service.kit.devices import Device
from service.kit.jobs import (
    EngineNotReady,
    JobClient,
    JobEngine,
    engine,
    enqueue,
    handler,
    migrate_engine,
    registry,
)

slow = pytest.mark.slow


def system_table(database, name: str) -> str:
    return f"dbos.{name}" if database.dialect == "postgresql" else name


def ticket_row(database, ticket: str):
    table = system_table(database, "workflow_status")
    with database.reading() as session:
        statement = text(f"SELECT * FROM {table} WHERE workflow_uuid = :ticket")
        return session.execute(statement, {"ticket": ticket}).mappings().one()


def test_01_version_is_explicit_and_not_a_hash_of_the_source(database, ask):
    assert ticket_row(database, ask("add").ticket)["application_version"] == "1"


@slow
def test_01_worker_runs_what_was_queued_before_an_edit(start_worker, ask, look, database):
    # The worker's handlers differ from those of this process, as after an edit.
    job = ask("add", args={"a": 1, "b": 1})
    start_worker("a").until_ready()
    until(lambda: look(job.id).is_finished, "the job ran")
    row = ticket_row(database, job.ticket)
    assert (row["application_version"], row["executor_id"]) == ("1", "a")


@slow
def test_02_kind_that_only_the_caller_knows_fails_instead_of_hanging(
    start_worker, ask, look, monkeypatch
):
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    handler("newer-than-the-worker", queue="cpu")(job_handlers.nan)
    job = ask("newer-than-the-worker")
    start_worker("a").until_ready()
    until(lambda: look(job.id).is_finished, "the job failed")
    assert look(job.id).problem["type"] == "/problems/unknown-job-kind"


def test_03_tickets_are_portable_json(database, ask):
    row = ticket_row(database, ask("add").ticket)
    assert row["serialization"] == "portable_json"
    table = system_table(database, "workflow_input")
    with database.reading() as session:
        (stored,) = session.execute(text(f"SELECT inputs FROM {table}")).scalars()
    assert stored.startswith('{"namedArgs":{},"positionalArgs":["job_')


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def plant(database, ticket: str, mark: Path) -> None:
    payload = base64.b64encode(pickle.dumps(Bomb(mark))).decode()
    status, inputs = (system_table(database, n) for n in ("workflow_status", "workflow_input"))
    with database.writing() as session:
        values = {"ticket": ticket, "payload": payload}
        session.execute(
            text(f"UPDATE {status} SET serialization = 'py_pickle' WHERE workflow_uuid = :ticket"),
            values,
        )
        session.execute(
            text(f"UPDATE {inputs} SET inputs = :payload WHERE workflow_uuid = :ticket"), values
        )


@slow
def test_03_a_planted_pickle_is_not_loaded(start_worker, ask, look, database, tmp_path):
    job, other = ask("add", args={"a": 1, "b": 1}), ask("add", args={"a": 1, "b": 1})
    plant(database, job.ticket, tmp_path / "exploded")
    start_worker("a").until_ready()
    until(lambda: ticket_row(database, job.ticket)["status"] == "ERROR", "the ticket is refused")
    until(lambda: look(other.id).is_finished, "the worker goes on")
    assert not (tmp_path / "exploded").exists()


def test_03_nothing_in_the_package_loads_pickle():
    for path in (ROOT / "service" / "kit" / "jobs").glob("*.py"):
        assert "import pickle" not in path.read_text(), path


def test_04_no_table_of_ours_has_a_name_of_theirs(tmp_path):
    url = f"sqlite:///{tmp_path / 'engine.db'}"
    migrate_engine(url)
    alone = create_engine(url)
    theirs = set(inspect(alone).get_table_names())
    alone.dispose()
    assert "workflow_status" in theirs
    assert theirs.isdisjoint(Base.metadata.tables)


def test_04_on_postgresql_the_engine_keeps_to_its_schema(database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no schemas")
    names = set(inspect(database.engine).get_table_names())
    assert "job" in names
    assert "workflow_status" not in names


def test_05_the_shared_sqlite_file_is_wal_for_the_engine_too(database, database_url):
    if database.dialect != "sqlite":
        pytest.skip("SQLite only")
    client = JobClient(database_url)
    with client._client._sys_db.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    client.close()


@slow
def test_09_connections_of_a_worker_are_few(start_worker, database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no connection limit")
    start_worker("a").until_ready()
    with database.reading() as session:
        count = session.execute(
            text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbos_transact'")
        ).scalar()
    assert 1 <= count <= engine._POOL_SIZE + 1  # and one that listens


@slow
def test_11_worker_on_a_database_that_was_not_migrated_says_what_to_do(
    start_worker, tmp_path, request, database
):
    if database.dialect == "postgresql":
        with database.engine.begin() as connection:
            connection.execute(text("DROP SCHEMA dbos CASCADE"))
        worker = start_worker("a")
    else:
        worker = start_worker("a", database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    assert worker.wait() == 2
    assert "nextround migrate" in worker.output
    assert "Traceback" not in worker.output


def test_11_client_on_a_database_that_was_not_migrated(tmp_path):
    client = JobClient(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(EngineNotReady, match="nextround migrate"):
        client.check()
    client.close()


def test_11_client_on_a_migrated_database(database_url):
    client = JobClient(database_url)
    client.check()
    client.close()


def test_12_what_is_used_of_the_engines_inside_is_still_there():
    # The one private name that is relied upon; see _refuse_pickle.
    with pytest.raises(ValueError, match="nothing here loads pickle"):
        engine.DefaultSerializer().deserialize(base64.b64encode(pickle.dumps(1)).decode())


def test_migration_is_repeatable(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate_engine(url)
    migrate_engine(url)


def test_api_processes_import_no_torch():
    code = "import sys, service.kit.jobs, service.kit.devices; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def test_only_one_module_knows_the_engine():
    importers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "service").rglob("*.py")
        if "import dbos" in path.read_text() or "from dbos" in path.read_text()
    ]
    assert importers == ["service/kit/jobs/engine.py"]


@slow
def test_engine_in_this_process_starts_stops_and_starts_again(
    settings, database, artifacts, ask, look
):
    for _ in range(2):
        job = ask("add", args={"a": 1, "b": 1})
        worker = JobEngine(
            settings, database, artifacts, device=Device("cpu", "asked for"), name="host-1:cpu"
        )
        worker.launch()
        until(lambda job=job: look(job.id).is_finished, "the job ran")
        assert worker.stop(drain_s=5.0)
        assert look(job.id).worker == "host-1:cpu"


@slow
def test_lost_connections_do_not_cost_a_job(start_worker, ask, look, database, tmp_path):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no connections to lose")
    start_worker("a").until_ready()
    job = ask("steps", args={"folder": str(tmp_path)})
    until(lambda: len(job_handlers.diary(tmp_path)) == 3, "the third step runs")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with database.reading() as session:
        session.execute(text(f"{cut} AND datname = current_database()"))
    (tmp_path / "go").touch()
    until(lambda: look(job.id).is_finished, "the job finished")
    assert (look(job.id).status, look(job.id).attempt) == ("succeeded", 1)


@slow
def test_two_workers_share_a_queue_and_run_each_job_once(start_worker, ask, look, database):
    workers = [start_worker(name).until_ready() for name in "ab"]
    with database.writing() as session:
        jobs = [
            enqueue(session, workspace_id=WORKSPACE, kind="add", args={"a": n, "b": 0})
            for n in range(30)
        ]
    until(lambda: all(look(job.id).is_finished for job in jobs), "all jobs ran")
    assert {look(job.id).attempt for job in jobs} == {1}
    assert {look(job.id).worker for job in jobs} == {"a", "b"}
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
