"""Who may talk to the database, and who may end a transaction."""

from __future__ import annotations

import ast

import migrations.metadata  # noqa: F401 - maps every table
from service.kit.auth.tables import WorkspaceOwned
from service.kit.database import Base
from tests.architecture.source import Source, sources

STATEMENTS = {"select", "insert", "update", "delete", "exists", "func", "aliased", "union", "text"}
CALLS = {"where", "order_by", "group_by", "with_for_update", "execute", "scalar", "scalars"}

SQL = {
    "service.kit.auth.principal": "`readable`: the statement that every repository starts from",
    "service.kit.auth.verify": "the one read that precedes a principal",
    "service.kit.idempotency.store": "the rows are the middleware's own",
    "service.kit.jobs.lease_repository": "a repository of leases, which no workspace owns",
    "service.kit.database": "PRAGMA and BEGIN IMMEDIATE",
    "service.setup": "the operator's first workspace, before anybody has a key",
    "service.health": "SELECT 1",
    "service.integrations.queue": "deliveries of all workspaces, by which a worker works",
    "service.archive.ids_taken": "ids are unique across workspaces; it says no more than that",
    "service.retention": "the operator's housekeeping, over all workspaces",
    "service.assays.tables_in.duplicates": "a scratch SQLite file, not the database",
}
UNOWNED = {
    "workspace": "it is the owner",
    "worker_lease": "workers serve every workspace",
    "job_event": "belongs to its job, and is read only through it",
    "job_step": "belongs to its job, and is read only by its worker",
}
UNAUDITED = {
    "audit_event": "is the trail",
    "idempotent_answer": "a copy of an answer, forgotten after a day",
    "job": "has events of its own",
    "measurement": "written in bulk: one event for its submission, one for each correction",
    "plate_reading": "written in bulk: its upload and the results that follow from it are audited",
    "outbox_event": "tells of changes that the trail holds already",
    "webhook_delivery": "has attempts of its own",
    "campaign_pair": "written in bulk: one event says how many were added",
}


def _may_build_sql(source: Source) -> bool:
    if source.path.name in ("repository.py", "tables.py"):
        return True
    return source.name in SQL or source.name.startswith(("service.web", "service.demo"))


def test_only_repositories_build_sql() -> None:
    """House rule 3: only repository.py files build SQL; every exception above has its reason."""
    found = []
    for source in sources("service"):
        if _may_build_sql(source):
            continue
        found += [
            f"{source.name} imports {name}"
            for name in source.imports()
            if name.startswith("sqlalchemy.") and name.rpartition(".")[2] in STATEMENTS
        ]
        found += [source.where(call) for call in _calls(source) if _is_statement(call)]
    assert found == []


def test_repositories_start_from_what_their_principal_may_read() -> None:
    """Tenancy: rows enter through `readable` or `columns`; a plain select would see all labs."""
    for source in sources("service"):
        if source.path.name == "repository.py" and not source.name.startswith("service.kit"):
            assert "sqlalchemy.select" not in source.imports(), source.name
            gets = [call for call in _calls(source) if ast.unparse(call.func) == "self.session.get"]
            assert not gets, source.where(gets[0])


def test_pages_and_the_demo_never_see_the_database() -> None:
    """House rule 3, for the two rooms on top: they use services, or HTTP."""
    for source in sources("service"):
        if source.room in ("service.web", "service.demo"):
            assert not any(name.startswith("sqlalchemy") for name in source.imports()), source.name


def test_exceptions_to_the_sql_rule_still_exist() -> None:
    """A reason without a module would excuse the next module of that name."""
    assert set(SQL) <= {source.name for source in sources("service")}


def test_nobody_commits_but_the_request_and_the_job() -> None:
    """House rule 4: a session is committed by the unit of a request, or by `database.writing`."""
    allowed = {"service.kit.unit", "service.kit.database"}
    found = [
        source.where(node)
        for source in sources("service", "migrations")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and node.attr == "commit" and source.name not in allowed
    ]
    assert found == []


def test_every_table_belongs_to_a_workspace() -> None:
    """Tenancy: a row without an owner is visible to everybody, so each such table has a reason."""
    for mapper in Base.registry.mappers:
        name = mapper.local_table.name
        owned = issubclass(mapper.class_, WorkspaceOwned)
        assert ("workspace_id" in mapper.local_table.c) == owned, name
        assert owned != (name in UNOWNED), f"{name} needs an owner or a reason"


def test_every_change_is_audited() -> None:
    """Rows of a workspace record their changes by construction, or there is a reason."""
    for mapper in Base.registry.mappers:
        name = mapper.local_table.name
        if name not in UNOWNED:
            audited = getattr(mapper.class_, "__audited__", False)
            assert audited != (name in UNAUDITED), f"{name} needs __audited__ or a reason"


def _calls(source: Source) -> list[ast.Call]:
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.Call)]


def _is_statement(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in CALLS:
        return False
    owner = call.func.value
    return not (isinstance(owner, ast.Name) and owner.id in ("np", "torch"))
