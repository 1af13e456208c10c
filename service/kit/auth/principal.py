"""Who is asking, and the one statement through which anybody reads rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, select

from service.kit.auth import scopes
from service.kit.auth.tables import WorkspaceOwned

Owned = TypeVar("Owned", bound=WorkspaceOwned)


@dataclass(frozen=True)
class Principal:
    """An authenticated key, or a job that works for one, inside one workspace."""

    workspace_id: str
    actor: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether this principal holds ``scope`` (an admin holds all)."""
        return scope in self.scopes or scopes.ADMIN in self.scopes

    @classmethod
    def of_job(cls, workspace_id: str, job_id: str) -> Principal:
        """The worker, acting for the workspace that asked for the job."""
        return cls(workspace_id, job_id, frozenset({scopes.ADMIN}))


def readable(entity: type[Owned], principal: Principal) -> Select[Owned]:
    """The only way to rows of ``entity``: those of the principal's own workspace."""
    return select(entity).where(entity.workspace_id == principal.workspace_id)


def readable_columns(
    entity: type[WorkspaceOwned], principal: Principal, *columns: Any
) -> Select[Any]:
    """Like :func:`readable`, for some ``columns`` of ``entity`` (and what is joined to it)."""
    return select(*columns).select_from(entity).where(entity.workspace_id == principal.workspace_id)
