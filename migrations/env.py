"""Run by Alembic: which tables are ours, and through which connection to change them."""

from __future__ import annotations

from typing import Any

from alembic import context

from migrations.metadata import metadata
from service.kit.database import Identifier, UTCDateTime


def _is_ours(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    # On SQLite the job engine's tables lie unprefixed beside ours.
    return not (kind == "table" and reflected and name not in metadata.tables)


def _render_item(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """Column types that live in the service, spelled with the import a migration needs."""
    if kind == "type" and isinstance(item, Identifier | UTCDateTime):
        autogen_context.imports.add("from service.kit.database import Identifier, UTCDateTime")
        return f"{type(item).__name__}()"
    return False


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_object=_is_ours,
        render_item=_render_item,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=False,
    )
    context.run_migrations()


_run()
