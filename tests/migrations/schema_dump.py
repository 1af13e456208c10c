"""A database's schema as plain data, so that two of them can be compared."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, inspect

from service.kit.database import Database

Dump = dict[str, Any]


def dump(database: Database) -> Dump:
    """Tables with columns, keys, indexes and checks; triggers and functions; in no order."""
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        tables = {
            name: {
                "columns": _named(inspector.get_columns(name)),
                "primary key": _plain(inspector.get_pk_constraint(name)),
                "foreign keys": _named(inspector.get_foreign_keys(name)),
                "unique": _named(inspector.get_unique_constraints(name)),
                "indexes": _named(inspector.get_indexes(name)),
                "checks": _named(inspector.get_check_constraints(name)),
            }
            for name in inspector.get_table_names()
        }
        return {"tables": tables, "triggers": triggers(connection)}


def triggers(connection: Connection) -> dict[str, str]:
    """Name -> definition of every trigger, and on PostgreSQL of every function of ours."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type='trigger'"
        )
    else:
        rows = connection.exec_driver_sql(
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgname NOT LIKE 'dbos%%' "
            "UNION ALL SELECT proname || '()', prosrc FROM pg_proc "
            "WHERE pronamespace = 'public'::regnamespace"
        )
    return {name: " ".join(text.split()) for name, text in rows}


def _named(items: list[Any]) -> dict[str, Any]:
    return {str(item["name"]): _plain(item) for item in items}


def _plain(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items() if key != "comment"}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    # Two ways to the same SQL differ in blanks and brackets only.
    return re.sub(r"[\s()]+", " ", str(item)).strip()
