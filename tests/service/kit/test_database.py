"""What differs between SQLite and PostgreSQL is settled here, so it is tested on both."""

import json
import math
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, StatementError

from service.kit.auth.tables import Workspace
from service.kit.database import Database, dump_json, is_finite, utcnow


@pytest.fixture
def database(parts):
    return parts.database


def add(database, identifier, **more):
    with database.writing() as session:
        session.add(Workspace(id=identifier, name="n", **more))


def ids(database):
    with database.reading() as session:
        return list(session.scalars(select(Workspace.id).order_by(Workspace.id)))


class TestTimes:
    def test_come_back_as_utc(self, database):
        moment = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=9)))
        add(database, "wsp_1", created_at=moment)
        with database.reading() as session:
            stored = session.get(Workspace, "wsp_1").created_at
        assert stored == moment
        assert stored.utcoffset() == timedelta(0)

    def test_keep_their_microseconds(self, database):
        moment = utcnow().replace(microsecond=123_457)
        add(database, "wsp_1", created_at=moment)
        with database.reading() as session:
            assert session.get(Workspace, "wsp_1").created_at == moment

    def test_without_a_zone_are_refused(self, database):
        with pytest.raises(StatementError, match="without a zone"):
            add(database, "wsp_1", created_at=datetime(2026, 3, 1))
        assert ids(database) == []

    def test_now_is_utc(self):
        assert utcnow().tzinfo is UTC


def test_identifiers_sort_byte_by_byte_as_in_python(database):
    made = ["wsp_b", "wsp_A", "wsp_a", "wsp_B", "wsp_10", "wsp_9", "wsp__", "wsp_-"]
    for identifier in made:
        add(database, identifier)
    assert ids(database) == sorted(made)


def test_foreign_keys_are_kept(database):
    from service.kit.auth.tables import ApiKey

    row = {
        "id": "key_1", "workspace_id": "wsp_none", "name": "n", "secret_sha256": "", "scopes": [],
        "created_at": utcnow(),
    }  # fmt: skip
    with pytest.raises(DBAPIError), database.writing() as session:
        session.execute(insert(ApiKey).values(**row))


class TestTransactions:
    def test_an_error_undoes_everything(self, database):
        def add_and_fail():
            with database.writing() as session:
                session.add(Workspace(id="wsp_1", name="n"))
                session.flush()
                raise RuntimeError("the power went out")

        with pytest.raises(RuntimeError):
            add_and_fail()
        assert ids(database) == []

    def test_reading_never_commits(self, database):
        with database.reading() as session:
            session.add(Workspace(id="wsp_1", name="n"))
            session.flush()
        assert ids(database) == []

    def test_a_reader_is_not_kept_waiting_by_a_writer(self, database):
        with database.writing() as session:
            session.add(Workspace(id="wsp_1", name="n"))
            session.flush()
            assert ids(database) == []
        assert ids(database) == ["wsp_1"]

    def test_writers_that_read_first_wait_for_each_other(self, database):
        """On SQLite a reader that turns into a writer would fail with 'database is locked'."""
        add(database, "wsp_count")
        failures = []

        def count_up():
            try:
                for _ in range(5):
                    with database.writing() as session:
                        statement = select(Workspace).where(Workspace.id == "wsp_count")
                        row = session.scalars(statement.with_for_update()).one()
                        row.name = row.name + "+"
            except DBAPIError as error:
                failures.append(error)

        threads = [threading.Thread(target=count_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert failures == []
        with database.reading() as session:
            assert session.get(Workspace, "wsp_count").name == "n" + "+" * 20


class TestJson:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_numbers_that_are_none_are_refused(self, value):
        with pytest.raises(ValueError, match="JSON"):
            dump_json({"a": [value]})
        assert not is_finite(value)

    def test_it_comes_back(self):
        value = {"a": [1, 2.5, None, True, "é\u2028"], "b": {}}
        assert json.loads(dump_json(value)) == value


def test_other_databases_are_refused_by_name():
    with pytest.raises(ValueError, match="SQLite or PostgreSQL, not mysql"):
        Database("mysql://localhost/x")


def test_an_error_hides_the_values(database):
    with pytest.raises(DBAPIError) as caught, database.reading() as session:
        session.execute(text("SELECT :secret FROM nowhere"), {"secret": "CC(C)Oc1"})
    assert "CC(C)Oc1" not in str(caught.value)
